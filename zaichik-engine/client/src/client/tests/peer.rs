//! The broker's end of a client's connection, played by the test.

use core::time::Duration;

use bytes::{Buf, BytesMut};
use zaichik_proto::{
    AckRun, Acks, BatchDuplicate, BatchResult, Batched, ClientDecoder, Delivery, Done, Duplicate, Fatal,
    FaultCode, Limits, List, Published, Record, Records, Refusal, RefusalCode, Refused, ServerFrame,
    Subscribed, Unsubscribed, Version, Welcome,
};

use super::sent::{Sent, owned};
use crate::{
    Answer, Client, ClientConfig, Event, Link, Message, RequestError, RequestId, SubscribeOptions,
    SubscriptionId,
};
use zaichik_proto::Timestamp;

/// A client, its broker's end and the time.
pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) now: Timestamp,
    pub(super) limits: Limits,
    /// The version that it speaks.
    pub(super) version: Version,
    /// The optional parts of the protocol that it offers.
    pub(super) capabilities: u64,
    /// Whether its next answers are repeated ones.
    pub(super) repeats: bool,
    decoder: ClientDecoder,
    received: BytesMut,
}

impl Peer {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self {
            client: Client::new(config),
            now: Timestamp::from_micros(1_000_000),
            limits: Limits::default(),
            version: Version::One,
            capabilities: 0,
            repeats: false,
            decoder: ClientDecoder::handshake(&Limits::default()),
            received: BytesMut::new(),
        }
    }

    /// A client whose handshake with instance 1 is done.
    pub(super) fn open() -> Self {
        Self::open_with(ClientConfig::new(7))
    }

    pub(super) fn open_with(config: ClientConfig) -> Self {
        let mut peer = Self::new(config);
        peer.connect(1);
        peer
    }

    /// Waits until the client wants a connection, opens it and completes the handshake.
    pub(super) fn connect(&mut self, instance: u128) {
        self.connect_only();
        let hello = self.sent();
        assert!(matches!(hello.as_slice(), [Sent::Hello { .. }]), "{hello:?}");
        self.welcome(instance);
        // A closing client may have no pending requests once it knows the instance.
        assert!(matches!(self.client.link(), Link::Open | Link::Closing));
    }

    pub(super) fn connect_only(&mut self) {
        let Link::Connect { at } = self.client.link() else {
            panic!("no connection is wanted: {:?}", self.client.link());
        };
        self.now = self.now.max(at);
        self.decoder = ClientDecoder::handshake(&self.limits);
        self.received.clear();
        self.client.handle_connected(self.now);
    }

    pub(super) fn welcome(&mut self, instance: u128) {
        let welcome = Welcome {
            version: self.version.number(),
            instance,
            limits: self.limits,
            capabilities: self.capabilities,
            server: "scripted",
        };
        self.send(&ServerFrame::Welcome(welcome));
    }

    /// What an answer says about being repeated.
    fn repeated(&self) -> Option<bool> {
        (self.version > Version::One).then_some(self.repeats)
    }

    pub(super) fn disconnect(&mut self) {
        self.client.handle_disconnected(self.now);
    }

    /// The client receives a frame.
    pub(super) fn send(&mut self, frame: &ServerFrame<'_>) {
        frame.encode(self.client.inbound());
        self.client.handle_read(self.now);
    }

    /// The network accepts up to `count` bytes.
    pub(super) fn write(&mut self, count: usize) {
        let outbound = self.client.outbound();
        let bytes = outbound.copy_to_bytes(count.min(outbound.remaining()));
        self.received.extend_from_slice(&bytes);
    }

    /// The frames that the client has written since the last call.
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        while self.client.outbound().has_remaining() {
            self.write(usize::MAX);
        }
        let mut sent = Vec::new();
        while let Some((frame, taken)) = self.decoder.decode(&self.received).unwrap() {
            let frame = owned(&frame);
            if matches!(frame, Sent::Hello { .. }) {
                self.decoder.open(self.version, &self.limits);
            }
            sent.push(frame);
            self.received.advance(taken);
        }
        sent
    }

    /// The next complete frame that the network has accepted.
    pub(super) fn received_one(&mut self) -> Option<Sent> {
        let (frame, taken) = self.decoder.decode(&self.received).unwrap()?;
        let frame = owned(&frame);
        self.received.advance(taken);
        Some(frame)
    }

    /// The one frame that the client has written since the last call.
    pub(super) fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Lets time pass until `at`, handling every deadline on the way.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.client.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
        }
        self.now = end;
        self.client.handle_timeout(self.now);
    }

    pub(super) fn answer(&mut self) -> Option<(RequestId, Result<Answer, RequestError>)> {
        self.client.poll_answer()
    }

    /// The answer to this request, which must be the next one.
    pub(super) fn answer_to(&mut self, id: RequestId) -> Result<Answer, RequestError> {
        let (answered, result) = self.client.poll_answer().expect("an answer");
        assert_eq!(answered, id);
        result
    }

    /// Publishes one body, with the default options.
    pub(super) fn publish(&mut self, topic: &str, body: &[u8]) -> Result<RequestId, RequestError> {
        let record = Record { body, ..Record::default() };
        self.client.publish(self.now, topic, &[record], crate::PublishOptions::new())
    }

    /// Subscribes, and answers that it begins at `start`.
    pub(super) fn subscribe(&mut self, topic: &str, window: u32, start: u64) -> SubscriptionId {
        let options = SubscribeOptions::new().window(window);
        let (id, subscription) = self.client.subscribe(self.now, topic, options).unwrap();
        let sent = self.sent_one();
        self.subscribed(&sent, start);
        assert!(matches!(self.answer_to(id), Ok(Answer::Subscribed(_))));
        subscription
    }

    /// Answers a Subscribe.
    pub(super) fn subscribed(&mut self, sent: &Sent, start: u64) {
        self.attached(sent, start, 0, 0);
    }

    /// Answers a Subscribe with an epoch and a rewind number.
    pub(super) fn attached(&mut self, sent: &Sent, start: u64, epoch: u32, rewind: u32) {
        let (Sent::Subscribe { request, subscription, .. }
        | Sent::SubscribeShared { request, subscription, .. }) = *sent
        else {
            panic!("{sent:?}");
        };
        self.send(&ServerFrame::Subscribed(Subscribed {
            request,
            subscription,
            epoch,
            rewind,
            created: false,
            start,
            end: start,
        }));
    }

    /// Answers an Unsubscribe.
    pub(super) fn unsubscribed(&mut self, sent: &Sent, last_offset: Option<u64>) {
        let Sent::Unsubscribe { request, subscription } = *sent else {
            panic!("{sent:?}");
        };
        self.send(&ServerFrame::Unsubscribed(Unsubscribed { request, subscription, last_offset }));
    }

    /// Delivers bodies with consecutive offsets.
    pub(super) fn deliver(&mut self, subscription: SubscriptionId, first_offset: u64, bodies: &[&[u8]]) {
        self.deliver_rewound(subscription, 0, first_offset, bodies);
    }

    pub(super) fn deliver_rewound(
        &mut self,
        subscription: SubscriptionId,
        rewind: u32,
        first_offset: u64,
        bodies: &[&[u8]],
    ) {
        let records: Vec<_> =
            bodies.iter().map(|body| Record { body, timestamp: 5, ..Record::default() }).collect();
        self.deliver_records(subscription, rewind, first_offset, &records);
    }

    pub(super) fn deliver_records(
        &mut self,
        subscription: SubscriptionId,
        rewind: u32,
        first_offset: u64,
        records: &[Record<'_>],
    ) {
        let mut bytes = Vec::new();
        for record in records {
            record.encode(&mut bytes);
        }
        self.send(&ServerFrame::Delivery(Delivery {
            subscription: subscription.0,
            rewind,
            attempt: 1,
            first_offset,
            records: Records::from_encoded(u32::try_from(records.len()).unwrap(), &bytes),
        }));
    }

    pub(super) fn ack(&mut self, runs: &[(u32, u32, u64)]) {
        let mut bytes = Vec::new();
        let runs = runs.iter().map(|(request, requests, first_offset)| AckRun {
            request: *request,
            requests: *requests,
            first_offset: *first_offset,
        });
        let runs = List::encode_into(&mut bytes, runs);
        self.send(&ServerFrame::Acks(Acks { runs }));
    }

    pub(super) fn published(&mut self, request: u32, first_offset: Option<u64>, duplicates: &[(u32, u64)]) {
        let mut bytes = Vec::new();
        let entries =
            duplicates.iter().map(|(record, offset)| Duplicate { record: *record, offset: *offset });
        let duplicates = List::encode_into(&mut bytes, entries);
        let repeated = self.repeated();
        self.send(&ServerFrame::Published(Published {
            repeated,
            request,
            created: false,
            first_offset,
            duplicates,
        }));
    }

    /// Answers a batch. `publishes` has the operation and first offset of each publish, `duplicates` the operation,
    /// record and offset of each duplicate.
    pub(super) fn batched(&mut self, request: u32, results: &[(u32, u64)], duplicates: &[(u32, u32, u64)]) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let results = results.iter().map(|(operation, first_offset)| BatchResult {
            operation: *operation,
            created: false,
            first_offset: *first_offset,
        });
        let duplicates = duplicates.iter().map(|(operation, record, offset)| BatchDuplicate {
            operation: *operation,
            duplicate: Duplicate { record: *record, offset: *offset },
        });
        let repeated = self.repeated();
        self.send(&ServerFrame::Batched(Batched {
            repeated,
            request,
            results: List::encode_into(&mut first, results),
            duplicates: List::encode_into(&mut second, duplicates),
        }));
    }

    pub(super) fn refuse_operation(&mut self, request: u32, code: RefusalCode, operation: u32) {
        let refusal = Refusal { code, operation, value: 0 };
        let repeated = self.repeated();
        self.send(&ServerFrame::Refused(Refused { request, count: 1, refusal, repeated }));
    }

    pub(super) fn refuse(&mut self, request: u32, code: RefusalCode, value: u64) {
        let repeated = self.repeated();
        self.send(&ServerFrame::Refused(Refused {
            request,
            count: 1,
            refusal: Refusal::with_value(code, value),
            repeated,
        }));
    }

    pub(super) fn done(&mut self, request: u32, value: u64) {
        self.send(&ServerFrame::Done(Done { request, value }));
    }

    pub(super) fn fatal(&mut self, code: FaultCode) {
        self.send(&ServerFrame::Fatal(Fatal { code, offset: 0, text: "scripted" }));
    }

    pub(super) fn event(&mut self, subscription: SubscriptionId) -> Option<Event> {
        self.client.poll_event(subscription)
    }

    /// The subscription's next event, which must be a message.
    pub(super) fn message(&mut self, subscription: SubscriptionId) -> Message {
        match self.client.poll_event(subscription) {
            Some(Event::Message(message)) => message,
            other => panic!("not a message: {other:?}"),
        }
    }
}

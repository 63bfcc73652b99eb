//! A raw client: it says what it is told to, and checks what every client may count on.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, Commit, CreateTopic, Delivery, Durable, Gap, GoodbyeReason, Hello,
    Limits, MAGIC, Nack, OnConflict, Producer, Publish, Record, Records, Seek, SeekTarget, ServerDecoder,
    ServerFrame, Start, Subscribe, Subscribed, TopicOptions, TopicStatus, Unsubscribe, Welcome,
};

use super::pipe::{Flow, Pipe};
use super::show;

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) subscription: u32,
    pub(crate) offset: u64,
    pub(crate) timestamp: u64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) tombstone: bool,
}

/// What to subscribe to, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sub<'a> {
    pub(crate) number: u32,
    pub(crate) topic: &'a str,
    pub(crate) start: Start,
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    pub(crate) durable: Option<Durable<'a>>,
    pub(crate) max_attempts: u32,
    pub(crate) dead_letter: &'a str,
}

impl<'a> Sub<'a> {
    pub(crate) const fn new(number: u32, topic: &'a str) -> Self {
        Self {
            number,
            topic,
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            durable: None,
            max_attempts: 0,
            dead_letter: "",
        }
    }

    pub(crate) const fn from(self, start: Start) -> Self {
        Self { start, ..self }
    }

    pub(crate) const fn window(self, window: u32) -> Self {
        Self { window, ..self }
    }

    pub(crate) const fn window_bytes(self, window_bytes: u32) -> Self {
        Self { window_bytes, ..self }
    }

    /// With a cursor of that name, which is taken from whoever has it.
    pub(crate) const fn durable(self, name: &'a str) -> Self {
        let on_conflict = OnConflict::TakeOver;
        Self { durable: Some(Durable { name, on_conflict, epoch: 0, inactive_ttl_micros: 0 }), ..self }
    }

    /// Refused if somebody has it.
    pub(crate) fn reject(self) -> Self {
        Self { durable: self.durable.map(|it| Durable { on_conflict: OnConflict::Reject, ..it }), ..self }
    }

    /// As who had it under that epoch.
    pub(crate) fn epoch(self, epoch: u32) -> Self {
        Self { durable: self.durable.map(|it| Durable { epoch, ..it }), ..self }
    }

    /// Kept so long without a connection, in microseconds.
    pub(crate) fn inactive(self, inactive_ttl_micros: u64) -> Self {
        Self { durable: self.durable.map(|it| Durable { inactive_ttl_micros, ..it }), ..self }
    }

    pub(crate) const fn dead_letter(self, max_attempts: u32, dead_letter: &'a str) -> Self {
        Self { max_attempts, dead_letter, ..self }
    }
}

pub(crate) const fn record(body: &[u8]) -> Record<'_> {
    keyed_or_not(None, body)
}

/// A record with a time to live of its own.
pub(crate) const fn mortal(body: &str, micros: u64) -> Record<'_> {
    Record { ttl_micros: Some(micros), ..record(body.as_bytes()) }
}

pub(crate) const fn keyed<'a>(key: &'a str, body: &'a [u8]) -> Record<'a> {
    keyed_or_not(Some(key.as_bytes()), body)
}

const fn keyed_or_not<'a>(key: Option<&'a [u8]>, body: &'a [u8]) -> Record<'a> {
    Record { key, headers: &[], body, ttl_micros: None, tombstone: false, timestamp: 0 }
}

#[derive(Clone)]
pub(crate) struct Peer(Rc<RefCell<Inner>>);

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    rewind: u32,
    /// Where its next delivery or gap must begin; `None` after a rewind.
    next: Option<u64>,
}

struct Inner {
    pipe: Rc<RefCell<Pipe>>,
    decoder: ServerDecoder,
    last_request: u32,
    /// Acknowledged publishes without an answer: their ids and how many records they have.
    publishes: VecDeque<(u32, u32)>,
    /// What each subscription was told last.
    places: BTreeMap<u32, Place>,
    /// Open requests that rewind a subscription.
    rewinding: BTreeMap<u32, u32>,
    /// Offsets passed without a word; `None` if there may be none.
    silent: Option<u64>,
    answers: BTreeMap<u32, String>,
    stream: Vec<String>,
    control: Vec<String>,
    log: Vec<String>,
    records: Vec<Received>,
    frames: Vec<(u8, usize)>,
}

impl Peer {
    pub(super) fn new(pipe: Rc<RefCell<Pipe>>) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            pipe,
            decoder: ServerDecoder::handshake(&Limits::default()),
            last_request: 0,
            publishes: VecDeque::new(),
            places: BTreeMap::new(),
            rewinding: BTreeMap::new(),
            silent: None,
            answers: BTreeMap::new(),
            stream: Vec::new(),
            control: Vec::new(),
            log: Vec::new(),
            records: Vec::new(),
            frames: Vec::new(),
        })))
    }

    pub(super) fn index(&self) -> usize {
        self.0.borrow().pipe.borrow().index
    }

    /// Magic and Hello.
    pub(crate) fn hello(&self, token: &[u8]) {
        self.send_bytes(&MAGIC);
        self.send(&ClientFrame::Hello(Hello { version: 1, name: "peer", token }));
    }

    pub(crate) fn send(&self, frame: &ClientFrame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        self.0.borrow().pipe.borrow_mut().to_broker.extend_from_slice(bytes);
    }

    /// Takes back what the broker has not read yet.
    pub(crate) fn unsent(&self) -> BytesMut {
        self.0.borrow().pipe.borrow_mut().to_broker.split()
    }

    /// A new request id.
    pub(crate) fn request(&self) -> u32 {
        let mut inner = self.0.borrow_mut();
        inner.last_request += 1;
        inner.last_request
    }

    pub(crate) fn create(&self, topic: &str, options: TopicOptions) -> u32 {
        let (request, topic) = (self.request(), topic.as_bytes());
        self.send(&ClientFrame::CreateTopic(CreateTopic { request, topic, options }));
        request
    }

    pub(crate) fn alter(&self, topic: &str, options: TopicOptions) -> u32 {
        let (request, topic) = (self.request(), topic.as_bytes());
        self.send(&ClientFrame::AlterTopic(AlterTopic { request, topic, options }));
        request
    }

    pub(crate) fn publish(&self, topic: &str, body: &str) -> u32 {
        self.publish_all(topic, &[record(body.as_bytes())])
    }

    pub(crate) fn publish_keyed(&self, topic: &str, key: &str, body: &str) -> u32 {
        self.publish_all(topic, &[keyed(key, body.as_bytes())])
    }

    pub(crate) fn publish_all(&self, topic: &str, records: &[Record<'_>]) -> u32 {
        self.publish_with(topic, AckLevel::Accepted, records)
    }

    pub(crate) fn publish_with(&self, topic: &str, ack: AckLevel, records: &[Record<'_>]) -> u32 {
        self.publish_as(None, topic, ack, records)
    }

    pub(crate) fn publish_as(
        &self,
        producer: Option<Producer>,
        topic: &str,
        ack: AckLevel,
        records: &[Record<'_>],
    ) -> u32 {
        let request = self.request();
        let mut bytes = Vec::new();
        for record in records {
            record.encode(&mut bytes);
        }
        let count = u32::try_from(records.len()).unwrap();
        let records = Records::from_encoded(count, &bytes);
        let topic = topic.as_bytes();
        self.send(&ClientFrame::Publish(Publish { request, ack, producer, topic, records }));
        if ack != AckLevel::None {
            self.0.borrow_mut().publishes.push_back((request, count));
        }
        request
    }

    /// With window 1, from the earliest record.
    pub(crate) fn subscribe(&self, number: u32, topic: &str) -> u32 {
        self.subscribe_to(Sub::new(number, topic))
    }

    pub(crate) fn subscribe_to(&self, sub: Sub<'_>) -> u32 {
        let request = self.request();
        self.send(&ClientFrame::Subscribe(Subscribe {
            request,
            subscription: sub.number,
            topic: sub.topic.as_bytes(),
            start: sub.start,
            window: sub.window,
            window_bytes: sub.window_bytes,
            max_attempts: sub.max_attempts,
            dead_letter: sub.dead_letter.as_bytes(),
            durable: sub.durable,
        }));
        request
    }

    pub(crate) fn unsubscribe(&self, subscription: u32) -> u32 {
        let request = self.request();
        self.send(&ClientFrame::Unsubscribe(Unsubscribe { request, subscription }));
        request
    }

    pub(crate) fn commit(&self, subscription: u32, offset: u64) -> u32 {
        let request = self.request();
        self.send(&ClientFrame::Commit(Commit { request, subscription, offset, quiet: false }));
        request
    }

    /// Goes back to an offset, after so many microseconds.
    pub(crate) fn nack(&self, subscription: u32, offset: u64, delay_micros: u64) -> u32 {
        let request = self.request();
        self.send(&ClientFrame::Nack(Nack { request, subscription, offset, delay_micros }));
        self.0.borrow_mut().rewinding.insert(request, subscription);
        request
    }

    pub(crate) fn seek(&self, subscription: u32, to: Start) -> u32 {
        let request = self.request();
        self.send(&ClientFrame::Seek(Seek { request, target: SeekTarget::Subscription(subscription), to }));
        self.0.borrow_mut().rewinding.insert(request, subscription);
        request
    }

    /// Moves the cursor of a durable subscription, whoever has it.
    pub(crate) fn seek_durable(&self, topic: &str, name: &str, to: Start) -> u32 {
        let request = self.request();
        let target = SeekTarget::Durable { topic: topic.as_bytes(), name };
        self.send(&ClientFrame::Seek(Seek { request, target, to }));
        request
    }

    pub(crate) fn ping(&self, nonce: u64) {
        self.send(&ClientFrame::Ping { nonce });
    }

    pub(crate) fn close(&self) {
        self.send(&ClientFrame::Close);
    }

    /// Sends nothing more, but still reads.
    pub(crate) fn finish(&self) {
        self.0.borrow().pipe.borrow_mut().flow = Flow::Finished;
    }

    /// The connection breaks; what is in it is lost.
    pub(crate) fn cut(&self) {
        self.0.borrow().pipe.borrow_mut().flow = Flow::Cut;
    }

    pub(crate) fn stop_reading(&self) {
        self.0.borrow().pipe.borrow_mut().is_reading = false;
    }

    pub(crate) fn go_on_reading(&self) {
        self.0.borrow().pipe.borrow_mut().is_reading = true;
    }

    /// The broker's writes are cut into pieces of this many bytes.
    pub(crate) fn split_writes(&self, bytes: usize) {
        self.0.borrow().pipe.borrow_mut().write_at_once = bytes;
    }

    /// The broker's reads are cut into pieces of this many bytes.
    pub(crate) fn split_reads(&self, bytes: usize) {
        self.0.borrow().pipe.borrow_mut().read_at_once = bytes;
    }

    /// From here on offsets may be passed without a word, as in topics with `latest` compaction.
    pub(crate) fn expect_silence(&self) {
        self.0.borrow_mut().silent = Some(0);
    }

    /// How many offsets were passed without a word.
    pub(crate) fn silent(&self) -> u64 {
        self.pump();
        self.0.borrow().silent.unwrap_or_default()
    }

    /// Whether the broker has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.borrow().pipe.borrow().is_closed
    }

    /// Bytes sent that the broker has not read.
    pub(crate) fn unread(&self) -> usize {
        self.0.borrow().pipe.borrow().to_broker.len()
    }

    /// The answer to a request, which is forgotten; "-" if there is none.
    pub(crate) fn answer(&self, request: u32) -> String {
        self.pump();
        self.0.borrow_mut().answers.remove(&request).unwrap_or_else(|| "-".to_owned())
    }

    /// The deliveries and gaps since the last call: "1/7=body", "1/7=body #2" the second time, "1/0..3 expired".
    pub(crate) fn stream(&self) -> Vec<String> {
        self.pump();
        core::mem::take(&mut self.0.borrow_mut().stream)
    }

    /// The frames of the control lane that answer no request by its id, since the last call.
    pub(crate) fn control(&self) -> Vec<String> {
        self.pump();
        core::mem::take(&mut self.0.borrow_mut().control)
    }

    /// Everything since the last call, in the order in which it came.
    pub(crate) fn log(&self) -> Vec<String> {
        self.pump();
        core::mem::take(&mut self.0.borrow_mut().log)
    }

    /// The messages since the last call.
    pub(crate) fn records(&self) -> Vec<Received> {
        self.pump();
        core::mem::take(&mut self.0.borrow_mut().records)
    }

    /// Kinds of the frames since the last call, with the lengths of their bodies.
    pub(crate) fn frames(&self) -> Vec<(u8, usize)> {
        self.pump();
        core::mem::take(&mut self.0.borrow_mut().frames)
    }

    /// Bytes that the broker sent and nobody looked at.
    pub(crate) fn take_bytes(&self) -> BytesMut {
        self.0.borrow().pipe.borrow_mut().from_broker.split()
    }

    fn pump(&self) {
        self.0.borrow_mut().pump();
    }
}

impl Inner {
    fn pump(&mut self) {
        let mut bytes = self.pipe.borrow_mut().from_broker.split();
        loop {
            let mut decoder = self.decoder.clone();
            let Some((frame, taken)) = decoder.decode(&bytes).expect("the broker keeps to the protocol")
            else {
                break;
            };
            self.frames.push((frame.kind(), taken - zaichik_proto::HEADER_LEN));
            self.decoder = decoder;
            self.receive(&frame);
            bytes.advance(taken);
        }
        // What is left is the start of a frame.
        let mut pipe = self.pipe.borrow_mut();
        assert!(pipe.from_broker.is_empty());
        pipe.from_broker = bytes;
    }

    fn receive(&mut self, frame: &ServerFrame<'_>) {
        match frame {
            ServerFrame::Welcome(Welcome { limits, .. }) => {
                self.decoder.open(limits);
                self.tell("welcome".to_owned());
            }
            ServerFrame::TopicReady(ready) => {
                let text = match ready.status {
                    TopicStatus::Unchanged => "unchanged",
                    TopicStatus::Created => "created",
                    TopicStatus::Adopted => "adopted",
                };
                self.answer(ready.request, text.to_owned());
            }
            ServerFrame::Acks(acks) => {
                for run in acks.runs.iter() {
                    let mut offset = run.first_offset;
                    for index in 0..run.requests {
                        let (request, count) = self.publishes.pop_front().expect("a publish to acknowledge");
                        assert!(index > 0 || request == run.request, "answers in request order");
                        self.answer(request, show::published(false, Some(offset), &[]));
                        offset += u64::from(count);
                    }
                }
            }
            ServerFrame::Published(published) => {
                let duplicates: Vec<_> =
                    published.duplicates.iter().map(|one| (one.record, one.offset)).collect();
                let text = show::published(published.created, published.first_offset, &duplicates);
                self.pop_publish(published.request);
                self.answer(published.request, text);
            }
            ServerFrame::Refused(refused) if refused.request == 0 => {
                self.tell(format!("{} times {}", refused.count, show::refused(refused)));
            }
            ServerFrame::Refused(refused) => {
                if self.publishes.iter().any(|(request, _)| *request == refused.request) {
                    self.pop_publish(refused.request);
                }
                self.answer(refused.request, show::refused(refused));
            }
            ServerFrame::Done(done) => {
                if let Some(subscription) = self.rewinding.remove(&done.request) {
                    self.rewound(subscription, u32::try_from(done.value).unwrap());
                }
                self.answer(done.request, format!("done {}", done.value));
            }
            ServerFrame::Fenced(fenced) => {
                self.places.remove(&fenced.subscription).expect("it was subscribed");
                let text = format!("{} fenced by {}", fenced.subscription, fenced.epoch);
                self.log.push(text.clone());
                self.stream.push(text);
            }
            ServerFrame::Subscribed(subscribed) => self.subscribed(subscribed),
            ServerFrame::Delivery(delivery) => self.delivered(delivery),
            ServerFrame::Gap(gap) => self.skipped(gap),
            ServerFrame::Unsubscribed(unsubscribed) => {
                self.places.remove(&unsubscribed.subscription).expect("it was subscribed");
                self.answer(unsubscribed.request, show::unsubscribed(unsubscribed));
            }
            ServerFrame::Ping { nonce } => self.tell(format!("ping {nonce}")),
            ServerFrame::Pong { nonce } => self.tell(format!("pong {nonce}")),
            ServerFrame::Goodbye(goodbye) => {
                let reason = if goodbye.reason == GoodbyeReason::Closed { "closed" } else { "draining" };
                self.tell(format!("goodbye {reason} {}", goodbye.grace_millis));
            }
            ServerFrame::Fatal(fatal) => self.tell(show::fatal(fatal.code)),
            ServerFrame::Batched(batched) => self.answer(batched.request, show::batched(batched)),
            ServerFrame::Extension { .. } => {
                panic!("not expected: {frame:?}");
            }
        }
    }

    fn subscribed(&mut self, subscribed: &Subscribed) {
        let place = Place { rewind: subscribed.rewind, next: Some(subscribed.start) };
        let before = self.places.insert(subscribed.subscription, place);
        assert_eq!(before, None, "it was not subscribed");
        self.answer(subscribed.request, show::subscribed(subscribed));
    }

    /// From `start` on every offset is accounted for, in order (S-02).
    fn delivered(&mut self, delivery: &Delivery<'_>) {
        let (subscription, first) = (delivery.subscription, delivery.first_offset);
        if !self.goes_on(subscription, delivery.rewind, first, first + u64::from(delivery.records.len())) {
            return;
        }
        let attempt = if delivery.attempt > 1 { format!(" #{}", delivery.attempt) } else { String::new() };
        for (record, offset) in delivery.records.iter().zip(delivery.first_offset..) {
            let text = format!("{subscription}/{offset}={}{attempt}", show::body(record.body()));
            self.log.push(text.clone());
            self.stream.push(text);
            let headers = record.headers().iter();
            self.records.push(Received {
                subscription,
                offset,
                timestamp: record.timestamp(),
                key: record.key().map(<[u8]>::to_vec),
                headers: headers.map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
                body: record.body().to_vec(),
                tombstone: record.is_tombstone(),
            });
        }
    }

    fn skipped(&mut self, gap: &Gap) {
        assert!(gap.to > gap.from, "{gap:?}");
        if !self.goes_on(gap.subscription, gap.rewind, gap.from, gap.to) {
            return;
        }
        let text = format!("{}/{}..{} {}", gap.subscription, gap.from, gap.to, show::reason(gap.reason));
        self.log.push(text.clone());
        self.stream.push(text);
    }

    /// Whether offsets `from..to` are news of a subscription: what was sent before a rewind is to be dropped (A4).
    fn goes_on(&mut self, subscription: u32, rewind: u32, from: u64, to: u64) -> bool {
        self.rewound(subscription, rewind);
        let place = self.places.get_mut(&subscription).expect("frames of a living subscription");
        if rewind < place.rewind {
            return false;
        }
        if let (Some(next), Some(silent)) = (place.next, &mut self.silent) {
            *silent += from.checked_sub(next).expect("no repetition");
        } else if let Some(next) = place.next {
            assert_eq!(from, next, "no hole, no repetition, gaps in their place");
        }
        place.next = Some(to);
        true
    }

    /// A subscription's position was moved as often as this.
    fn rewound(&mut self, subscription: u32, rewind: u32) {
        let place = self.places.get_mut(&subscription).expect("a living subscription");
        if rewind > place.rewind {
            *place = Place { rewind, next: None };
        }
    }

    fn pop_publish(&mut self, request: u32) {
        assert_eq!(self.publishes.pop_front().map(|(request, _)| request), Some(request), "in request order");
    }

    fn answer(&mut self, request: u32, text: String) {
        self.log.push(format!("#{request} {text}"));
        let before = self.answers.insert(request, text);
        assert_eq!(before, None, "one answer for request {request}");
    }

    fn tell(&mut self, text: String) {
        self.log.push(text.clone());
        self.control.push(text);
    }
}

impl Drop for Peer {
    /// What was never asked for is still checked.
    fn drop(&mut self) {
        if Rc::strong_count(&self.0) == 1 && !std::thread::panicking() {
            self.pump();
        }
    }
}

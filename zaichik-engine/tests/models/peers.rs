//! A broker and a few connections to it, driven with bytes and with time; what comes back is in the model's words.

use bytes::{Buf, BufMut, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Session, Timestamp, TopicSettings, Turn};
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, Commit, CreateTopic, GapReason, Hello, Limits, MAGIC, Overflow,
    Publish, Records, ServerDecoder, ServerFrame, TopicOptions, TopicStatus, Unsubscribe,
};

use crate::model::{Answer, Event, Options, Ready, Record, Request, Settings, Start};

/// Largest message of these brokers.
pub(crate) const MAX_MESSAGE: u32 = 100_000;

/// The engine's side of the comparison.
pub(crate) struct Peers {
    broker: Broker,
    effects: Effects,
    all: Vec<Peer>,
    now: Timestamp,
}

/// What one connection received.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Answers by request.
    pub(crate) answers: Vec<(u32, Answer)>,
    /// What each subscription got, in order.
    pub(crate) events: Vec<(u32, Event)>,
    /// Publishes that wanted no answer and were refused.
    pub(crate) refused_silently: u32,
}

struct Peer {
    session: Session,
    decoder: ServerDecoder,
    input: BytesMut,
    /// Acknowledged publishes without an answer: request and count of records.
    publishes: Vec<(u32, u64)>,
    received: Received,
}

impl Peers {
    /// A broker with `count` connections whose handshake is done.
    pub(crate) fn new(
        defaults: Settings,
        first_offset: u64,
        lane_bytes: usize,
        count: usize,
        now: u64,
    ) -> Self {
        let mut config = BrokerConfig::new(1, 2);
        config.topic_defaults = settings(defaults);
        config.first_offset = first_offset;
        config.lane_bytes = lane_bytes;
        config.wire.max_message = MAX_MESSAGE;
        config.wire.max_frame = MAX_MESSAGE + Limits::FRAME_ROOM;
        let broker = Broker::new(config).unwrap();
        let now = Timestamp::from_micros(now);
        let mut peers = Self { broker, effects: Effects::new(), all: Vec::new(), now };
        for _ in 0..count {
            let peer = peers.connect();
            peers.all.push(peer);
        }
        peers
    }

    pub(crate) fn set_time(&mut self, now: u64) {
        self.now = Timestamp::from_micros(now);
    }

    /// A connection sends requests in one piece, and everybody exchanges until nothing happens any more.
    pub(crate) fn send(&mut self, peer: usize, requests: &[(u32, AckLevel, Request)]) {
        let Self { all, now, .. } = self;
        let sender = &mut all[peer];
        for (request, ack, what) in requests {
            if let Request::Publish { records, .. } = what
                && *ack != AckLevel::None
            {
                sender.publishes.push((*request, records.len() as u64));
            }
            encode(*request, *ack, what, sender.session.inbound());
        }
        sender.session.handle_read(*now);
        self.settle(peer);
    }

    /// The connection ends, and another one takes its place.
    pub(crate) fn reconnect(&mut self, peer: usize) {
        self.broker.detach(self.now, self.all[peer].session.id(), &mut self.effects);
        let fresh = self.connect();
        self.all[peer] = fresh;
        self.wake();
    }

    /// Housekeeping until nothing is due.
    pub(crate) fn housekeep(&mut self) {
        for _ in 0..1_000 {
            let before = self.broker.next_timeout();
            let turn = self.broker.handle_timeout(self.now, &mut self.effects);
            self.wake();
            self.verify();
            if turn == Turn::Done {
                let next = self.broker.next_timeout();
                assert!(next.is_none_or(|next| next > self.now), "{next:?} is due, and was {before:?}");
                return;
            }
        }
        panic!("housekeeping does not end");
    }

    /// Idle connections give their buffers back.
    pub(crate) fn shrink(&mut self) {
        for peer in &mut self.all {
            peer.session.shrink();
        }
    }

    /// Everything that a connection received since this was asked last.
    pub(crate) fn take(&mut self, peer: usize) -> Received {
        std::mem::take(&mut self.all[peer].received)
    }

    pub(crate) fn verify(&self) {
        self.broker.verify().unwrap();
    }

    /// The broker without its connections, when time has run out for everything that it could forget.
    pub(crate) fn finish(mut self) -> Broker {
        for peer in std::mem::take(&mut self.all) {
            self.broker.detach(self.now, peer.session.id(), &mut self.effects);
        }
        while let Some(due) = self.broker.next_timeout().filter(|due| *due < Timestamp::MAX) {
            self.now = self.now.max(due);
            self.housekeep();
        }
        self.effects.clear();
        self.broker
    }

    fn connect(&mut self) -> Peer {
        let session = self.broker.accept(self.now, &mut self.effects);
        let (input, publishes, received) = (BytesMut::new(), Vec::new(), Received::default());
        let decoder = ServerDecoder::handshake(&Limits::default());
        let mut peer = Peer { session, decoder, input, publishes, received };
        peer.session.inbound().put_slice(&MAGIC);
        let hello = Hello { version: 1, name: "model", token: b"" };
        ClientFrame::Hello(hello).encode(peer.session.inbound());
        peer.session.handle_read(self.now);
        let _ = peer.session.exchange(self.now, &mut self.broker, &mut self.effects);
        peer.read();
        peer
    }

    fn settle(&mut self, peer: usize) {
        for _ in 0..10_000 {
            let peer = &mut self.all[peer];
            let turn = peer.session.exchange(self.now, &mut self.broker, &mut self.effects);
            if !peer.read() && turn == Turn::Done {
                return self.wake();
            }
        }
        panic!("the exchange does not end");
    }

    fn wake(&mut self) {
        let _ = self.effects.take_rearm();
        while let Some(id) = self.effects.pop_wake() {
            if let Some(peer) = self.all.iter().position(|peer| peer.session.id() == id) {
                self.settle(peer);
            }
        }
    }
}

impl Peer {
    /// Takes all bytes that are to be sent; says whether there were any.
    fn read(&mut self) -> bool {
        let outbound = self.session.outbound();
        let any = outbound.has_remaining();
        self.input.put(outbound);
        assert!(self.session.close_reason().is_none(), "{:?}", self.session.close_reason());
        while let Some((frame, taken)) = self.decoder.decode(&self.input).unwrap() {
            if let ServerFrame::Welcome(welcome) = frame {
                self.decoder.open(&welcome.limits);
            } else {
                self.received.frame(&frame, &mut self.publishes);
            }
            self.input.advance(taken);
        }
        assert!(self.input.is_empty(), "a frame is written whole");
        any
    }
}

impl Received {
    fn frame(&mut self, frame: &ServerFrame<'_>, unanswered: &mut Vec<(u32, u64)>) {
        match frame {
            ServerFrame::Acks(acks) => {
                for run in acks.runs.iter() {
                    let mut offset = run.first_offset;
                    for (at, _) in (0..run.requests).enumerate() {
                        let (request, count) = unanswered.remove(0);
                        assert!(at > 0 || request == run.request, "the run begins with {request}");
                        let first = Some(offset);
                        let answer = Answer::Published { created: false, first, duplicates: Vec::new() };
                        self.answers.push((request, answer));
                        offset += count;
                    }
                }
            }
            ServerFrame::Published(published) => {
                assert_eq!(unanswered.remove(0).0, published.request);
                let duplicates = published.duplicates.iter().map(|one| (one.record, one.offset)).collect();
                let (created, first) = (published.created, published.first_offset);
                self.answers.push((published.request, Answer::Published { created, first, duplicates }));
            }
            ServerFrame::Refused(refused) if refused.request == 0 => {
                self.refused_silently += refused.count;
            }
            ServerFrame::Refused(refused) => {
                unanswered.retain(|(request, _)| *request != refused.request);
                let refusal = Answer::Refused(refused.refusal.code, refused.refusal.value);
                self.answers.push((refused.request, refusal));
            }
            ServerFrame::TopicReady(ready) => {
                let status = match ready.status {
                    TopicStatus::Unchanged => Ready::Unchanged,
                    TopicStatus::Created => Ready::Created,
                    TopicStatus::Adopted => Ready::Adopted,
                };
                self.answers.push((ready.request, Answer::TopicReady(status)));
            }
            ServerFrame::Done(done) => self.answers.push((done.request, Answer::Done(done.value))),
            ServerFrame::Subscribed(one) => {
                assert_eq!((one.epoch, one.rewind), (0, 0));
                let (created, start, end) = (one.created, one.start, one.end);
                self.answers.push((one.request, Answer::Subscribed { created, start, end }));
            }
            ServerFrame::Unsubscribed(one) => {
                let answer = Answer::Unsubscribed { last: one.last_offset };
                self.answers.push((one.request, answer));
            }
            ServerFrame::Delivery(delivery) => {
                assert_eq!((delivery.rewind, delivery.attempt), (0, 1));
                let len = delivery.records.as_bytes().len();
                assert!(delivery.records.len() == 1 || len <= 64 << 10, "a delivery of {len} bytes");
                for (record, offset) in delivery.records.iter().zip(delivery.first_offset..) {
                    let timestamp = record.timestamp();
                    let record = Record {
                        key: record.key().map(<[u8]>::to_vec),
                        body: record.body().to_vec(),
                        ttl: record.ttl_micros(),
                    };
                    self.events.push((delivery.subscription, Event::Record { offset, timestamp, record }));
                }
            }
            ServerFrame::Gap(gap) => {
                assert_eq!(gap.rewind, 0);
                let (from, to, limit) = (gap.from, gap.to, gap.reason == GapReason::Limit);
                self.events.push((gap.subscription, Event::Gap { from, to, limit }));
            }
            frame @ (ServerFrame::Welcome(_)
            | ServerFrame::Batched(_)
            | ServerFrame::Fenced(_)
            | ServerFrame::Ping { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Goodbye(_)
            | ServerFrame::Fatal(_)
            | ServerFrame::Extension { .. }) => panic!("nobody asked for {frame:?}"),
        }
    }
}

fn encode(request: u32, ack: AckLevel, what: &Request, out: &mut BytesMut) {
    let name = |topic: &u8| format!("topic-{topic}");
    match what {
        Request::Publish { topic, records } => {
            let mut bytes = Vec::new();
            for record in records {
                let (key, body) = (record.key.as_deref(), &record.body[..]);
                let record =
                    zaichik_proto::Record { key, body, ttl_micros: record.ttl, ..Default::default() };
                record.encode(&mut bytes);
            }
            let records = Records::from_encoded(u32::try_from(records.len()).unwrap(), &bytes);
            let topic = name(topic);
            let topic = topic.as_bytes();
            ClientFrame::Publish(Publish { request, ack, producer: None, topic, records }).encode(out);
        }
        Request::Subscribe { number, topic, start, window, window_bytes } => {
            let start = match start {
                Start::Earliest => zaichik_proto::Start::Earliest,
                Start::Latest => zaichik_proto::Start::Latest,
                Start::Offset(offset) => zaichik_proto::Start::Offset(*offset),
                Start::Time(time) => zaichik_proto::Start::Time(*time),
            };
            let topic = name(topic);
            let subscribe = zaichik_proto::Subscribe {
                request,
                subscription: *number,
                topic: topic.as_bytes(),
                start,
                window: *window,
                window_bytes: *window_bytes,
                max_attempts: 0,
                dead_letter: b"",
                durable: None,
            };
            ClientFrame::Subscribe(subscribe).encode(out);
        }
        Request::Unsubscribe { number } => {
            ClientFrame::Unsubscribe(Unsubscribe { request, subscription: *number }).encode(out);
        }
        Request::Commit { number, offset } => {
            let commit = Commit { request, subscription: *number, offset: *offset, quiet: false };
            ClientFrame::Commit(commit).encode(out);
        }
        Request::Create { topic, options } => {
            let (topic, options) = (name(topic), wire_options(options));
            ClientFrame::CreateTopic(CreateTopic { request, topic: topic.as_bytes(), options }).encode(out);
        }
        Request::Alter { topic, options } => {
            let (topic, options) = (name(topic), wire_options(options));
            ClientFrame::AlterTopic(AlterTopic { request, topic: topic.as_bytes(), options }).encode(out);
        }
    }
}

fn wire_options(options: &Options) -> TopicOptions {
    TopicOptions {
        retention_ttl_micros: options.ttl,
        compaction_window_micros: options.window,
        compaction: None,
        max_messages: options.max_messages,
        max_bytes: options.max_bytes,
        overflow: options.reject.map(overflow),
        max_keys: options.max_keys,
        tombstone_ttl_micros: None,
    }
}

fn settings(settings: Settings) -> TopicSettings {
    TopicSettings {
        retention_ttl_micros: settings.ttl,
        compaction_window_micros: settings.window,
        max_messages: settings.max_messages,
        max_bytes: settings.max_bytes,
        overflow: overflow(settings.reject),
        max_keys: settings.max_keys,
        ..TopicSettings::default()
    }
}

const fn overflow(reject: bool) -> Overflow {
    if reject { Overflow::Reject } else { Overflow::DropOldest }
}

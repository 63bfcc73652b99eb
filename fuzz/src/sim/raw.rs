//! Peers without a real client: they send meaningless requests, and bytes that break the protocol.

mod members;

use bytes::BytesMut;
use zaichik_proto::{
    AckLevel, AlterTopic, Batch, ClientFrame, Commit, CompactionMode, CreateTopic, Describe, Durable,
    FrameHeader, Hello, MAGIC, Nack, OnConflict, Operation, OperationsBuilder, Producer, Publish, Record,
    Records, Seek, SeekTarget, Start, Subject, Subscribe, TopicOptions, TrimTopic, Unsubscribe, Version,
};

use super::plan::{Attack, Plan, Role};
use super::random::{Concern, Rng};
use super::{MILLI, SECOND};

/// The kind of a Publish.
const PUBLISH: u8 = 0x04;

/// Maximum bytes that wait to be written.
const MOST_WAITING: usize = 64 << 10;

pub(crate) struct Raw {
    attack: Option<Attack>,
    rng: Rng,
    /// For requests about shared subscriptions.
    share_rng: Rng,
    /// The version that it speaks.
    version: Version,
    /// Bytes to be written on this connection.
    pub(crate) outbound: BytesMut,
    pub(crate) next: u64,
    request: u32,
    /// Whether it uses only separate topics.
    keeps_apart: bool,
    /// Its number, which is part of the names it uses.
    index: usize,
    sequence: u64,
    /// Whether it reads what it receives.
    pub(crate) is_reading: bool,
    /// What it makes the broker hold.
    hoards: Hoards,
}

/// What a slow attacker makes the broker hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hoards {
    /// A connection: it sends one byte at a time.
    Connection,
    /// The bytes of a frame that it does not complete.
    Input,
    /// Answers that it does not read.
    Output,
}

impl Raw {
    pub(crate) fn new(plan: &Plan, index: usize, role: &Role) -> Self {
        let mut rng = Rng::new(plan.seed, Concern::Work, index as u64);
        let is_reading = !rng.once_in(4);
        let attack = if let Role::Attacker(attack) = role { Some(*attack) } else { None };
        let hoards = match attack {
            Some(Attack::Loris) => rng.pick(&[Hoards::Connection, Hoards::Input, Hoards::Output]),
            _ => Hoards::Connection,
        };
        let version = rng.pick(&[Version::One, Version::Two]);
        Self {
            attack,
            rng,
            share_rng: Rng::new(plan.seed, Concern::Members, 1 << 60 | index as u64),
            version,
            outbound: BytesMut::new(),
            next: 0,
            request: 0,
            keeps_apart: !plan.limits.are_shared,
            index,
            sequence: 0,
            is_reading: is_reading && hoards != Hoards::Output,
            hoards,
        }
    }

    /// A new connection is established.
    pub(crate) fn connected(&mut self) {
        self.outbound.clear();
        if self.hoards == Hoards::Input {
            self.next = 0;
        }
        if matches!(self.attack, Some(Attack::Garbage)) && self.rng.once_in(2) {
            return;
        }
        self.outbound.extend_from_slice(&MAGIC);
        let hello = Hello { version: self.version.number(), name: "raw", token: b"" };
        ClientFrame::Hello(hello).encode(&mut self.outbound);
    }

    /// Maximum bytes that it writes at a time.
    pub(crate) fn pace(&self) -> usize {
        let is_slow = self.attack == Some(Attack::Loris) && self.hoards == Hoards::Connection;
        if is_slow { 1 } else { usize::MAX }
    }

    /// Produces more bytes, if it is time.
    pub(crate) fn step(&mut self, now: u64, plan: &Plan) {
        if now < self.next {
            return;
        }
        self.next = now + self.rng.between(1, 400 * MILLI);
        if self.outbound.len() > MOST_WAITING {
            return;
        }
        match self.attack {
            Some(Attack::Loris) => {
                self.next = now + SECOND;
                self.hoard(plan);
            }
            Some(Attack::Garbage) => {
                let garbage: Vec<u8> =
                    (0..self.rng.between(1, 200)).map(|_| self.rng.next().to_le_bytes()[0]).collect();
                self.outbound.extend_from_slice(&garbage);
            }
            Some(Attack::Flood) => {
                for _ in 0..self.rng.between(1, 8) {
                    let (topic, key) = (
                        format!("x{}-{}", self.index, self.rng.below(1 << 20)),
                        self.rng.next().to_le_bytes(),
                    );
                    let topic = if self.rng.once_in(2) { topic } else { self.topic(plan) };
                    self.publish(&topic, Some(&key), false);
                }
            }
            Some(Attack::Work) => self.work(plan),
            None | Some(Attack::Mutate) => {
                let before = self.outbound.len();
                for _ in 0..self.rng.between(1, 3) {
                    self.request(plan);
                    self.share(plan);
                }
                if matches!(self.attack, Some(Attack::Mutate)) && self.rng.once_in(3) {
                    let place = before + self.rng.index(self.outbound.len() - before);
                    if let Some(byte) = self.outbound.get_mut(place) {
                        *byte ^= 1 << self.rng.below(8);
                    }
                }
            }
        }
    }

    /// Makes the broker hold more.
    fn hoard(&mut self, plan: &Plan) {
        match self.hoards {
            Hoards::Connection => {}
            Hoards::Input => {
                let body_len = plan.limits.max_message + 4_000;
                self.outbound.extend_from_slice(&FrameHeader { body_len, kind: PUBLISH }.to_bytes());
                self.outbound.resize(self.outbound.len() + body_len as usize - 1, 0);
                // The rest of the frame never comes.
                self.next += 3_600 * SECOND;
            }
            Hoards::Output => {
                for _ in 0..self.rng.between(1, 2_000) {
                    self.request += 1;
                    let subject = Subject::Broker;
                    self.send(&ClientFrame::Describe(Describe { request: self.request, subject }));
                }
            }
        }
    }

    /// Sends hundreds of equal short requests, after one that gives them something to do.
    fn work(&mut self, plan: &Plan) {
        let topic = self.topic(plan);
        let (name, kind, count) = (topic.as_bytes(), self.rng.below(5), self.rng.between(100, 1_000));
        let start =
            self.rng.pick(&[Start::Earliest, Start::Latest, Start::Offset(plan.limits.first_offset + 9)]);
        let subscribe = |request| Subscribe {
            request,
            subscription: 9,
            topic: name,
            start,
            window: 1,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        };
        let mortal = [self.rng.pick(&[1, MILLI, SECOND]), SECOND];
        self.send(&ClientFrame::Subscribe(subscribe(self.request)));
        for ttl_micros in mortal {
            let mut records = Vec::new();
            let few = u32::try_from(self.rng.between(1, 20)).unwrap_or(1);
            for _ in 0..few {
                Record { ttl_micros: Some(ttl_micros), ..Record::default() }.encode(&mut records);
            }
            let (request, ack, producer) = (self.request, AckLevel::None, None);
            let records = Records::from_encoded(few, &records);
            self.send(&ClientFrame::Publish(Publish { request, ack, producer, topic: name, records }));
            self.publish(&topic, None, false);
        }
        for _ in 0..count {
            self.request += 1;
            let request = self.request;
            match kind {
                0 => {
                    let target = SeekTarget::Subscription(9);
                    self.send(&ClientFrame::Seek(Seek { request, target, to: start }));
                }
                1 => {
                    self.send(&ClientFrame::Subscribe(subscribe(request)));
                    self.send(&ClientFrame::Unsubscribe(Unsubscribe { request, subscription: 9 }));
                }
                2 => {
                    let subject = Subject::Topics { from: 0 };
                    self.send(&ClientFrame::Describe(Describe { request, subject }));
                }
                _ => {
                    let options = TopicOptions::new();
                    self.send(&ClientFrame::AlterTopic(AlterTopic { request, topic: b"x", options }));
                }
            }
        }
    }

    fn topic(&mut self, plan: &Plan) -> String {
        if self.keeps_apart {
            format!("x{}-{}", self.index, self.rng.below(3))
        } else {
            plan.topics[self.rng.index(plan.topics.len())].name.clone()
        }
    }

    /// Sends a well-formed request that makes little sense.
    fn request(&mut self, plan: &Plan) {
        self.request += 1;
        let request = self.request;
        let subscription = u32::try_from(self.rng.below(4)).unwrap_or(0);
        let offset = plan.limits.first_offset + self.rng.below(40);
        let offset = if self.rng.once_in(10) { self.rng.next() } else { offset };
        let topic = self.topic(plan);
        let time = self.rng.next() >> 20;
        let start =
            self.rng.pick(&[Start::Earliest, Start::Latest, Start::Offset(offset), Start::Time(time)]);
        match self.rng.below(13) {
            0 | 1 => {
                let names = ["shared", "d0-0", "d1-0", "d2-0", "x"];
                let name = if self.keeps_apart { "x" } else { self.rng.pick(&names) };
                let durable = Durable {
                    name,
                    on_conflict: self.rng.pick(&[OnConflict::TakeOver, OnConflict::Reject]),
                    epoch: u32::try_from(self.rng.below(4)).unwrap_or(0),
                    inactive_ttl_micros: self.rng.pick(&[0, SECOND]),
                };
                let durable = self.rng.once_in(2).then_some(durable);
                let window = u32::try_from(self.rng.pick(&[0, 1, 2, 5_000])).unwrap_or(0);
                let dead = if self.keeps_apart { "x-dead" } else { "dead" };
                let dead_letter = if self.rng.once_in(4) { dead } else { "" };
                self.send(&ClientFrame::Subscribe(Subscribe {
                    request,
                    subscription,
                    topic: topic.as_bytes(),
                    start,
                    window,
                    window_bytes: 0,
                    max_attempts: u32::from(window > 0),
                    dead_letter: dead_letter.as_bytes(),
                    durable,
                }));
            }
            2 => self.send(&ClientFrame::Unsubscribe(Unsubscribe { request, subscription })),
            3..=5 => {
                let (rewind, quiet) = (self.rewind(), self.rng.once_in(2));
                self.send(&ClientFrame::Commit(Commit { request, subscription, offset, rewind, quiet }));
            }
            6 => {
                let delay_micros = self.rng.pick(&[0, SECOND, u64::MAX]);
                self.send(&ClientFrame::Nack(Nack { request, subscription, offset, delay_micros }));
            }
            7 => {
                let target = SeekTarget::Subscription(subscription);
                self.send(&ClientFrame::Seek(Seek { request, target, to: start }));
            }
            8 => self.batch(&topic, subscription, offset),
            9 => {
                let options = TopicOptions::new().retain_forever();
                let frame = match self.rng.below(2) {
                    0 => ClientFrame::CreateTopic(CreateTopic { request, topic: topic.as_bytes(), options }),
                    _ => ClientFrame::AlterTopic(AlterTopic { request, topic: b"x-none", options }),
                };
                self.send(&frame);
            }
            10 if self.version > Version::One && !Self::may_be_latest(&topic, plan) => {
                let (topic, before) = (topic.as_bytes(), start);
                self.send(&ClientFrame::TrimTopic(TrimTopic { request, topic, before }));
            }
            _ => {
                let has_producer = self.rng.once_in(2);
                self.publish(&topic, None, has_producer);
            }
        }
    }

    /// The broker may not know the times of all records of such a topic (rule C8).
    fn may_be_latest(topic: &str, plan: &Plan) -> bool {
        let is_latest = |options: TopicOptions| options.compaction == Some(CompactionMode::Latest);
        plan.topics.iter().any(|one| one.name == topic && one.options.is_some_and(is_latest))
    }

    /// The rewind number in a commit.
    fn rewind(&mut self) -> Option<u32> {
        (self.version > Version::One).then(|| u32::try_from(self.rng.below(4)).unwrap_or(0))
    }

    fn publish(&mut self, topic: &str, key: Option<&[u8]>, has_producer: bool) {
        self.request += 1;
        let mut encoded = Vec::new();
        Record { key, body: b"raw", ..Record::default() }.encode(&mut encoded);
        let producer = has_producer.then(|| self.producer());
        // Without an answer the next sequence would be unknown.
        let none = if has_producer { AckLevel::Accepted } else { AckLevel::None };
        let ack = self.rng.pick(&[AckLevel::Accepted, AckLevel::Accepted, AckLevel::Durable, none]);
        let frame = ClientFrame::Publish(Publish {
            request: self.request,
            ack,
            producer,
            topic: topic.as_bytes(),
            records: Records::from_encoded(1, &encoded),
        });
        self.send(&frame);
    }

    fn batch(&mut self, topic: &str, subscription: u32, offset: u64) {
        let mut encoded = Vec::new();
        Record { body: b"raw", ..Record::default() }.encode(&mut encoded);
        let mut operations = OperationsBuilder::default();
        operations.push(Operation::Publish {
            topic: topic.as_bytes(),
            records: Records::from_encoded(1, &encoded),
        });
        if self.rng.once_in(2) {
            let rewind = self.rewind();
            operations.push(Operation::Commit { subscription, offset, rewind });
        }
        let producer = self.rng.once_in(2).then(|| self.producer());
        let (request, ack) = (self.request, AckLevel::Accepted);
        let batch = Batch { request, ack, producer, operations: operations.operations() };
        self.send(&ClientFrame::Batch(batch));
    }

    /// A producer that raw peers share: they often use the right sequence, and fence each other with higher epochs.
    fn producer(&mut self) -> Producer {
        self.sequence = match self.rng.below(6) {
            0 => self.sequence,
            1 => self.sequence + 2,
            _ => self.sequence + 1,
        };
        let epoch = u32::try_from(self.rng.pick(&[1, 1, 1, 1, 2])).unwrap_or(1);
        Producer { id: 7 + u128::from(self.rng.below(2)), epoch, sequence: self.sequence }
    }

    fn send(&mut self, frame: &ClientFrame<'_>) {
        frame.encode(&mut self.outbound);
    }
}

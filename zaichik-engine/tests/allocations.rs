//! A broker that has warmed up allocates nothing per message: what it needs it has, and uses again.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic fails the test"
)]

use allocation_counter::{measure, opt_out};
use bytes::{Buf, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Session, Timestamp, Turn};
use zaichik_proto::{
    AckLevel, Batch, ClientFrame, Commit, CreateTopic, Hello, MAGIC, Operation, OperationsBuilder, Producer,
    Publish, Record, Records, Start, Subscribe, TopicOptions,
};

/// Publishes that warm up, and publishes that are measured.
const PUBLISHES: u64 = 20_000;

#[test]
fn publishing_without_readers_allocates_nothing() {
    let bytes = publish(AckLevel::Accepted);
    let mut world = World::new(TopicOptions::new());
    let publisher = world.connect();
    assert_few(|_| world.send(publisher, &bytes));
}

#[test]
fn a_full_log_allocates_a_chunk_for_many_messages() {
    let bytes = publish(AckLevel::Accepted);
    let mut world = World::new(TopicOptions::new().retain_forever().max_bytes(1 << 20));
    let publisher = world.connect();
    assert_few(|_| world.send(publisher, &bytes));
}

#[test]
fn a_delivery_of_each_message_to_a_subscriber_that_does_not_commit_allocates_nothing() {
    let bytes = publish(AckLevel::None);
    let mut world = World::new(TopicOptions::new());
    let publisher = world.connect();
    world.subscribe(0);
    assert_few(|_| world.send(publisher, &bytes));
}

#[test]
fn a_delivery_of_each_message_to_a_subscriber_that_commits_allocates_nothing() {
    let bytes = publish(AckLevel::Accepted);
    let mut world = World::new(TopicOptions::new());
    let publisher = world.connect();
    let subscriber = world.subscribe(64);
    let mut commits = BytesMut::new();
    assert_few(|index| {
        world.send(publisher, &bytes);
        if index % 32 == 31 {
            commits.clear();
            commit(index).encode(&mut commits);
            world.send(subscriber, &commits);
        }
    });
}

#[test]
fn many_messages_at_once_to_both_kinds_of_subscribers_allocate_nothing() {
    let bytes = publish(AckLevel::Accepted).repeat(50);
    let mut world = World::new(TopicOptions::new().retain_forever().max_bytes(1 << 20));
    let publisher = world.connect();
    world.subscribe(0);
    let subscriber = world.subscribe(64);
    let mut commits = BytesMut::new();
    assert_few(|index| {
        if index % 50 == 49 {
            world.send(publisher, &bytes);
            commits.clear();
            commit(index).encode(&mut commits);
            world.send(subscriber, &commits);
        }
    });
}

#[test]
fn publishes_of_a_producer_allocate_nothing() {
    let mut world = World::new(TopicOptions::new());
    let publisher = world.connect();
    let (record, mut bytes) = (record(), BytesMut::new());
    let records = Records::from_encoded(1, &record);
    assert_few(|sequence| {
        bytes.clear();
        // Two topics in turn, so that each answer is remembered on its own.
        let topic = if sequence % 2 == 0 { b"topic" } else { b"other" };
        let (ack, producer) = (AckLevel::Accepted, Some(Producer { id: 1, epoch: 0, sequence }));
        ClientFrame::Publish(Publish { request: 1, ack, producer, topic, records }).encode(&mut bytes);
        world.send(publisher, &bytes);
    });
}

#[test]
fn duplicates_and_refusals_of_a_producer_and_their_repeats_allocate_nothing() {
    let mut world = World::new(TopicOptions::new().compaction_window(core::time::Duration::from_hours(1)));
    let publisher = world.connect();
    let mut record = Vec::new();
    Record { key: Some(b"key"), ..Record::default() }.encode(&mut record);
    let records = Records::from_encoded(1, &record);
    let mut bytes = BytesMut::new();
    assert_few(|index| {
        bytes.clear();
        let producer = Some(Producer { id: 1, epoch: 0, sequence: index / 2 });
        let topic: &[u8] = if index % 4 < 2 { b"topic" } else { b"$refused" };
        let ack = AckLevel::Accepted;
        ClientFrame::Publish(Publish { request: 1, ack, producer, topic, records }).encode(&mut bytes);
        world.send(publisher, &bytes);
    });
}

#[test]
fn batches_of_publishes_and_commits_allocate_nothing() {
    let mut world = World::new(TopicOptions::new());
    let publisher = world.subscribe(64);
    let record = record();
    let records = Records::from_encoded(1, &record);
    let mut bytes = BytesMut::new();
    assert_few(|sequence| {
        // Writing it is the peer's affair.
        opt_out(|| {
            let mut operations = OperationsBuilder::default();
            for topic in [b"topic", b"other", b"third"] {
                operations.push(Operation::Publish { topic, records });
            }
            if let Some(offset) = sequence.checked_sub(1) {
                operations.push(Operation::Commit { subscription: 1, offset });
            }
            bytes.clear();
            let (ack, operations) = (AckLevel::Accepted, operations.operations());
            let producer = Some(Producer { id: 1, epoch: 0, sequence });
            ClientFrame::Batch(Batch { request: 1, ack, producer, operations }).encode(&mut bytes);
        });
        world.send(publisher, &bytes);
    });
    assert_eq!(world.broker.stats().refused, 0);
    assert_eq!(world.broker.stats().records_delivered, PUBLISHES * 2);
}

/// Runs `publish` with 0, 1, 2 …: to warm up, and then to be measured.
fn assert_few(mut publish: impl FnMut(u64)) {
    (0..PUBLISHES).for_each(&mut publish);
    let allocations = measure(|| (PUBLISHES..PUBLISHES * 2).for_each(&mut publish)).count_total;
    assert!(allocations < PUBLISHES / 100, "{allocations} allocations for {PUBLISHES} publishes");
}

/// A broker with one topic and connections whose peers read everything at once.
struct World {
    broker: Broker,
    effects: Effects,
    sessions: Vec<Session>,
    now: Timestamp,
}

impl World {
    fn new(options: TopicOptions) -> Self {
        let broker = Broker::new(BrokerConfig::new(1, 2)).expect("the defaults are valid");
        let now = Timestamp::from_micros(1);
        let mut world = Self { broker, effects: Effects::new(), sessions: Vec::new(), now };
        let creator = world.connect();
        let create = CreateTopic { request: 1, topic: b"topic", options };
        world.send(creator, &encoded(&ClientFrame::CreateTopic(create)));
        world
    }

    fn connect(&mut self) -> usize {
        self.sessions.push(self.broker.accept(self.now, &mut self.effects));
        let mut bytes = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: 1, name: "", token: b"" }).encode(&mut bytes);
        let index = self.sessions.len() - 1;
        self.send(index, &bytes);
        index
    }

    fn subscribe(&mut self, window: u32) -> usize {
        let index = self.connect();
        let subscribe = Subscribe {
            request: 1,
            subscription: 1,
            topic: b"topic",
            start: Start::Latest,
            window,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        };
        self.send(index, &encoded(&ClientFrame::Subscribe(subscribe)));
        index
    }

    /// Bytes arrive, and everybody who has something to do does it.
    fn send(&mut self, index: usize, bytes: &[u8]) {
        self.now = self.now.plus_micros(10);
        self.sessions[index].inbound().extend_from_slice(bytes);
        self.sessions[index].handle_read(self.now);
        self.turn(index);
        while let Some(id) = self.effects.pop_wake() {
            let woken = self.sessions.iter().position(|session| session.id() == id);
            self.turn(woken.expect("nobody left"));
        }
    }

    fn turn(&mut self, index: usize) {
        loop {
            let turn = self.sessions[index].exchange(self.now, &mut self.broker, &mut self.effects);
            let outbound = self.sessions[index].outbound();
            let count = outbound.remaining();
            outbound.advance(count);
            if turn == Turn::Done && count == 0 {
                return;
            }
        }
    }
}

fn publish(ack: AckLevel) -> BytesMut {
    let record = record();
    let records = Records::from_encoded(1, &record);
    encoded(&ClientFrame::Publish(Publish { request: 1, ack, producer: None, topic: b"topic", records }))
}

fn record() -> Vec<u8> {
    let mut bytes = Vec::new();
    Record { body: &[7; 128], ..Record::default() }.encode(&mut bytes);
    bytes
}

const fn commit(offset: u64) -> ClientFrame<'static> {
    ClientFrame::Commit(Commit { request: 1, subscription: 1, offset, quiet: true })
}

fn encoded(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

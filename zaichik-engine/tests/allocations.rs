//! A broker that has warmed up allocates nothing per message: what it needs it has, and uses again.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic fails the test"
)]

use allocation_counter::measure;
use bytes::{Buf, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Session, Timestamp, Turn};
use zaichik_proto::{
    AckLevel, ClientFrame, Commit, CreateTopic, Hello, MAGIC, Publish, Record, Records, Start, Subscribe,
    TopicOptions,
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
    let mut bytes = Vec::new();
    Record { body: &[7; 128], ..Record::default() }.encode(&mut bytes);
    let records = Records::from_encoded(1, &bytes);
    encoded(&ClientFrame::Publish(Publish { request: 1, ack, producer: None, topic: b"topic", records }))
}

const fn commit(offset: u64) -> ClientFrame<'static> {
    ClientFrame::Commit(Commit { request: 1, subscription: 1, offset, quiet: true })
}

fn encoded(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

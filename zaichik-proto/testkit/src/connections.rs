//! A broker and connections without sockets, for benches and for tests that count: bytes in, bytes out.

use bytes::{Buf, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Session, Turn};
use zaichik_proto::{
    AckLevel, ClientFrame, CreateTopic, Hello, MAGIC, Publish, Record, Records, Start, Subscribe, Timestamp,
    TopicOptions,
};

use crate::requests::encoded;

/// The body of each record that [`publish_equal`] publishes.
pub const BODY: [u8; 128] = [7; 128];

/// A broker and its connections, whose peers read everything at once, at a time that only the caller moves.
#[derive(Debug)]
pub struct Connections {
    /// The broker.
    pub broker: Broker,
    /// The time of all calls.
    pub now: Timestamp,
    effects: Effects,
    sessions: Vec<Session>,
    /// Index of the session in each slot.
    slots: Vec<usize>,
}

impl Connections {
    /// A broker without connections, with more memory than any test uses.
    #[must_use]
    pub fn new() -> Self {
        let mut config = BrokerConfig::default();
        config.memory = 8 << 30;
        let broker = Broker::new(config, Seed::new(1, 2)).expect("the defaults are valid");
        let now = Timestamp::from_micros(1_000_000);
        Self { broker, now, effects: Effects::new(), sessions: Vec::new(), slots: Vec::new() }
    }

    /// A new connection whose handshake is done; returns its index.
    pub fn connect(&mut self) -> usize {
        let session = self.broker.accept(self.now, &mut self.effects);
        let (index, slot) = (self.sessions.len(), session.id().slot());
        if slot >= self.slots.len() {
            self.slots.resize(slot.saturating_add(1), usize::MAX);
        }
        *self.slots.get_mut(slot).expect("the table was extended") = index;
        self.sessions.push(session);
        let mut bytes = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: 1, name: "", token: b"" }).encode(&mut bytes);
        self.send(index, &bytes);
        index
    }

    /// Creates a topic.
    pub fn create(&mut self, connection: usize, topic: &str, options: TopicOptions) {
        let create = CreateTopic { request: 1, topic: topic.as_bytes(), options };
        self.send(connection, &encoded(&ClientFrame::CreateTopic(create)));
    }

    /// Subscribes to the latest records under number 1.
    pub fn subscribe(&mut self, connection: usize, topic: &str, window: u32) {
        let subscribe = Subscribe {
            request: 1,
            subscription: 1,
            topic: topic.as_bytes(),
            start: Start::Latest,
            window,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        };
        self.send(connection, &encoded(&ClientFrame::Subscribe(subscribe)));
    }

    /// Bytes arrive and take effect, woken connections have their turn, and every peer reads its output. Returns how
    /// many bytes the sender read.
    pub fn send(&mut self, connection: usize, bytes: &[u8]) -> usize {
        let session = self.sessions.get_mut(connection).expect("a connection");
        session.inbound().extend_from_slice(bytes);
        session.handle_read(self.now);
        let read = self.turn(connection);
        let _ = self.effects.take_rearm();
        while let Some(id) = self.effects.pop_wake() {
            let woken = *self.slots.get(id.slot()).expect("every session has a slot");
            self.turn(woken);
        }
        read
    }

    /// Bytes arrive and take effect, and the peer reads none of its output.
    pub fn send_unread(&mut self, connection: usize, bytes: &[u8]) {
        let session = self.sessions.get_mut(connection).expect("a connection");
        session.inbound().extend_from_slice(bytes);
        session.handle_read(self.now);
        while session.exchange(self.now, &mut self.broker, &mut self.effects) == Turn::More {}
        session.shrink();
    }

    /// Exchanges and writes until nothing more can be done.
    fn turn(&mut self, connection: usize) -> usize {
        let session = self.sessions.get_mut(connection).expect("a connection");
        let mut read = 0usize;
        loop {
            let turn = session.exchange(self.now, &mut self.broker, &mut self.effects);
            let outbound = session.outbound();
            let count = outbound.remaining();
            outbound.advance(count);
            read = read.saturating_add(count);
            if turn == Turn::Done && count == 0 {
                return read;
            }
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

/// A Publish of `count` records of 128 bytes, all with this key or without one.
#[must_use]
pub fn publish_equal(topic: &str, ack: AckLevel, count: u32, key: Option<&[u8]>) -> BytesMut {
    let mut bytes = Vec::new();
    for _ in 0..count {
        Record { key, body: &BODY, ..Record::default() }.encode(&mut bytes);
    }
    let records = Records::from_encoded(count, &bytes);
    let topic = topic.as_bytes();
    encoded(&ClientFrame::Publish(Publish { request: 1, ack, producer: None, topic, records }))
}

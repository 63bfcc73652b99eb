//! Connections without sockets: bytes in, bytes out, and a peer that reads everything at once.

use bytes::{Buf, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Session, Timestamp, Turn};
use zaichik_proto::{
    AckLevel, ClientFrame, CreateTopic, Hello, MAGIC, Publish, Record, Records, Start, Subscribe,
    TopicOptions,
};

/// Bytes of every record's body.
pub(crate) const BODY: usize = 128;

/// A broker and its connections, at a time that only the benchmark moves.
pub(crate) struct Connections {
    pub(crate) broker: Broker,
    pub(crate) now: Timestamp,
    effects: Effects,
    sessions: Vec<Session>,
    /// Index of the session in each slot.
    slots: Vec<usize>,
}

impl Connections {
    pub(crate) fn new() -> Self {
        let mut config = BrokerConfig::default();
        config.memory_budget = 8 << 30;
        let broker = Broker::new(config, Seed::new(1, 2)).expect("the defaults are valid");
        let now = Timestamp::from_micros(1_000_000);
        Self { broker, now, effects: Effects::new(), sessions: Vec::new(), slots: Vec::new() }
    }

    /// A new connection whose handshake is done; returns its index.
    pub(crate) fn connect(&mut self) -> usize {
        let session = self.broker.accept(self.now, &mut self.effects);
        let (index, slot) = (self.sessions.len(), session.id().slot());
        self.slots.resize(self.slots.len().max(slot + 1), usize::MAX);
        self.slots[slot] = index;
        self.sessions.push(session);
        let mut bytes = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: 1, name: "", token: b"" }).encode(&mut bytes);
        self.send(index, &bytes);
        index
    }

    pub(crate) fn create(&mut self, connection: usize, topic: &str, options: TopicOptions) {
        let create = CreateTopic { request: 1, topic: topic.as_bytes(), options };
        self.send(connection, &encoded(&ClientFrame::CreateTopic(create)));
    }

    pub(crate) fn subscribe(&mut self, connection: usize, topic: &str, window: u32) {
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

    /// Bytes arrive, take effect, and whoever was woken has its turn; every peer reads what it is sent. Returns how
    /// many bytes the sender was sent.
    pub(crate) fn send(&mut self, connection: usize, bytes: &[u8]) -> usize {
        let session = &mut self.sessions[connection];
        session.inbound().extend_from_slice(bytes);
        session.handle_read(self.now);
        let read = self.turn(connection);
        self.wake();
        read
    }

    /// Everybody who was woken has a turn.
    fn wake(&mut self) {
        let _ = self.effects.take_rearm();
        while let Some(id) = self.effects.pop_wake() {
            self.turn(self.slots[id.slot()]);
        }
    }

    /// Exchanges and writes until there is nothing left to do.
    fn turn(&mut self, connection: usize) -> usize {
        let session = &mut self.sessions[connection];
        let mut read = 0;
        loop {
            let turn = session.exchange(self.now, &mut self.broker, &mut self.effects);
            let outbound = session.outbound();
            let count = outbound.remaining();
            outbound.advance(count);
            read += count;
            if turn == Turn::Done && count == 0 {
                return read;
            }
        }
    }
}

/// A Publish of `count` records of 128 bytes, all with the key or without one.
pub(crate) fn publish(topic: &str, ack: AckLevel, count: u32, key: Option<&[u8]>) -> BytesMut {
    let mut bytes = Vec::new();
    for _ in 0..count {
        Record { key, body: &[7; BODY], ..Record::default() }.encode(&mut bytes);
    }
    let records = Records::from_encoded(count, &bytes);
    let topic = topic.as_bytes();
    encoded(&ClientFrame::Publish(Publish { request: 1, ack, producer: None, topic, records }))
}

pub(crate) fn encoded(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

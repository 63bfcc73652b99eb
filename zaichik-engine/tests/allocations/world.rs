//! A broker and connections whose peers read everything at once.

use bytes::{Buf, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Session, Timestamp, Turn};
use zaichik_proto::{
    AckLevel, ClientFrame, Commit, CreateTopic, Hello, MAGIC, Publish, Record, Records, Start, Subscribe,
    TopicOptions,
};

/// A broker with one topic and connections whose peers read everything at once.
pub(crate) struct World {
    pub(crate) broker: Broker,
    effects: Effects,
    sessions: Vec<Session>,
    now: Timestamp,
}

impl World {
    pub(crate) fn new(options: TopicOptions) -> Self {
        let broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2)).expect("the defaults are valid");
        let now = Timestamp::from_micros(1);
        let mut world = Self { broker, effects: Effects::new(), sessions: Vec::new(), now };
        let creator = world.connect();
        let create = CreateTopic { request: 1, topic: b"topic", options };
        world.send(creator, &encoded(&ClientFrame::CreateTopic(create)));
        world
    }

    pub(crate) fn connect(&mut self) -> usize {
        self.sessions.push(self.broker.accept(self.now, &mut self.effects));
        let mut bytes = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: 1, name: "", token: b"" }).encode(&mut bytes);
        let index = self.sessions.len() - 1;
        self.send(index, &bytes);
        index
    }

    pub(crate) fn subscribe(&mut self, window: u32) -> usize {
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
    pub(crate) fn send(&mut self, index: usize, bytes: &[u8]) {
        self.now = self.now.plus_micros(10);
        self.sessions[index].inbound().extend_from_slice(bytes);
        self.sessions[index].handle_read(self.now);
        self.turn(index);
        while let Some(id) = self.effects.pop_wake() {
            let woken = self.sessions.iter().position(|session| session.id() == id);
            self.turn(woken.expect("nobody left"));
        }
    }

    /// Bytes arrive and take effect, and the peer reads nothing of what it is sent.
    pub(crate) fn send_to_deaf(&mut self, index: usize, bytes: &[u8]) {
        let session = &mut self.sessions[index];
        session.inbound().extend_from_slice(bytes);
        session.handle_read(self.now);
        while session.exchange(self.now, &mut self.broker, &mut self.effects) == Turn::More {}
        session.shrink();
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

pub(crate) fn publish(ack: AckLevel) -> BytesMut {
    let record = record();
    let records = Records::from_encoded(1, &record);
    encoded(&ClientFrame::Publish(Publish { request: 1, ack, producer: None, topic: b"topic", records }))
}

pub(crate) fn record() -> Vec<u8> {
    let mut bytes = Vec::new();
    Record { body: &[7; 128], ..Record::default() }.encode(&mut bytes);
    bytes
}

pub(crate) const fn commit(offset: u64) -> ClientFrame<'static> {
    ClientFrame::Commit(Commit { request: 1, subscription: 1, offset, quiet: true })
}

pub(crate) fn encoded(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

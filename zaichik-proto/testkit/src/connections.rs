//! A broker and its sessions without sockets, driven step by step: bytes in, bytes out.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Outbound, Seed, Session, SessionId, Turn};
use zaichik_proto::{AckLevel, Record, Timestamp, TopicOptions};

use crate::client::RawClient;
use crate::sub::Sub;

/// The body of each record that [`publish_equal`] publishes.
pub const BODY: [u8; 128] = [7; 128];

/// Exchanges after which a connection that should become idle counts as never idle.
const MAX_TURNS: usize = 1_000_000;

/// A broker and its connections, at a time that only the caller moves.
///
/// Each step drives one connection or the broker, as an adapter does: [`read`](Self::read),
/// [`time_out`](Self::time_out), [`exchange`](Self::exchange), [`write`](Self::write), [`detach`](Self::detach),
/// [`housekeep`](Self::housekeep). The caller decides on their order, and after each step it takes what the broker asks
/// for: [`pop_wake`](Self::pop_wake) until `None`, and [`rearm`](Self::rearm). [`send`](Self::send) and
/// [`settle`](Self::settle) do all of that.
#[derive(Debug)]
pub struct Connections {
    /// The broker.
    pub broker: Broker,
    /// What it asks for.
    pub effects: Effects,
    /// The time of all steps.
    pub now: Timestamp,
    /// Whether the broker verifies itself after each step. Default: no.
    pub is_thorough: bool,
    /// By index; `None` after its end.
    sessions: Vec<Option<Session>>,
    /// Ids of the sessions, in ascending order.
    ids: Vec<SessionId>,
    /// Index of the first of them; earlier sessions belonged to a broker that was replaced.
    first: usize,
    armed: Option<Timestamp>,
}

impl Connections {
    /// A broker without connections, with more memory than any test uses.
    #[must_use]
    pub fn new() -> Self {
        let mut config = BrokerConfig::default();
        config.memory = 8 << 30;
        Self::with(config, Seed::new(1, 2), Timestamp::from_micros(1_000_000))
    }

    /// A broker without connections.
    #[must_use]
    pub fn with(config: BrokerConfig, seed: Seed, now: Timestamp) -> Self {
        let broker = Broker::new(config, seed).expect("a valid configuration");
        let (effects, sessions, ids) = (Effects::new(), Vec::new(), Vec::new());
        Self { broker, effects, now, is_thorough: false, sessions, ids, first: 0, armed: None }
    }

    /// Replaces the broker with an empty one; all connections end.
    pub fn restart(&mut self, config: BrokerConfig, seed: Seed) {
        self.replace(Broker::new(config, seed).expect("a valid configuration"));
    }

    /// Replaces the broker with another one; all connections end.
    pub fn replace(&mut self, broker: Broker) {
        self.broker = broker;
        self.restarted();
    }

    /// The broker was replaced; all connections end.
    pub fn restarted(&mut self) {
        self.effects.clear();
        self.armed = self.broker.next_timeout();
        self.sessions.fill_with(|| None);
        self.first = self.sessions.len();
        self.ids.clear();
    }

    /// The broker and its connections did not run for `pause`, although the time advances by as much (rule O5). Call it
    /// before the time is set to one after the pause.
    pub fn resumed(&mut self, pause: Duration) {
        self.broker.resumed(pause);
        for session in self.sessions.iter_mut().flatten() {
            session.resumed(pause);
        }
    }

    /// A new connection before its handshake; returns its index, which is not used again.
    pub fn accept(&mut self) -> usize {
        let session = self.broker.accept(self.now, &mut self.effects);
        self.ids.push(session.id());
        self.sessions.push(Some(session));
        self.sessions.len().saturating_sub(1)
    }

    /// The broker's end of a connection, until it is detached.
    pub fn session(&mut self, connection: usize) -> Option<&mut Session> {
        self.sessions.get_mut(connection)?.as_mut()
    }

    /// The connection reads up to `limit` bytes from the front of `bytes`, as many as it accepts; returns how many.
    pub fn read(&mut self, connection: usize, bytes: &mut impl Buf, limit: usize) -> usize {
        let now = self.now;
        let Some(session) = self.session(connection) else { return 0 };
        let count = session.read_limit().min(limit).min(bytes.remaining());
        let mut taken = bytes.take(count);
        while taken.has_remaining() {
            // A `put` would replace the buffer, so that later reads allocate.
            session.inbound().extend_from_slice(taken.chunk());
            taken.advance(taken.chunk().len());
        }
        if count > 0 {
            session.handle_read(now);
        }
        count
    }

    /// The connection handles its deadline, if one is due; returns whether one was.
    pub fn time_out(&mut self, connection: usize) -> bool {
        let now = self.now;
        let Some(session) = self.session(connection) else { return false };
        let is_due = session.next_timeout().is_some_and(|at| at <= now);
        if is_due {
            session.handle_timeout(now);
        }
        is_due
    }

    /// The connection exchanges with the broker.
    pub fn exchange(&mut self, connection: usize) -> Turn {
        let Some(session) = self.sessions.get_mut(connection).and_then(Option::as_mut) else {
            return Turn::Done;
        };
        let turn = session.exchange(self.now, &mut self.broker, &mut self.effects);
        if self.is_thorough {
            self.verify();
        }
        turn
    }

    /// The connection writes up to `limit` bytes.
    pub fn write(&mut self, connection: usize, limit: usize) -> Bytes {
        let Some(session) = self.session(connection) else { return Bytes::new() };
        let count = session.outbound().remaining().min(limit);
        session.outbound().copy_to_bytes(count)
    }

    /// Drops the connection, as an adapter does after its end or after a cut.
    pub fn detach(&mut self, connection: usize) {
        if let Some(session) = self.sessions.get_mut(connection).and_then(Option::take) {
            self.broker.detach(self.now, session.id(), &mut self.effects);
            if self.is_thorough {
                self.verify();
            }
        }
    }

    /// The broker verifies itself.
    ///
    /// # Panics
    /// If it contradicts itself.
    pub fn verify(&self) {
        if let Err(error) = self.broker.verify() {
            panic!("the broker contradicts itself: {error}");
        }
    }

    /// Housekeeping, once.
    pub fn housekeep(&mut self) -> Turn {
        let turn = self.broker.handle_timeout(self.now, &mut self.effects);
        if self.is_thorough {
            self.verify();
        }
        self.armed = self.broker.next_timeout();
        let is_due = self.armed.is_some_and(|at| at <= self.now);
        assert!(turn == Turn::More || !is_due, "housekeeping reports whether work remains");
        turn
    }

    /// When housekeeping runs next; only the broker's effects set it.
    #[must_use]
    pub const fn armed(&self) -> Option<Timestamp> {
        self.armed
    }

    /// Moves the time of the next housekeeping if the broker asks for that; returns whether it did.
    pub fn rearm(&mut self) -> bool {
        let is_asked = self.effects.take_rearm();
        if is_asked {
            self.armed = self.broker.next_timeout();
        }
        is_asked
    }

    /// Whether housekeeping runs no later than the broker needs it.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        let next = self.broker.next_timeout();
        next.is_none_or(|next| self.armed.is_some_and(|armed| armed <= next))
    }

    /// The next connection that the broker wakes.
    pub fn pop_wake(&mut self) -> Option<usize> {
        while let Some(id) = self.effects.pop_wake() {
            let place = self.ids.binary_search(&id).expect("a connection of this broker");
            let index = self.first.saturating_add(place);
            // Another one may have ended meanwhile.
            if self.session(index).is_some() {
                return Some(index);
            }
        }
        None
    }

    /// The connection exchanges, and its peer reads all of the output, until neither can do more; then every connection
    /// that was woken does the same. `read` gets each output and takes all of it.
    pub fn settle(&mut self, connection: usize, mut read: impl FnMut(usize, &mut Outbound)) {
        self.run(connection, &mut read);
        self.wake(read);
    }

    /// Every connection that was woken exchanges, and its peer reads, as in [`settle`](Self::settle).
    pub fn wake(&mut self, mut read: impl FnMut(usize, &mut Outbound)) {
        self.rearm();
        while let Some(woken) = self.pop_wake() {
            self.run(woken, &mut read);
        }
    }

    fn run(&mut self, connection: usize, read: &mut impl FnMut(usize, &mut Outbound)) {
        for _ in 0..MAX_TURNS {
            let turn = self.exchange(connection);
            let Some(session) = self.session(connection) else { return };
            let outbound = session.outbound();
            if outbound.has_remaining() {
                read(connection, outbound);
            } else if turn == Turn::Done {
                return;
            }
        }
        panic!("the exchange does not end");
    }

    /// A new connection whose handshake is done.
    pub fn connect(&mut self) -> usize {
        let index = self.accept();
        self.send(index, &requests(|client| client.hello(b"")));
        index
    }

    /// Creates a topic.
    pub fn create(&mut self, connection: usize, topic: &str, options: TopicOptions) {
        self.send(connection, &requests(|client| client.create(topic, options)));
    }

    /// Subscribes to the latest records under number 1.
    pub fn subscribe(&mut self, connection: usize, topic: &str, window: u32) {
        let sub = Sub::new(1, topic).from(zaichik_proto::Start::Latest).window(window);
        self.send(connection, &requests(|client| client.subscribe_to(sub)));
    }

    /// Bytes arrive and take effect, woken connections have their turn, and every peer reads its output.
    pub fn send(&mut self, connection: usize, mut bytes: &[u8]) {
        loop {
            let count = self.read(connection, &mut bytes, usize::MAX);
            self.settle(connection, |_, outbound| outbound.advance(outbound.remaining()));
            if bytes.is_empty() {
                return;
            }
            assert_ne!(count, 0, "the connection does not read");
        }
    }

    /// The connection is idle, and gives back its spare memory.
    pub fn shrink(&mut self, connection: usize) {
        if let Some(session) = self.session(connection) {
            session.shrink();
        }
        while self.exchange(connection) == Turn::More {}
    }

    /// Bytes arrive and take effect, and the peer reads none of its output.
    pub fn send_unread(&mut self, connection: usize, mut bytes: &[u8]) {
        self.read(connection, &mut bytes, usize::MAX);
        while self.exchange(connection) == Turn::More {}
        self.session(connection).expect("a connection").shrink();
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes of a raw client's requests, of which the first has the id 1.
#[must_use]
pub fn requests<T>(make: impl FnOnce(&RawClient) -> T) -> BytesMut {
    let client = RawClient::new();
    make(&client);
    client.take_queued()
}

/// A Publish of `count` records of 128 bytes, all with this key or without one.
#[must_use]
pub fn publish_equal(topic: &str, ack: AckLevel, count: u32, key: Option<&[u8]>) -> BytesMut {
    let record = Record { key, body: &BODY, ..Record::default() };
    requests(|client| client.publish_with(topic, ack, &vec![record; count as usize]))
}

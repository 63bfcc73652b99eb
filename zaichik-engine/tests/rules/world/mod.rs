//! A broker, its connections and the time in one thread, for tests of the rules.
//!
//! Peers exchange bytes with real sessions. After every call the broker verifies itself, and once the world has
//! settled, no session may have work left.

mod dice;
mod peer;
mod pipe;
mod remote;
mod stir;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Buf;
use zaichik_engine::{
    Broker, BrokerConfig, CloseReason, Effects, Note, Seed, Session, SessionId, Status, Timestamp, Turn,
};
use zaichik_proto::TopicOptions;

pub(crate) use zaichik_testkit::{Op, Sub, done, keyed, mortal, put, put_all, record};

pub(crate) use self::dice::Dice;
pub(crate) use self::peer::Peer;
use self::pipe::{Flow, Pipe};
use self::remote::Remote;
pub(crate) use self::remote::RemoteId;

/// Steps after which a world that should settle counts as never settling.
const MAX_STEPS: usize = 200_000;

/// The broker's instance in these tests.
pub(crate) const INSTANCE: u128 = 0x5eed;

/// Keys the broker's hashes in these tests.
const HASH_KEY: u128 = 7;

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    effects: Effects,
    now: Timestamp,
    ends: Vec<End>,
    remotes: Vec<Remote>,
    by_id: BTreeMap<SessionId, usize>,
    /// When housekeeping runs next; only the broker's own effects set it.
    armed: Option<Timestamp>,
    /// Whether housekeeping runs when it is due.
    keeps_house: bool,
    /// Whether the broker verifies itself after every call, or only once the world has settled.
    is_thorough: bool,
}

/// The broker's end of a connection.
struct End {
    session: Option<Session>,
    pipe: Rc<RefCell<Pipe>>,
    /// Something happened since the last exchange.
    is_due: bool,
    knows_eof: bool,
    reason: Option<CloseReason>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A world with a changed broker configuration.
    pub(crate) fn with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let mut config = BrokerConfig::default();
        // Weeks, so that silent peers may live as long as a test needs them.
        config.wire.heartbeat_millis = u32::MAX;
        change(&mut config);
        Self {
            broker: Broker::new(config, Seed::new(INSTANCE, HASH_KEY)).unwrap(),
            effects: Effects::new(),
            // Not zero, so that clocks can move backwards.
            now: Timestamp::from_micros(1_000_000_000),
            ends: Vec::new(),
            remotes: Vec::new(),
            by_id: BTreeMap::new(),
            armed: None,
            keeps_house: true,
            is_thorough: true,
        }
    }

    /// For worlds that are too large to verify after every call.
    pub(crate) fn checked_at_rest(mut self) -> Self {
        self.is_thorough = false;
        self
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// A connection whose handshake is done.
    pub(crate) fn connect(&mut self) -> Peer {
        let peer = self.dial();
        peer.hello(b"");
        self.settle();
        assert_eq!(peer.control(), ["welcome"]);
        peer
    }

    /// The topic "t" with these settings, and a connection.
    pub(crate) fn topic(&mut self, options: TopicOptions) -> Peer {
        let peer = self.connect();
        assert_eq!(self.ask(&peer, peer.create("t", options)), "created");
        peer
    }

    /// Publishes to the topic "t", which accepts it.
    pub(crate) fn publish(&mut self, peer: &Peer, bodies: &[&str]) {
        for body in bodies {
            let answer = self.ask(peer, peer.publish("t", body));
            assert!(answer.starts_with('@'), "{answer}");
        }
    }

    /// Everything that a new subscription to the topic "t" receives.
    pub(crate) fn everything(&mut self) -> Vec<String> {
        let new_reader = self.connect();
        self.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, "t").window(0)));
        let stream = new_reader.stream();
        new_reader.close();
        self.settle();
        stream
    }

    /// A connection before its handshake.
    pub(crate) fn dial(&mut self) -> Peer {
        Peer::new(self.open())
    }

    /// A new byte stream to the broker.
    fn open(&mut self) -> Rc<RefCell<Pipe>> {
        let session = self.broker.accept(self.now, &mut self.effects);
        let pipe = Rc::new(RefCell::new(Pipe::new(self.ends.len())));
        self.by_id.insert(session.id(), self.ends.len());
        let session = Some(session);
        self.ends.push(End { session, pipe: Rc::clone(&pipe), is_due: true, knows_eof: false, reason: None });
        self.collect(false);
        pipe
    }

    /// The answer to a request once the world has settled; "-" if there is none.
    pub(crate) fn ask(&mut self, peer: &Peer, request: u32) -> String {
        self.settle();
        peer.answer(request)
    }

    /// Does everything that is possible now once: reads, deadlines, exchanges, writes. Returns whether anything
    /// happened.
    pub(crate) fn step(&mut self) -> bool {
        let mut moved = self.keep_house();
        for index in 0..self.ends.len() {
            moved |= self.step_end(index);
        }
        for index in 0..self.remotes.len() {
            moved |= self.step_remote(index);
        }
        moved
    }

    /// Steps until the world has settled.
    pub(crate) fn settle(&mut self) {
        self.run();
        self.assert_no_session_is_stranded();
        self.verify();
    }

    /// Advances the time, and handles every deadline exactly on time.
    pub(crate) fn advance(&mut self, by: Duration) {
        let target = self.now + by;
        self.settle();
        for _ in 0..MAX_STEPS {
            let Some(next) = self.next_timeout().filter(|next| *next <= target) else {
                self.now = self.now.max(target);
                self.settle();
                return;
            };
            assert!(next > self.now, "the deadline {next:?} was handled and is set again");
            self.now = next;
            self.settle();
        }
        panic!("deadlines never end");
    }

    /// Advances the time while no connection does anything: only due housekeeping runs.
    pub(crate) fn sleep(&mut self, by: Duration) {
        let target = self.now + by;
        for _ in 0..MAX_STEPS {
            let Some(next) = self.armed.filter(|next| *next <= target) else {
                self.now = target;
                return;
            };
            self.now = self.now.max(next);
            self.keep_house();
        }
        panic!("housekeeping never ends");
    }

    /// Sets the clock, forward or back, without handling deadlines.
    pub(crate) fn jump(&mut self, to: Timestamp) {
        self.now = to;
    }

    /// The broker does not run for a while, and is told so.
    pub(crate) fn suspend(&mut self, pause: Duration) {
        self.now = self.now + pause;
        self.broker.resumed(pause);
        for end in &mut self.ends {
            if let Some(session) = &mut end.session {
                session.resumed(pause);
            }
        }
        self.collect(false);
    }

    /// Housekeeping is late from now on: it never runs again.
    pub(crate) const fn stop_housekeeping(&mut self) {
        self.keeps_house = false;
    }

    /// The next deadline of the broker, its sessions and its clients.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        let sessions = self.ends.iter().filter_map(|end| end.session.as_ref()?.next_timeout());
        sessions.chain(self.armed).chain(self.remote_timeouts()).min()
    }

    /// The broker's end of a peer's connection, while there is one.
    pub(crate) fn session(&mut self, peer: &Peer) -> Option<&mut Session> {
        self.ends[peer.index()].session.as_mut()
    }

    pub(crate) fn status(&mut self, peer: &Peer) -> Status {
        self.session(peer).map_or(Status::Closed, |session| session.status())
    }

    /// Why a peer's connection ended.
    pub(crate) fn reason(&self, peer: &Peer) -> Option<CloseReason> {
        let end = &self.ends[peer.index()];
        end.reason.or_else(|| end.session.as_ref()?.close_reason())
    }

    pub(crate) fn drain(&mut self, grace: Duration) {
        self.broker.drain(self.now, grace, &mut self.effects);
        self.collect(false);
    }

    /// Drops a connection as an adapter does.
    pub(crate) fn detach(&mut self, id: SessionId) {
        self.broker.detach(self.now, id, &mut self.effects);
        self.collect(false);
    }

    /// The notes for a log since the last call; the first call asks for them.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        let notes = std::iter::from_fn(|| self.effects.pop_note()).collect();
        self.effects.set_notes(true);
        notes
    }

    fn run(&mut self) {
        for _ in 0..MAX_STEPS {
            if !self.step() {
                return;
            }
        }
        panic!("the world never settles");
    }

    fn keep_house(&mut self) -> bool {
        if !self.keeps_house || self.armed.is_none_or(|at| at > self.now) {
            return false;
        }
        let turn = self.broker.handle_timeout(self.now, &mut self.effects);
        self.armed = self.broker.next_timeout();
        let is_due = self.armed.is_some_and(|at| at <= self.now);
        assert_eq!(turn == Turn::More, is_due, "housekeeping reports whether work remains");
        self.collect(false);
        true
    }

    fn step_end(&mut self, index: usize) -> bool {
        let (now, end) = (self.now, &mut self.ends[index]);
        let Some(session) = &mut end.session else {
            return false;
        };
        let pipe = Rc::clone(&end.pipe);
        let mut pipe = pipe.borrow_mut();
        pipe.fill();
        if pipe.flow == Flow::Cut {
            let id = session.id();
            end.session = None;
            pipe.is_closed = true;
            self.broker.detach(now, id, &mut self.effects);
            self.collect(false);
            return true;
        }
        let mut moved = false;
        let count = session.read_limit().min(pipe.read_at_once).min(pipe.to_broker.len());
        if count > 0 {
            session.inbound().extend_from_slice(&pipe.to_broker.split_to(count));
            session.handle_read(now);
            (end.is_due, moved) = (true, true);
        } else if pipe.flow == Flow::Finished
            && !end.knows_eof
            && pipe.to_broker.is_empty()
            && session.wants_read()
        {
            end.knows_eof = true;
            session.handle_eof(now);
            (end.is_due, moved) = (true, true);
        }
        if session.next_timeout().is_some_and(|at| at <= now) {
            session.handle_timeout(now);
            (end.is_due, moved) = (true, true);
        }
        let mut more = false;
        if end.is_due {
            more = session.exchange(now, &mut self.broker, &mut self.effects) == Turn::More;
            (end.is_due, moved) = (more, true);
        }
        let outbound = session.outbound();
        if pipe.is_reading && outbound.has_remaining() {
            let count = outbound.remaining().min(pipe.write_at_once);
            pipe.from_broker.extend_from_slice(&outbound.copy_to_bytes(count));
            (end.is_due, moved) = (true, true);
        }
        if session.status().is_closed() {
            (end.reason, pipe.is_closed) = (session.close_reason(), true);
            let id = session.id();
            end.session = None;
            self.broker.detach(now, id, &mut self.effects);
            moved = true;
        }
        if moved {
            self.collect(more);
        }
        moved
    }

    /// Takes everything out of the effects, and verifies the broker.
    fn collect(&mut self, more: bool) {
        while let Some(id) = self.effects.pop_wake() {
            if let Some(end) = self.by_id.get(&id).map(|index| &mut self.ends[*index]) {
                end.is_due = true;
            }
        }
        let next = self.broker.next_timeout();
        if self.effects.take_rearm() {
            self.armed = next;
        }
        let is_armed = next.is_none_or(|next| self.armed.is_some_and(|armed| armed <= next));
        assert!(is_armed || more, "the deadline moved to {next:?} without a rearm: {:?}", self.armed);
        if self.is_thorough {
            self.verify();
        }
    }

    fn verify(&self) {
        if let Err(error) = self.broker.verify() {
            panic!("the broker contradicts itself: {error}");
        }
    }

    /// Once settled, another exchange changes nothing; otherwise a session was not woken.
    fn assert_no_session_is_stranded(&mut self) {
        for (index, end) in self.ends.iter_mut().enumerate() {
            let Some(session) = &mut end.session else {
                continue;
            };
            let state = |session: &mut Session| {
                let status = session.status();
                (session.outbound().stream_len(), session.outbound().control_len(), status)
            };
            let before = state(session);
            let turn = session.exchange(self.now, &mut self.broker, &mut self.effects);
            assert_eq!(before, state(session), "session {index} was stranded");
            assert_eq!(turn, Turn::Done, "session {index} was stranded");
        }
        assert_eq!(self.effects.pop_wake(), None, "a session was stranded");
        self.collect(false);
    }
}

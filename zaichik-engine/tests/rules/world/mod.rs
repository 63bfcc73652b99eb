//! A broker, its connections and the time in one thread, for tests of the rules.
//!
//! Peers exchange bytes with real sessions. After every call the broker verifies itself, and once the world has
//! settled, no session may have work left.

mod dice;
mod peer;
mod pipe;
mod recover;
mod remote;
mod stir;
mod store;
mod turns;

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use bytes::Buf;
use zaichik_engine::{
    BrokerConfig, CloseReason, Declared, Note, Seed, Session, SessionId, Status, Timestamp,
};
use zaichik_proto::{ClientFrame, HEADER_LEN, Refusal, TopicOptions, Version};
use zaichik_testkit::{Connections, Rows};

pub(crate) use zaichik_testkit::{Member, Op, PatternSub, Sub, done, keyed, mortal, put, put_all, record};

pub(crate) use self::dice::Dice;
pub(crate) use self::peer::Peer;
use self::pipe::Pipe;
pub(crate) use self::recover::{encoded, head};
use self::remote::Remote;
pub(crate) use self::remote::RemoteId;
use self::turns::MAX_STEPS;

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
    connections: Connections,
    /// By the connection's index.
    ends: Vec<End>,
    remotes: Vec<Remote>,
    /// Whether housekeeping runs when it is due.
    keeps_house: bool,
    /// The most steps that one call of the broker took (rule S14).
    pub(crate) most_steps: u64,
    /// What its store has, if it has one.
    pub(crate) stored: Option<Rows>,
    /// Whether the store finishes each commit at once.
    pub(crate) stores_at_once: bool,
}

/// The broker's end of a connection.
struct End {
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
        // Not zero, so that clocks can move backwards.
        let now = Timestamp::from_micros(1_000_000_000);
        let mut connections = Connections::with(config, Seed::new(INSTANCE, HASH_KEY), now);
        connections.is_thorough = true;
        let mut world = Self {
            connections,
            ends: Vec::new(),
            remotes: Vec::new(),
            keeps_house: true,
            most_steps: 0,
            stored: None,
            stores_at_once: true,
        };
        // Every rule holds with a store as well.
        if std::env::var_os("STORED").is_some() {
            world.begin_storing();
        }
        world
    }

    /// A broker with this much memory for everything but connections; at least 2 MiB. Frames have at most 404,096 bytes.
    pub(crate) fn with_memory(for_records: u64, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::with(|config| {
            (config.wire.max_message, config.wire.max_frame) = (400_000, 404_096);
            config.memory = for_records / 3 * 4;
            config.memory = config.memory.max(for_records + config.min_memory() / 2);
            change(config);
        })
    }

    /// The memory used for everything but connections.
    pub(crate) fn memory_of_records(&self) -> u64 {
        let ledger = self.broker.ledger();
        ledger.total() - ledger.sessions
    }

    /// For worlds that are too large to verify after every call.
    pub(crate) fn checked_at_rest(mut self) -> Self {
        self.is_thorough = false;
        self
    }

    /// A connection of version 1 whose handshake is done.
    pub(crate) fn connect(&mut self) -> Peer {
        self.connect_as(Version::One)
    }

    /// A connection whose handshake is done.
    pub(crate) fn connect_as(&mut self, version: Version) -> Peer {
        let peer = self.dial();
        peer.hello_as(version, b"");
        self.settle();
        assert_eq!(peer.control(), ["welcome"]);
        peer
    }

    /// Lets a connection have room for as many bytes as one may have that sends much (rule S15), and clears its log.
    pub(crate) fn warm(&mut self, peer: &Peer) {
        peer.split_reads(usize::MAX);
        for _ in 0..20_000 {
            peer.send(&ClientFrame::Pong { nonce: 0 });
        }
        self.settle();
        peer.log();
        peer.frames();
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
        let pipe = Rc::new(RefCell::new(Pipe::new(self.accept())));
        self.ends.push(End { pipe: Rc::clone(&pipe), is_due: true, knows_eof: false, reason: None });
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
            let Some(next) = self.armed().filter(|next| *next <= target) else {
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

    /// The broker does not run for a while, which is reported to it and to its sessions.
    pub(crate) fn suspend(&mut self, pause: Duration) {
        self.now = self.now + pause;
        self.broker.resumed(pause);
        for index in 0..self.ends.len() {
            if let Some(session) = self.connections.session(index) {
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
    pub(crate) fn next_timeout(&mut self) -> Option<Timestamp> {
        let connections = &mut self.connections;
        let sessions =
            (0..self.ends.len()).filter_map(|index| connections.session(index)?.next_timeout()).min();
        let commit = if self.stores_at_once { self.connections.broker.next_commit() } else { None };
        let rest = self.connections.armed().into_iter().chain(self.remote_timeouts()).chain(commit);
        sessions.into_iter().chain(rest).min()
    }

    /// The broker's end of a peer's connection, while there is one.
    pub(crate) fn session(&mut self, peer: &Peer) -> Option<&mut Session> {
        self.connections.session(peer.index())
    }

    pub(crate) fn status(&mut self, peer: &Peer) -> Status {
        self.session(peer).map_or(Status::Closed, |session| session.status())
    }

    /// Why a peer's connection ended.
    pub(crate) fn reason(&mut self, peer: &Peer) -> Option<CloseReason> {
        self.ends[peer.index()].reason.or_else(|| self.session(peer)?.close_reason())
    }

    pub(crate) fn drain(&mut self, grace: Duration) {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        broker.drain(*now, grace, effects);
        self.collect(false);
    }

    /// The program around the broker declares a topic.
    pub(crate) fn declare(
        &mut self,
        name: &str,
        options: &TopicOptions,
        alter: bool,
    ) -> Result<Declared, Refusal> {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        let declared = broker.declare_topic(*now, name, options, alter, effects);
        self.collect(false);
        self.settle();
        declared
    }

    /// Drops a connection as an adapter does.
    pub(crate) fn detach(&mut self, id: SessionId) {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        broker.detach(*now, id, effects);
        self.collect(false);
    }

    /// A peer that stopped reading reads one frame.
    pub(crate) fn read_frame(&mut self, peer: &Peer) {
        let index = peer.index();
        let Some(session) = self.connections.session(index) else {
            return;
        };
        let header = session.outbound().chunk().first_chunk().copied().map(u32::from_le_bytes);
        let len = header.map_or(0, |body_len| body_len as usize + HEADER_LEN);
        peer.receive(&mut self.write(index, len).into());
        self.ends[index].is_due = true;
    }

    /// The notes for a log since the last call; the first call asks for them.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        let notes = std::iter::from_fn(|| self.effects.pop_note()).collect();
        self.effects.set_notes(true);
        notes
    }
}

/// The broker, the time, and single steps.
impl Deref for World {
    type Target = Connections;

    fn deref(&self) -> &Connections {
        &self.connections
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Connections {
        &mut self.connections
    }
}

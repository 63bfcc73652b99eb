//! The broker, the network, the clients and the time, driven event by event.

mod between;
mod clients;
mod counts;
mod deadlines;
mod faults;
mod heal;
mod journal;
mod left;
mod link;
mod observer;
mod pairs;
mod pauses;
mod serve;
mod silence;
mod space;
mod stopping;
mod store;
mod storing;
mod syncing;
mod syncs;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use zaichik_engine::{Session, Timestamp};
use zaichik_testkit::Connections;

pub use self::counts::Counts;
use self::link::Link;
use self::pauses::Pauses;
use self::silence::Silence;
use self::store::Storing;
use super::SECOND;
use super::app::{App, at};
use super::check::{Broken, Checker, Verdict};
use super::plan::{Plan, Role};
use super::planted::Saboteur;
use super::random::{Concern, Rng, Trail, mix};
use super::raw::Raw;
use super::trace;

/// Time at which a run begins; not zero, so that clocks can move backwards.
const BEGINNING: u64 = 1_000 * SECOND;

/// Maximum bytes that a connection or client reads in one turn.
const READ_AT_ONCE: usize = 16 << 10;

/// The actor of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Actor {
    House,
    Link(u64),
    Client(usize),
    /// A fault of a client or its connection.
    Fault(usize),
    Clock,
    Restart,
    Pause,
    Store,
}

/// When an actor acts.
struct Turn {
    /// The next time, if it wants to.
    wanted: Option<u64>,
    /// The time that it wanted last, and how often it had wanted that before, to break ties.
    last: (u64, u64),
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) checker: Checker,
    /// Stands between the broker and everything else, if a defect is planted.
    pub(crate) saboteur: Option<Saboteur>,
    connections: Connections,
    pub(crate) now: u64,
    /// How far the broker's clock is ahead.
    shift: i64,
    queue: BinaryHeap<Reverse<(u64, u64, Actor)>>,
    /// When the actors act.
    turns: BTreeMap<Actor, Turn>,
    links: BTreeMap<u64, Link>,
    /// The link of each of the broker's connections.
    link_of: BTreeMap<usize, u64>,
    clients: Vec<Client>,
    clock: Rng,
    lateness: Rng,
    pauses: Pauses,
    /// The store of the broker, if it has one.
    storing: Option<Box<Storing>>,
    instance: u64,
    /// Number of connections of the observer.
    observers: u64,
    pub(crate) is_healing: bool,
    pub(crate) counts: Counts,
}

/// A client with at most one connection.
struct Client {
    peer: Peer,
    link: Option<u64>,
    /// Number of connections it had.
    connections: u64,
    faults: Rng,
    /// A raw peer does not reconnect before this time.
    again_at: u64,
    /// It does not run before this time.
    stopped_until: u64,
    /// Its broker's silence.
    silence: Silence,
    /// Hash of what the broker sent it, and when: to compare twins.
    received: Received,
}

/// A hash of bytes and of their arrival times; how they were split does not matter.
struct Received {
    trail: Trail,
    at: u64,
}

impl Received {
    fn add(&mut self, now: u64, bytes: &[u8]) {
        if self.at != now {
            self.at = now;
            self.trail.number(now);
        }
        for byte in bytes {
            self.trail.number(u64::from(*byte));
        }
    }
}

enum Peer {
    App(Box<App>),
    Raw(Box<Raw>),
    Gone,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let (config, seed) = (plan.broker(), plan.seed_of_broker(0));
        let mut checker = Checker::new(&config, seed.instance);
        let mut connections = Connections::with(config, seed, at(BEGINNING));
        let storing = plan.storage.map(|storage| {
            checker.stores();
            connections.broker.begin_storing();
            Box::new(Storing::new(plan.seed, &storage, &checker))
        });
        let roles = plan.roles.clone();
        let mut clients: Vec<_> =
            roles.iter().enumerate().map(|(index, role)| Client::new(&plan, index, role)).collect();
        for index in &plan.absent {
            if let Some(client) = clients.get_mut(*index) {
                client.peer = Peer::Gone;
            }
        }
        let mut world = Self {
            checker,
            saboteur: None,
            connections,
            now: BEGINNING,
            shift: 0,
            queue: BinaryHeap::new(),
            turns: BTreeMap::new(),
            links: BTreeMap::new(),
            link_of: BTreeMap::new(),
            clients,
            clock: Rng::new(plan.seed, Concern::Clock, 0),
            lateness: Rng::new(plan.seed, Concern::Clock, 1),
            pauses: Pauses::new(plan.seed),
            storing,
            instance: 0,
            observers: 0,
            is_healing: false,
            counts: Counts::default(),
            plan,
        };
        for index in 0..world.clients.len() {
            let mut rng = Rng::new(world.plan.seed, Concern::Fault, 1_000 + index as u64);
            world.want(Actor::Client(index), BEGINNING + rng.below(SECOND));
            world.want_fault(index);
        }
        world.want_clock();
        world.want_pause();
        world.want_restart();
        if world.storing.is_some() {
            world.want(Actor::Store, BEGINNING);
        }
        world
    }

    /// The first phase: faults happen.
    pub(crate) fn run(&mut self) -> Verdict {
        self.create_topics()?;
        for _ in 0..self.plan.events {
            if !self.event()? {
                break;
            }
        }
        Ok(())
    }

    /// Runs the first phase for a time; returns whether that took at most `events` events.
    pub(crate) fn run_for(&mut self, time: u64, events: usize) -> Result<bool, Broken> {
        self.create_topics()?;
        for _ in 0..events {
            match self.queue.peek() {
                Some(Reverse((at, ..))) if *at <= BEGINNING + time => self.event()?,
                _ => return Ok(true),
            };
        }
        Ok(false)
    }

    /// Runs until a time, or until there are no events.
    pub(crate) fn run_until(&mut self, end: u64) -> Verdict {
        // More than any run without faults needs: beyond that something loops.
        for _ in 0..2_000_000 {
            match self.queue.peek() {
                Some(Reverse((at, ..))) if *at <= end => {
                    self.event()?;
                }
                _ => {
                    self.now = self.now.max(end);
                    return Ok(());
                }
            }
        }
        Broken::because("I16", format!("events do not end; at {} of {end}", self.now))
    }

    /// Handles one event; returns whether there was one.
    fn event(&mut self) -> Result<bool, Broken> {
        let Some(Reverse((time, _, actor))) = self.queue.pop() else {
            return Ok(false);
        };
        match self.turns.get_mut(&actor) {
            Some(turn) if turn.wanted == Some(time) => turn.wanted = None,
            _ => return Ok(true),
        }
        self.now = self.now.max(time);
        self.resume_broker();
        if let Some(until) = self.stopped_until(actor) {
            self.want(actor, until);
            return Ok(true);
        }
        self.counts.events += 1;
        match actor {
            Actor::House => self.housekeep(),
            Actor::Link(link) => self.serve(link),
            Actor::Client(client) => self.client(client),
            Actor::Fault(client) => {
                self.fault(client);
                Ok(())
            }
            Actor::Clock => {
                self.step_clock();
                Ok(())
            }
            Actor::Restart => self.restart(),
            Actor::Pause => {
                self.pause();
                Ok(())
            }
            Actor::Store => self.store(),
        }?;
        self.end_if_failed()?;
        self.check(self.counts.events.is_multiple_of(256))?;
        Ok(true)
    }

    /// The broker's end of a connection, while there is one.
    fn session(&mut self, link: u64) -> Option<&mut Session> {
        self.connections.session(self.links.get(&link)?.session?)
    }

    /// The deadline that the broker last announced, in the broker's time.
    fn armed(&self) -> Option<u64> {
        self.connections.armed().map(Timestamp::as_micros)
    }

    /// Sets the broker's clock, and returns what it shows.
    fn tick(&mut self) -> u64 {
        let broker_now = self.broker_now();
        self.connections.now = at(broker_now);
        self.pauses.tick(broker_now);
        broker_now
    }

    fn broker_now(&self) -> u64 {
        self.now.saturating_add_signed(self.shift).saturating_sub(self.behind())
    }

    /// How far a planted defect makes the broker's clock lag behind.
    fn behind(&self) -> u64 {
        self.saboteur.as_ref().map_or(0, Saboteur::behind)
    }

    /// The simulated time at which the broker's clock shows a time.
    fn world_time(&self, broker_now: u64) -> u64 {
        broker_now.saturating_add(self.behind()).saturating_add_signed(-self.shift)
    }

    fn want(&mut self, actor: Actor, time: u64) {
        if time == u64::MAX {
            return;
        }
        let grain = self.plan.grain;
        let time = time.max(self.now).next_multiple_of(grain);
        let Turn { wanted, last: turn } =
            self.turns.entry(actor).or_insert(Turn { wanted: None, last: (time, 0) });
        if wanted.is_some_and(|wanted| wanted <= time) {
            return;
        }
        *wanted = Some(time);
        // Only events at the same time count; for housekeeping, which all clients share, not even these. So one
        // client's actions do not reorder the events of another.
        *turn = if turn.0 == time && actor != Actor::House { (time, turn.1 + 1) } else { (time, 0) };
        let number = match actor {
            Actor::House => 1,
            Actor::Link(link) => mix(link) | 2,
            Actor::Client(client) => mix(client as u64) | 4,
            Actor::Fault(client) => mix(client as u64) | 8,
            Actor::Clock => 3,
            Actor::Restart => 5,
            Actor::Pause => 7,
            Actor::Store => 9,
        };
        let rank = mix(mix(self.plan.seed ^ time ^ (Concern::Order as u64) << 56) ^ number ^ (turn.1 << 40));
        self.queue.push(Reverse((time, rank, actor)));
    }
}

impl World {
    /// Hashes of what each client received, and when.
    pub(crate) fn received(&self) -> Vec<u64> {
        self.clients.iter().map(|client| client.received.trail.value()).collect()
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut trail = Trail::new();
        trail.number(trace::hash());
        for received in self.received() {
            trail.number(received);
        }
        let stats = format!("{:?} {:?}", self.connections.broker.stats(), self.connections.broker.ledger());
        trail.bytes(stats.as_bytes());
        trail.value()
    }

    pub(crate) const fn elapsed(&self) -> u64 {
        self.now - BEGINNING
    }
}

impl Client {
    fn new(plan: &Plan, index: usize, role: &Role) -> Self {
        let peer = match role {
            Role::Honest(work) => Peer::App(Box::new(App::new(plan, index, work, 0))),
            Role::Liar | Role::Attacker(_) => Peer::Raw(Box::new(Raw::new(plan, index, role))),
        };
        let faults = Rng::new(plan.seed, Concern::Fault, index as u64);
        Self {
            peer,
            link: None,
            connections: 0,
            faults,
            again_at: 0,
            stopped_until: 0,
            silence: Silence::default(),
            received: Received { trail: Trail::new(), at: 0 },
        }
    }
}

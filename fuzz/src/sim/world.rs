//! The broker, the network, the clients and the time: one event after the other.

mod clients;
mod faults;
mod heal;
mod link;
mod observer;
mod serve;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use zaichik_engine::{Broker, Effects, SessionId, Turn};

use self::link::Link;
use super::SECOND;
use super::app::App;
use super::check::{Broken, Checker, Verdict};
use super::plan::{Plan, Role};
use super::random::{Concern, Rng, Trail, mix};
use super::raw::Raw;
use super::trace;

/// When the world begins; not zero, so that clocks can go back.
const BEGINNING: u64 = 1_000 * SECOND;

/// Bytes that one turn of a connection or client reads.
const READ_AT_ONCE: usize = 16 << 10;

/// Who has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    House,
    Link(u64),
    Client(usize),
    /// Something happens to a client's connection.
    Fault(usize),
    Clock,
    Restart,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) checker: Checker,
    broker: Broker,
    effects: Effects,
    pub(crate) now: u64,
    /// What the broker is told is this much off.
    shift: i64,
    queue: BinaryHeap<Reverse<(u64, u64, Who)>>,
    /// The first moment at which each is to act.
    wanted: BTreeMap<Who, u64>,
    /// The latest moment that each was scheduled for, and how often, for ties.
    turns: BTreeMap<Who, (u64, u64)>,
    links: BTreeMap<u64, Link>,
    by_session: BTreeMap<SessionId, u64>,
    clients: Vec<Client>,
    /// When housekeeping was last told to come, in the broker's time.
    armed: Option<u64>,
    clock: Rng,
    lateness: Rng,
    instance: u64,
    /// Connections of the observer so far.
    speakers: u64,
    pub(crate) is_healing: bool,
    /// Whether everything that newcomers can get was read at the end.
    is_audited: bool,
    pub(crate) counts: Counts,
}

/// What happened how often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events handled.
    pub events: u64,
    /// Connections opened.
    pub connections: u64,
    /// Connections frozen.
    pub freezes: u64,
    /// Connections reset.
    pub resets: u64,
    /// Connections that fell silent.
    pub half_opens: u64,
    /// Clients that died.
    pub crashes: u64,
    /// Steps and jumps of the clock.
    pub clock_steps: u64,
    /// Brokers replaced.
    pub restarts: u64,
}

impl Counts {
    /// Adds another run's.
    pub const fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.connections += other.connections;
        self.freezes += other.freezes;
        self.resets += other.resets;
        self.half_opens += other.half_opens;
        self.crashes += other.crashes;
        self.clock_steps += other.clock_steps;
        self.restarts += other.restarts;
    }
}

/// Somebody with at most one connection.
struct Client {
    peer: Peer,
    link: Option<u64>,
    /// How many connections it had.
    connections: u64,
    faults: Rng,
    /// A raw peer does not connect before.
    again_at: u64,
    /// What the broker sent it, and when: for twins.
    heard: Heard,
}

/// A hash of bytes and of when they came; how they were cut does not count.
struct Heard {
    trail: Trail,
    at: u64,
}

impl Heard {
    fn hears(&mut self, now: u64, bytes: &[u8]) {
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
        let checker = Checker::new(&config, seed.instance);
        let broker = Broker::new(config, seed).expect("the plan's configuration is valid");
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
            broker,
            effects: Effects::new(),
            now: BEGINNING,
            shift: 0,
            queue: BinaryHeap::new(),
            wanted: BTreeMap::new(),
            turns: BTreeMap::new(),
            links: BTreeMap::new(),
            by_session: BTreeMap::new(),
            clients,
            armed: None,
            clock: Rng::new(plan.seed, Concern::Clock, 0),
            lateness: Rng::new(plan.seed, Concern::Clock, 1),
            instance: 0,
            speakers: 0,
            is_healing: false,
            is_audited: false,
            counts: Counts::default(),
            plan,
        };
        for index in 0..world.clients.len() {
            let mut rng = Rng::new(world.plan.seed, Concern::Fault, 1_000 + index as u64);
            world.want(Who::Client(index), BEGINNING + rng.below(SECOND));
            world.want_fault(index);
        }
        world.want_clock();
        if world.plan.faults.restart > 0 {
            let after = world.clock.between(1, world.plan.faults.restart * 2);
            world.want(Who::Restart, BEGINNING + after);
        }
        world
    }

    /// The first phase: everything may go wrong.
    pub(crate) fn run(&mut self) -> Verdict {
        self.create_topics()?;
        for _ in 0..self.plan.events {
            if !self.event()? {
                break;
            }
        }
        Ok(())
    }

    /// As much of the first phase as fits into a time; says whether that was done within a number of events.
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

    /// Events until a moment, or until there are none.
    pub(crate) fn run_until(&mut self, end: u64) -> Verdict {
        // More than any peaceful world needs: else somebody goes round in circles.
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
        Broken::because("I16", format!("the world does not come to rest; at {} of {end}", self.now))
    }

    /// One event; says whether there was one.
    fn event(&mut self) -> Result<bool, Broken> {
        let Some(Reverse((time, _, who))) = self.queue.pop() else {
            return Ok(false);
        };
        if self.wanted.get(&who) != Some(&time) {
            return Ok(true);
        }
        self.wanted.remove(&who);
        self.now = self.now.max(time);
        self.counts.events += 1;
        match who {
            Who::House => self.keep_house(),
            Who::Link(link) => self.serve(link),
            Who::Client(client) => self.client(client),
            Who::Fault(client) => {
                self.fault(client);
                Ok(())
            }
            Who::Clock => {
                self.step_clock();
                Ok(())
            }
            Who::Restart => {
                self.restart();
                Ok(())
            }
        }?;
        self.check(self.counts.events.is_multiple_of(256))?;
        Ok(true)
    }

    /// What must hold between any two events.
    fn check(&mut self, is_thorough: bool) -> Verdict {
        let ledger = self.broker.ledger();
        // A lane may exceed its limit by a frame, and a publish is charged when it is there.
        let frame = u64::from(self.plan.limits.max_message) * 2 + (128 << 10);
        let room = (self.links.len() as u64 + 2) * (frame + self.plan.limits.lane_bytes as u64 * 2);
        if ledger.total() > self.plan.limits.memory_budget + room {
            return Broken::because(
                "I10",
                format!("{ledger:?} is above the budget of {}", self.plan.limits.memory_budget),
            );
        }
        if !is_thorough {
            return Ok(());
        }
        if let Err(error) = self.broker.verify() {
            return Broken::because("I10", format!("the broker contradicts itself: {error}"));
        }
        let retained = self.checker.retained_bytes();
        if ledger.topics < retained {
            return Broken::because(
                "I10",
                format!("{} bytes are charged for topics, {retained} are live", ledger.topics),
            );
        }
        self.check_stranded()
    }

    /// I16: an exchange that nobody asked for changes nothing; else somebody was not woken.
    fn check_stranded(&mut self) -> Verdict {
        let told = self.told();
        if self.armed.is_some_and(|armed| armed <= told) {
            return Ok(());
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            if self.wanted.get(&Who::Link(link)).is_some_and(|at| *at <= self.now) {
                continue;
            }
            let Some(open) = self.links.get_mut(&link) else { continue };
            let Some(session) = &mut open.session else { continue };
            let before =
                (session.outbound().stream_len(), session.outbound().control_len(), session.status());
            let turn = self.exchange(link)?;
            let Some(session) = self.links.get_mut(&link).and_then(|open| open.session.as_mut()) else {
                continue;
            };
            let after = (session.outbound().stream_len(), session.outbound().control_len(), session.status());
            if before != after || turn == Turn::More {
                return Broken::because(
                    "I16",
                    format!("connection {link:#x} was not woken: {before:?}, {after:?}, {turn:?}"),
                );
            }
        }
        Ok(())
    }

    fn told(&self) -> u64 {
        self.now.saturating_add_signed(self.shift)
    }

    /// When the broker's clock shows a time.
    fn when(&self, told: u64) -> u64 {
        told.saturating_add_signed(-self.shift)
    }

    fn want(&mut self, who: Who, time: u64) {
        if time == u64::MAX {
            return;
        }
        let grain = self.plan.grain;
        let time = time.max(self.now).next_multiple_of(grain);
        if self.wanted.get(&who).is_some_and(|wanted| *wanted <= time) {
            return;
        }
        self.wanted.insert(who, time);
        let turn = self.turns.entry(who).or_insert((time, 0));
        // Only what happened at this moment counts, and for housekeeping, which is for everybody, not even that: so what
        // one client does moves no other one's events.
        *turn = if turn.0 == time && who != Who::House { (time, turn.1 + 1) } else { (time, 0) };
        let number = match who {
            Who::House => 1,
            Who::Link(link) => mix(link) | 2,
            Who::Client(client) => mix(client as u64) | 4,
            Who::Fault(client) => mix(client as u64) | 8,
            Who::Clock => 3,
            Who::Restart => 5,
        };
        let rank = mix(mix(self.plan.seed ^ time ^ (Concern::Order as u64) << 56) ^ number ^ (turn.1 << 40));
        self.queue.push(Reverse((time, rank, who)));
    }
}

impl World {
    /// What each client was sent, and when.
    pub(crate) fn heard(&self) -> Vec<u64> {
        self.clients.iter().map(|client| client.heard.trail.value()).collect()
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut trail = Trail::new();
        trail.number(trace::hash());
        for heard in self.heard() {
            trail.number(heard);
        }
        let stats = format!("{:?} {:?}", self.broker.stats(), self.broker.ledger());
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
            heard: Heard { trail: Trail::new(), at: 0 },
        }
    }
}

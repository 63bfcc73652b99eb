//! Everything that connections share: topics, subscriptions, producers, limits, and which sessions have work to do.
//!
//! [`Broker`] is a facade. Each part of it owns its state and rules and can be tested alone: the tables
//! ([`topics`], [`subscriptions`], [`sessions`], [`producers`]), their shared state ([`memory`], [`readiness`],
//! [`counters`]), and the operations over several of them, each of which names the parts that it needs ([`publishing`],
//! [`batching`], [`subscribing`], [`preparing`], [`delivery`], [`describing`], [`housekeeping`]).

mod answer_lists;
mod batching;
mod changes;
mod cold;
mod counters;
mod dead_letters;
mod deadlines;
mod declaring;
mod delivery;
mod describing;
mod describing_shared;
mod exchanging;
mod fast_path;
mod fetching;
mod housekeeping;
mod ledger;
mod members;
mod memory;
mod patterns;
mod preparing;
mod producers;
mod publishing;
mod readers;
mod readiness;
mod requests;
mod restore;
mod rows;
mod run;
mod sessions;
mod storing;
mod subscribing;
mod subscriptions;
mod topics;
mod turns;
mod verify;
mod wakes;

use core::time::Duration;
use std::sync::Arc;

use zaichik_proto::{Counter, CounterValue, Timestamp, micros};

use self::answer_lists::AnswerLists;
use self::batching::Batching;
pub(crate) use self::batching::{BatchAnswer, Batched};
use self::counters::{Counters, Gauges, bump};
pub use self::declaring::Declared;
pub(crate) use self::describing::Description;
pub(crate) use self::exchanging::{Admitted, Owes};
use self::housekeeping::{Agenda, Housekeeping, NextDeadlines};
pub use self::ledger::Ledger;
use self::memory::Memory;
pub(crate) use self::preparing::Prepared;
use self::preparing::Preparing;
use self::producers::Producers;
use self::publishing::Publishing;
pub(crate) use self::publishing::{Published, Rejection};
use self::readers::Readers;
use self::readiness::{Readiness, Waits};
pub use self::restore::Restore;
pub(crate) use self::run::PublishRun;
pub(crate) use self::sessions::ExchangeReport;
use self::sessions::Sessions;
use self::storing::Storing;
use self::subscribing::Subscribing;
pub(crate) use self::subscribing::{MAX_PIECES, Outcome};
use self::subscriptions::Subscriptions;
use self::topics::Topics;
pub use self::verify::Inconsistent;
use crate::config::{BrokerConfig, ConfigError, Seed};
use crate::effects::{Effects, Turn};
use crate::error::CloseReason;
use crate::id::SessionId;
use crate::session_config::SessionConfig;
use crate::stats::Stats;
use crate::steps::STEPS_PER_EXCHANGE;
use crate::store::Row;

/// A message broker as a state machine.
///
/// It has no socket, clock, thread or lock: every call receives the current time, and work for the caller is reported
/// in [`Effects`]. Connections interact with it through [`Session::exchange`](crate::Session::exchange). The same calls
/// with the same times give the same results, bit for bit.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp, Turn};
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
/// let mut effects = Effects::new();
/// let now = Timestamp::from_micros(0);
/// let mut session = broker.accept(now, &mut effects);
/// session.inbound().extend_from_slice(b"GET / HTTP/1.1\r\n");
/// session.handle_read(now);
/// assert_eq!(session.exchange(now, &mut broker, &mut effects), Turn::Done);
/// assert!(session.status().is_closed(), "not a Zaichik client");
/// # Ok::<(), zaichik_engine::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    session_config: Arc<SessionConfig>,
    /// The latest time of any call.
    now: Timestamp,
    /// The time of the first call.
    started: Timestamp,
    /// When the broker stops, if it is stopping.
    stops_at: Option<Timestamp>,
    topics: Topics,
    subscriptions: Subscriptions,
    sessions: Sessions,
    producers: Producers,
    memory: Memory,
    readiness: Readiness,
    counters: Counters,
    agenda: Agenda,
    answer: AnswerLists,
    batch: batching::Scratch,
    storing: Option<Box<Storing>>,
}

impl Broker {
    /// The most steps that one call takes, besides four for each record and operation of one Publish or Batch, and one for
    /// each part of a log that a limit or a lowered time to live passes (rule S14).
    pub const MAX_STEPS: u64 = 4 * STEPS_PER_EXCHANGE;

    /// A broker without topics or connections.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration contradicts itself.
    pub fn new(config: BrokerConfig, seed: Seed) -> Result<Self, ConfigError> {
        config.check()?;
        let (producers, mut memory) = (Producers::new(&config, seed), Memory::new(&config));
        memory.charge_producers(producers.footprint());
        let readiness = Readiness::new();
        memory.charge_tables(readiness.spare());
        Ok(Self {
            session_config: Arc::new(SessionConfig::new(&config, seed)),
            now: Timestamp::ZERO,
            started: Timestamp::ZERO,
            stops_at: None,
            topics: Topics::new(&config, seed),
            subscriptions: Subscriptions::new(&config, seed),
            sessions: Sessions::new(&config),
            producers,
            memory,
            readiness,
            counters: Counters::default(),
            agenda: Agenda::default(),
            answer: AnswerLists::default(),
            batch: batching::Scratch::default(),
            storing: None,
            config,
        })
    }

    /// Ends a connection: its subscriptions end, and the durable ones wait for another connection; if they are more than
    /// some hundreds, the rest of them in [`handle_timeout`](Self::handle_timeout) (rule S14). An unknown id, or that of a
    /// connection that has ended, has no effect.
    pub fn detach(&mut self, now: Timestamp, id: SessionId, effects: &mut Effects) {
        let now = self.tick(now);
        let _ = self.end_expired(now);
        if self.close_session(now, id, 0, CloseReason::PeerGone, effects) == Turn::More {
            self.sessions.leave(id);
            effects.rearm();
        } else if self.sessions.remove(id, &mut self.memory, &mut self.readiness).is_none() {
            return;
        }
        if self.release_waiting(effects) {
            effects.rearm();
        }
        self.notice_changes(effects);
        self.rearm(effects);
    }

    /// Begins to stop: every connection receives a Goodbye, publishes are refused, and connections that remain after
    /// `grace` are closed.
    pub fn drain(&mut self, now: Timestamp, grace: Duration, effects: &mut Effects) {
        let now = self.tick(now);
        self.stops_at = Some(now.plus_micros(micros(grace)));
        self.agenda.announce_stop();
        effects.rearm();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do if nothing else happens before; a time in the
    /// past means at once. O(1). May change with every call; [`Effects::take_rearm`] reports when it became earlier.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let released = self.readiness.first_waiting(Waits::ForRecords).is_some() && !self.memory.is_pressed();
        let is_leaving = self.sessions.first_leaving().is_some();
        let has_work = self.readiness.has_woken() || self.topics.has_new();
        if self.agenda.is_announcing_stop() || released || is_leaving || has_work {
            // At once, also if the caller's clock went back.
            return Some(Timestamp::ZERO);
        }
        self.next_deadlines().earliest()
    }

    /// Does what is due, in bounded steps. An early or repeated call changes nothing.
    pub fn handle_timeout(&mut self, now: Timestamp, effects: &mut Effects) -> Turn {
        let now = self.tick(now);
        if let Some(id) = self.sessions.first_leaving()
            && self.end_subscriptions(now, id, effects) == Turn::Done
        {
            self.sessions.remove(id, &mut self.memory, &mut self.readiness);
        }
        let _ = self.search_patterns(SessionId::NONE, effects);
        let Self {
            config,
            topics,
            subscriptions,
            memory,
            readiness,
            sessions,
            producers,
            agenda,
            counters,
            ..
        } = self;
        let readers = Readers { now, topics, subscriptions, memory, readiness };
        Housekeeping { readers, sessions, producers, agenda, config, counters }.run(effects);
        self.charge_tables();
        self.agenda.reported(self.next_deadlines().earliest());
        self.notice_changes(effects);
        match self.next_timeout() {
            Some(next) if next <= now => Turn::More,
            _ => Turn::Done,
        }
    }

    /// The broker did not run for `pause`, although `now` advanced by as much: the machine was suspended, the process
    /// stopped, or the wall clock set forward. Call it before the next call with a time after the pause, and call
    /// [`Session::resumed`](crate::Session::resumed) for each session. O(1).
    ///
    /// The delays of Nacks are prolonged by `pause` (rule A4). Everything else that has a time counts it (rule O5).
    pub fn resumed(&mut self, pause: Duration) {
        self.subscriptions.resumed(micros(pause));
    }

    /// The wall clock was set back, which the caller hides by passing times that do not decrease: counts it as `steps`
    /// calls with an earlier time (`clock_steps_back`, rule O5).
    pub const fn clock_stepped_back(&mut self, steps: u64) {
        bump(&mut self.counters.stats.clock_steps_back, steps);
    }

    /// The number of connections.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The number of topics.
    #[must_use]
    pub const fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// The broker's counters since it was created.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.counters.stats
    }

    /// The memory that the broker holds.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.memory.ledger()
    }

    /// Work done since the broker was created, in steps (rule S14): visits to records, parts of a log, keys and entries
    /// of tables, each of some tens of nanoseconds. The difference over one call is bounded by
    /// [`MAX_STEPS`](Self::MAX_STEPS), and by four steps for each record and operation of one Publish or Batch, which
    /// are atomic.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.topics.steps()
    }

    /// The broker's configuration.
    #[must_use]
    pub const fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// Sets a counter that only the surrounding program knows, such as its processor time. The broker's own counters,
    /// and unknown ones, do not change.
    pub fn report(&mut self, counter: Counter, value: u64) {
        self.counters.report(counter, value);
    }

    /// Adds to a counter that only the surrounding program knows, such as the number of stalled writes; for the same
    /// counters as [`report`](Self::report).
    pub fn count(&mut self, counter: Counter, more: u64) {
        self.counters.count(counter, more);
    }

    /// Every counter, in the order of their codes.
    pub fn counters(&self) -> impl Iterator<Item = CounterValue> {
        self.counters.list(self.gauges())
    }

    /// Recounts everything that the broker keeps count of; for tests and fuzzing, after any call. Cost: proportional to
    /// everything that the broker holds.
    ///
    /// # Errors
    /// [`Inconsistent`] names the first inconsistency found.
    pub fn verify(&self) -> Result<(), Inconsistent> {
        let Self { topics, subscriptions, sessions, producers, memory, readiness, .. } = self;
        verify::verify(topics, subscriptions, sessions, producers, memory, readiness)
    }

    /// Everything that survives a restart (rule B1): the rows that a store with this state has, in the order of their keys.
    /// The same state gives the same rows, whatever led to it. Cost: proportional to the rows; data of records is
    /// shared, except what was accepted last.
    ///
    /// ```
    /// use zaichik_engine::store::{Key, Row};
    /// use zaichik_engine::{Broker, BrokerConfig, Seed};
    /// let broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
    /// let keys: Vec<_> = broker.rows().map(|row| row.key()).collect();
    /// assert_eq!(keys, [Key::Meta]);
    /// # Ok::<(), zaichik_engine::ConfigError>(())
    /// ```
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        rows::rows(self)
    }

    /// The latest time of any call: time does not move backwards (rule O5).
    pub(crate) const fn tick(&mut self, now: Timestamp) -> Timestamp {
        if now.as_micros() < self.now.as_micros() {
            bump(&mut self.counters.stats.clock_steps_back, 1);
        } else {
            if self.now.as_micros() == 0 {
                self.started = now;
            }
            self.now = now;
        }
        self.now
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            uptime_micros: micros(self.now.since(self.started)),
            connections: self.sessions.len(),
            topics: self.topics.len(),
            subscriptions: self.subscriptions.len(),
            durables: self.subscriptions.durable_count(),
            ledger: self.memory.ledger(),
            memory_budget: self.memory.budget(),
            changed_rows: self.is_storing().then(|| self.changed_rows()),
        }
    }

    fn next_deadlines(&self) -> NextDeadlines {
        NextDeadlines {
            topic_housekeeping: self.topics.next_housekeeping(),
            pause_over: self.subscriptions.next_pause(),
            subscription_expires: self.subscriptions.next_expiry(),
            producer_forgotten: self.producers.next_forget(),
            sweep: self.agenda.sweep_at(),
        }
    }

    /// Charges the free places of tables.
    #[inline]
    fn charge_tables(&mut self) {
        let spare = self.sessions.spare().saturating_add(self.subscriptions.spare());
        let spare = spare.saturating_add(self.readiness.spare());
        let spare = spare.saturating_add(self.topics.new_footprint());
        let fetching = if self.is_storing() { self.topics.fetching_footprint() } else { 0 };
        self.memory.charge_tables(spare.saturating_add(fetching));
    }

    /// Asks the caller to rearm its timer if the next deadline became earlier.
    fn rearm(&mut self, effects: &mut Effects) {
        self.charge_tables();
        if self.memory.has_retired() || self.readiness.has_waiting() || self.memory.is_crowded() {
            self.agenda.schedule_sweep(self.now);
        }
        self.agenda.rearm(self.next_deadlines().earliest(), effects);
    }

    /// The store did something that may have freed memory, for which connections may wait.
    fn release_and_rearm(&mut self, effects: &mut Effects) {
        if self.release_waiting(effects) {
            effects.rearm();
        }
        self.rearm(effects);
    }

    #[inline]
    fn release_waiting(&mut self, effects: &mut Effects) -> bool {
        if !self.readiness.has_sessions_waiting() {
            return false;
        }
        let (released, more) =
            wakes::release_waiting(&mut self.sessions, &mut self.memory, &mut self.readiness, effects);
        self.topics.spend(released);
        more
    }

    fn subscribing(&mut self, now: Timestamp) -> Subscribing<'_> {
        let Self { config, sessions, topics, subscriptions, memory, readiness, counters, .. } = self;
        let readers = Readers { now, topics, subscriptions, memory, readiness };
        Subscribing { config, sessions, readers, counters }
    }

    fn preparing(&mut self, now: Timestamp, last_step: u64) -> Preparing<'_> {
        let Self { sessions, topics, subscriptions, memory, .. } = self;
        Preparing { now, last_step, sessions, topics, subscriptions, memory }
    }

    #[inline]
    fn publishing(&mut self, now: Timestamp) -> Publishing<'_> {
        self.batching(now).publishing
    }

    #[inline]
    fn batching(&mut self, now: Timestamp) -> Batching<'_> {
        let (is_stopping, is_storing) = (self.stops_at.is_some(), self.is_storing());
        let Self { config, topics, producers, memory, readiness, counters, answer, .. } = self;
        let publishing = Publishing {
            now,
            config,
            topics,
            producers,
            memory,
            readiness,
            counters,
            answer,
            is_stopping,
            is_storing,
        };
        let (sessions, subscriptions, scratch) =
            (&mut self.sessions, &mut self.subscriptions, &mut self.batch);
        Batching { publishing, sessions, subscriptions, scratch }
    }
}

//! Everything that connections share: topics, cursors, limits, and who has something to do.

mod attachment;
mod batch;
mod dead_letter;
mod deliver;
mod describe;
mod durables;
mod housekeeping;
mod ledger;
mod producers;
mod publish;
mod rewind;
mod run;
mod subscriptions;
mod topics;
mod verify;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;
use slab::Slab;
use zaichik_proto::{Counter, Duplicate, RefusalCode};

use self::attachment::Attachment;
pub(crate) use self::describe::Description;
use self::durables::Durables;
use self::housekeeping::Agenda;
pub use self::ledger::Ledger;
use self::ledger::recharge;
use self::producers::Producers;
pub(crate) use self::run::Run;
pub use self::verify::Inconsistent;
use crate::config::{BrokerConfig, ConfigError, Seed};
use crate::effects::{Effects, Note, NoteEvent};
use crate::error::CloseReason;
use crate::id::{SessionId, SubKey};
use crate::planted::{Defect, is_planted};
use crate::ring::{Node, Rings};
use crate::session::{Session, SessionConfig};
use crate::stats::Stats;
use crate::subscription::Subscription;
use crate::topic::{Retired, Topic};
use zaichik_proto::Timestamp;

/// Woken subscriptions that one call hands to their sessions at most.
const WAKES_PER_CALL: usize = 256;

/// Youngest age at which a connection without a handshake may be dropped for a newer one.
const EVICT_AFTER: Duration = Duration::from_millis(200);

/// A message broker as a state machine.
///
/// It has no socket, clock, thread or lock: every call says what time it is, and what is to be done outside
/// comes out in [`Effects`]. Connections meet it through [`Session::exchange`]. The same calls with the same
/// times give the same results, bit for bit.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Timestamp, Turn, Seed};
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
    seed: Seed,
    session_config: Arc<SessionConfig>,
    now: Timestamp,
    /// The first time told.
    started: Timestamp,
    topics: Vec<Topic>,
    names: HashTable<u32>,
    subscriptions: Slab<Subscription>,
    durables: Durables,
    sessions: Slab<Attachment>,
    next_session: u64,
    /// Connections that have not shaken hands, in the order in which they came.
    handshakes: VecDeque<SessionId>,
    rings: Rings,
    /// Subscriptions whose topic got something while they waited.
    woken: Node,
    /// Sessions that are not read until memory is freed.
    throttled: Node,
    agenda: Agenda,
    retired: Retired,
    ledger: Ledger,
    producers: Producers,
    stats: Stats,
    /// Requests refused, by code.
    refusals: BTreeMap<RefusalCode, u64>,
    /// What the program around the broker counts.
    reported: BTreeMap<Counter, u64>,
    /// Duplicates of the publish at hand.
    duplicates: Vec<Duplicate>,
    /// The batch at hand.
    batch: batch::Scratch,
    /// When the broker stops, if it does.
    stops_at: Option<Timestamp>,
}

impl Broker {
    /// A broker without topics or connections.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration contradicts itself.
    pub fn new(config: BrokerConfig, seed: Seed) -> Result<Self, ConfigError> {
        config.check()?;
        let mut rings = Rings::default();
        let (woken, throttled) = (rings.insert(0), rings.insert(0));
        Ok(Self {
            session_config: Arc::new(SessionConfig::new(&config, seed)),
            producers: Producers::new(&config, seed),
            config,
            seed,
            now: Timestamp::ZERO,
            started: Timestamp::ZERO,
            topics: Vec::new(),
            names: HashTable::new(),
            subscriptions: Slab::new(),
            durables: Durables::default(),
            sessions: Slab::new(),
            next_session: 0,
            handshakes: VecDeque::new(),
            rings,
            woken,
            throttled,
            agenda: Agenda::default(),
            retired: Retired::default(),
            ledger: Ledger::default(),
            stats: Stats::default(),
            refusals: BTreeMap::new(),
            reported: BTreeMap::new(),
            duplicates: Vec::new(),
            batch: batch::Scratch::default(),
            stops_at: None,
        })
    }

    /// A new connection. Above the limits it is a session that tells its peer so and closes.
    ///
    /// When too many connections have not shaken hands, the one that sent least, and of those the oldest, is
    /// closed for the new one, unless all are younger than 200 ms.
    pub fn accept(&mut self, now: Timestamp, effects: &mut Effects) -> Session {
        let now = self.tick(now);
        let full = self.sessions.len() >= self.config.max_connections as usize
            || (self.handshakes.len() >= self.config.max_handshakes as usize
                && !self.evict_handshake(now, effects));
        let serial = self.next_session;
        self.next_session = self.next_session.saturating_add(1);
        let entry = self.sessions.vacant_entry();
        let id = SessionId::new(serial, u32::try_from(entry.key()).unwrap_or(u32::MAX));
        if full || self.stops_at.is_some() {
            let reason = if full { CloseReason::ServerFull } else { CloseReason::Stopped };
            return Session::refused(id, Arc::clone(&self.session_config), now, reason);
        }
        let (ready, throttle) = (self.rings.insert(0), self.rings.insert(id.slot));
        let mut attachment = Attachment::new(id, ready, throttle, now);
        let footprint = attachment.footprint();
        recharge(&mut self.ledger.sessions, &mut attachment.charged, footprint);
        entry.insert(attachment);
        self.handshakes.push_back(id);
        self.stats.connections = self.stats.connections.saturating_add(1);
        Session::new(id, Arc::clone(&self.session_config), now)
    }

    /// A connection is gone: its subscriptions end, the durable ones wait for another connection. An id that is not
    /// known, or no longer, changes nothing.
    pub fn detach(&mut self, now: Timestamp, id: SessionId, effects: &mut Effects) {
        let now = self.tick(now);
        if self.attachment(id).is_none() {
            return;
        }
        let Some(mut attachment) = self.sessions.try_remove(id.slot()) else {
            return;
        };
        for key in attachment.subscriptions.values() {
            self.lose_subscription(now, *key);
        }
        self.rings.remove(attachment.ready);
        self.rings.remove(attachment.throttle);
        self.handshakes.retain(|waiting| *waiting != id);
        recharge(&mut self.ledger.sessions, &mut attachment.charged, 0);
        // Whoever was to hand out the wakes may be gone with it.
        if self.hand_out_wakes(id, effects) || self.release_throttled(effects) {
            effects.rearm();
        }
        self.rearm(effects);
    }

    /// Starts to stop: every connection is told, publishes are refused, and what is left after `grace` is closed.
    pub fn drain(&mut self, now: Timestamp, grace: Duration, effects: &mut Effects) {
        let now = self.tick(now);
        self.stops_at = Some(now.plus_micros(zaichik_proto::micros(grace)));
        self.agenda.announce_stop();
        effects.rearm();
    }

    /// How many connections there are.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many topics there are.
    #[must_use]
    pub const fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// What the broker has done so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The memory that the broker holds.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let (retired, producers) = (self.retired.charged() as u64, self.producers.footprint() as u64);
        Ledger { retired, producers, ..self.ledger }
    }

    /// The configuration it was made with.
    #[must_use]
    pub const fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// Time does not go back: the latest time told (semantics O5).
    pub(crate) const fn tick(&mut self, now: Timestamp) -> Timestamp {
        if now.as_micros() < self.now.as_micros() {
            self.stats.clock_steps_back = self.stats.clock_steps_back.saturating_add(1);
        } else {
            if self.now.as_micros() == 0 {
                self.started = now;
            }
            self.now = now;
        }
        self.now
    }

    /// A session begins an exchange; tells it what the broker wants of it.
    pub(crate) fn begin_exchange(&mut self, id: SessionId) -> Orders {
        let stops_at = self.stops_at;
        match self.attachment(id) {
            Some(attachment) => {
                attachment.woken = false;
                Orders { close: attachment.evicted, stops_at }
            }
            None => Orders { close: Some(CloseReason::Internal), stops_at },
        }
    }

    /// A session's handshake is done; `name` is what its peer calls itself.
    pub(crate) fn open(&mut self, id: SessionId, name: Box<str>, effects: &mut Effects) {
        if let Some(attachment) = self.attachment(id) {
            attachment.open = true;
        }
        self.handshakes.retain(|waiting| *waiting != id);
        effects.note(|| Note { session: id, topic: None, event: NoteEvent::Opened { name } });
    }

    /// A session refused a request in the broker's name.
    pub(crate) fn count_refusal(&mut self, code: RefusalCode) {
        self.stats.refused = self.stats.refused.saturating_add(1);
        let count = self.refusals.entry(code).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether a session has records to deliver, or has delivered some that are not committed.
    pub(crate) fn owes(&self, id: SessionId) -> bool {
        let Some(attachment) = self.sessions.get(id.slot()).filter(|attachment| attachment.id == id) else {
            return false;
        };
        let mut subscriptions =
            attachment.subscriptions.values().filter_map(|key| self.subscriptions.get(key.index()));
        // Among those that were woken and not yet handed out may be some of its own.
        let may_be_due = !self.rings.is_empty(attachment.ready) || !self.rings.is_empty(self.woken);
        may_be_due || !attachment.knows_fences() || subscriptions.any(Subscription::has_uncommitted)
    }

    /// A session ends an exchange: what it holds is charged, and whoever was woken is told. Says whether the
    /// session is to be read, and whether wakes are left to hand out.
    pub(crate) fn end_exchange(&mut self, id: SessionId, held: Held, effects: &mut Effects) -> Verdict {
        let pressed = self.is_pressed();
        let (throttled_ring, mut throttled) = (self.throttled, false);
        if let Some(attachment) = self.sessions.get_mut(id.slot()).filter(|attachment| attachment.id == id) {
            attachment.buffers = held.buffers;
            let footprint = attachment.footprint();
            recharge(&mut self.ledger.sessions, &mut attachment.charged, footprint);
            attachment.received = held.received;
            throttled = pressed && held.publishes && attachment.open && attachment.subscriptions.is_empty();
            if throttled {
                self.rings.push(throttled_ring, attachment.throttle);
            } else {
                self.rings.unlink(attachment.throttle);
            }
        }
        self.retired.sweep();
        let more = self.release_throttled(effects);
        self.rearm(effects);
        // What the session published to its own subscriptions became ready just now.
        let ready = self.attachment(id).map(|attachment| attachment.ready);
        let is_ready = ready.is_some_and(|ready| !self.rings.is_empty(ready))
            || self.attachment(id).is_some_and(|attachment| !attachment.knows_fences());
        Verdict { throttled, more: more || (held.takes_more && is_ready) }
    }

    /// Hands woken subscriptions to their sessions, a bounded number; says whether some are left. The session
    /// that asks is not woken: it delivers next.
    pub(crate) fn hand_out_wakes(&mut self, own: SessionId, effects: &mut Effects) -> bool {
        for _ in 0..WAKES_PER_CALL {
            let Some(key) = self.rings.pop(self.woken) else {
                return false;
            };
            self.make_ready(SubKey(key), own, effects);
        }
        !self.rings.is_empty(self.woken)
    }

    /// A subscription may have something to deliver: its session is told, unless it is the one that asks.
    fn make_ready(&mut self, key: SubKey, own: SessionId, effects: &mut Effects) {
        let Some(subscription) = self.subscriptions.get(key.index()) else {
            return;
        };
        let Some(session) = subscription.session else {
            return;
        };
        let node = subscription.node;
        if let Some(ready) = self.attachment(session).map(|attachment| attachment.ready) {
            self.rings.push(ready, node);
            self.wake(session, own, effects);
        }
    }

    /// A session has something to exchange: it is told, unless it is the one that asks.
    fn wake(&mut self, session: SessionId, own: SessionId, effects: &mut Effects) {
        if let Some(attachment) = self.attachment(session)
            && session != own
            && !attachment.woken
        {
            attachment.woken = true;
            if is_planted(Defect::LostWake) && self.stats.records_accepted % 16 == 7 {
                return;
            }
            effects.wake(session);
        }
    }

    /// What a session's attachment holds is charged.
    fn settle_session(&mut self, id: SessionId) {
        if let Some(attachment) = self.sessions.get_mut(id.slot()).filter(|attachment| attachment.id == id) {
            let footprint = attachment.footprint();
            recharge(&mut self.ledger.sessions, &mut attachment.charged, footprint);
        }
    }

    /// Memory was freed: sessions that were not read are read again. Says whether some are left.
    fn release_throttled(&mut self, effects: &mut Effects) -> bool {
        if self.is_pressed() {
            return false;
        }
        for _ in 0..WAKES_PER_CALL {
            let Some(slot) = self.rings.pop(self.throttled) else {
                return false;
            };
            self.wake_slot(slot as usize, effects);
        }
        !self.rings.is_empty(self.throttled)
    }

    fn wake_slot(&mut self, slot: usize, effects: &mut Effects) {
        if let Some(attachment) = self.sessions.get_mut(slot)
            && !attachment.woken
        {
            attachment.woken = true;
            effects.wake(attachment.id);
        }
    }

    /// Nine tenths of the memory budget are in use.
    fn is_pressed(&self) -> bool {
        let budget = self.config.memory_budget;
        self.ledger().total() >= budget.saturating_sub(budget / 10)
    }

    /// Makes room for a connection that has not shaken hands; says whether it could.
    fn evict_handshake(&mut self, now: Timestamp, effects: &mut Effects) -> bool {
        let oldest_first = self.handshakes.iter().filter_map(|id| self.sessions.get(id.slot()));
        let old_enough = oldest_first.filter(|attachment| now.since(attachment.since) >= EVICT_AFTER);
        let Some(id) =
            old_enough.min_by_key(|attachment| attachment.received).map(|attachment| attachment.id)
        else {
            return false;
        };
        if let Some(attachment) = self.attachment(id) {
            attachment.evicted = Some(CloseReason::ServerFull);
        }
        self.handshakes.retain(|waiting| *waiting != id);
        self.wake_slot(id.slot(), effects);
        true
    }

    fn attachment(&mut self, id: SessionId) -> Option<&mut Attachment> {
        self.sessions.get_mut(id.slot()).filter(|attachment| attachment.id == id)
    }
}

/// What a broker wants of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    /// To close.
    pub(crate) close: Option<CloseReason>,
    /// To stop by then.
    pub(crate) stops_at: Option<Timestamp>,
}

/// What a session holds after an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Bytes of its buffers and lanes.
    pub(crate) buffers: usize,
    /// Bytes received before its handshake was done.
    pub(crate) received: usize,
    /// Whether its stream lane has room.
    pub(crate) takes_more: bool,
    /// Whether it has published.
    pub(crate) publishes: bool,
}

/// What a session is told after an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict {
    /// It is not to be read until it is woken.
    pub(crate) throttled: bool,
    /// There is more to do at once: wakes to hand out, or records that became due.
    pub(crate) more: bool,
}

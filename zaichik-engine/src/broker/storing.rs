//! What a broker gives to its store, and what waits for it (rule B6).

use std::collections::BTreeSet;

use zaichik_proto::Timestamp;

use super::Broker;
use crate::effects::{Effects, Turn};
use crate::id::SessionId;
use crate::planted::{Defect, is_planted};
use crate::store::{Awaited, Commit, Op, Progress, Row, Ticket};

/// Changed rows above which requests wait for the next commit.
const MAX_CHANGED_ROWS: usize = 4_096;

/// Bytes of records that are not in a commit, above which requests wait for the next one.
const MAX_UNSTAGED_BYTES: usize = 8 * 1024 * 1024;

/// For how long changes that nobody waits for are not committed, in microseconds.
const LAZY_MICROS: u64 = 100_000;

/// Producers that were silent for too long, and are forgotten before a commit.
const FORGOTTEN_PER_COMMIT: usize = 64;

/// The state of a broker's store.
#[derive(Debug)]
pub(super) struct Storing {
    /// The last commits that the store has, and that are durable; 0 before the first.
    reached: Progress,
    /// The first and the last commit of which somebody waits until they are synced.
    to_sync: Option<(Ticket, Ticket)>,
    /// The commit that the store works on.
    in_flight: Option<Ticket>,
    /// Changes that were noticed, of all parts.
    noticed: u64,
    /// Whether somebody waits for changes that are in no commit.
    is_urgent: bool,
    /// Since when there are changes that nobody waits for.
    lazy_since: Option<Timestamp>,
    /// Sessions whose output, or whose requests, wait for the store.
    waiting: BTreeSet<SessionId>,
    has_failed: bool,
}

impl Storing {
    /// What was put into an output leaves when the store has this commit; `None` if it has all that this may depend on.
    fn awaited(&self, is_synced: bool) -> Option<Awaited> {
        let Progress { written, synced } = self.reached;
        let ticket = match self.in_flight {
            // Only the reason for which connections are closed is sent.
            _ if self.has_failed => None,
            // Also what nobody waited for so far may be told now.
            _ if self.is_urgent || self.lazy_since.is_some() => Some(self.newest().next()),
            None if is_synced && synced < written => Some(written),
            in_flight => in_flight,
        };
        ticket.map(|ticket| Awaited { ticket, is_synced })
    }

    const fn newest(&self) -> Ticket {
        match self.in_flight {
            Some(ticket) => ticket,
            None => self.reached.written,
        }
    }

    /// Somebody waits until this commit is synced.
    fn await_sync(&mut self, ticket: Ticket) {
        let (first, last) = self.to_sync.unwrap_or((ticket, ticket));
        self.to_sync = Some((first.min(ticket), last.max(ticket)));
    }

    /// Whether a commit that the store has is to be synced.
    fn wants_sync(&self) -> bool {
        !self.has_failed && self.to_sync.is_some_and(|(first, _)| first <= self.reached.written)
    }

    /// Every commit that the store has is synced.
    fn synced(&mut self) {
        let ticket = self.reached.written;
        self.reached.synced = ticket;
        self.to_sync = self.to_sync.filter(|(_, last)| *last > ticket).map(|(_, last)| (ticket.next(), last));
    }
}

/// The store.
impl Broker {
    /// Gives every change to a store from now on, and holds the output of connections until the store has what it may
    /// depend on (rule B6). To be called before the first [`accept`](Self::accept), once: for a new broker, or for one
    /// that [`Restore`](crate::Restore) built, whose rows the store has already.
    ///
    /// Memory: some tens of bytes for each topic, durable subscription and producer that changes between two commits, and
    /// for each connection.
    ///
    /// ```
    /// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
    /// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
    /// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
    /// broker.begin_storing();
    /// let commit = broker.poll_commit(now, &mut effects).expect("the instance is to be stored");
    /// assert!(broker.poll_commit(now, &mut effects).is_none(), "one at a time");
    /// // the store writes commit.ops, in one atomic and durable step
    /// let _ = broker.committed(now, commit.ticket, &mut effects);
    /// # Ok::<(), zaichik_engine::ConfigError>(())
    /// ```
    pub fn begin_storing(&mut self) {
        self.topics.begin_storing();
        self.charge_tables();
        self.subscriptions.begin_storing();
        self.producers.begin_storing();
        self.storing = Some(Box::new(Storing {
            reached: Progress { written: Ticket::new(0), synced: Ticket::new(0) },
            to_sync: None,
            in_flight: None,
            noticed: 0,
            is_urgent: true,
            lazy_since: None,
            waiting: BTreeSet::new(),
            has_failed: false,
        }));
    }

    /// Everything that has changed since the last commit, if there is something to store now and no commit is under way.
    /// The store applies it in one atomic step, and reports it with [`committed`](Self::committed) when it is durable.
    ///
    /// Changes that nobody waits for are given away after 100 ms, or with the next ones that somebody waits for, or at once
    /// by a broker that is stopping. Cost:
    /// proportional to what has changed, which is at most about 4,096 rows and 8 MiB of records and what one exchange adds.
    pub fn poll_commit(&mut self, now: Timestamp, effects: &mut Effects) -> Option<Commit> {
        let now = self.tick(now);
        let is_due = self.next_commit().is_some_and(|due| due <= now);
        let storing = self.storing.as_deref().filter(|storing| is_due && !storing.has_failed)?;
        let Progress { written, synced } = storing.reached;
        let ticket = written.next();
        // What has ended by now does not come back.
        let _ = self.end_expired(now);
        self.producers.forget_silent(now, FORGOTTEN_PER_COMMIT, &mut self.memory);
        let mut ops = vec![Op::Put { row: Row::Meta(self.meta_row()) }];
        self.topics.stage(&mut ops, &mut self.memory);
        if !is_planted(Defect::HalfCommit) || ticket.number() % 2 == 1 {
            self.subscriptions.stage(&mut ops);
        }
        self.producers.stage(&mut ops);
        self.release_and_rearm(effects);
        let changes = self.changes();
        if let Some(storing) = &mut self.storing {
            (storing.in_flight, storing.is_urgent, storing.lazy_since) = (Some(ticket), false, None);
            storing.noticed = changes;
        }
        if ops.len() == 1 && ticket > Ticket::FIRST {
            // Nothing but the time: what was thought to have changed has not.
            let _ = self.written(now, ticket, effects);
            if synced == written {
                let _ = self.synced(now, effects);
            }
            return None;
        }
        Some(Commit { ticket, ops })
    }

    /// The commit that [`poll_commit`](Self::poll_commit) gave is durable: what waited for it may leave, so its
    /// connections are woken. The ticket of another commit has no effect.
    pub fn committed(&mut self, now: Timestamp, ticket: Ticket, effects: &mut Effects) -> Turn {
        let turn = self.written(now, ticket, effects);
        if let Some(storing) = self.storing.as_deref_mut().filter(|one| one.reached.written == ticket) {
            storing.synced();
        }
        turn
    }

    /// The store has the commit that [`poll_commit`](Self::poll_commit) gave, whatever becomes of the process, but will make
    /// it durable later and report that with [`synced`](Self::synced): what waited for it may leave, except answers that were
    /// asked for when they are durable (rule B7). The ticket of another commit has no effect.
    pub fn written(&mut self, now: Timestamp, ticket: Ticket, effects: &mut Effects) -> Turn {
        self.tick(now);
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.in_flight == Some(ticket))
        else {
            return Turn::Done;
        };
        (storing.reached.written, storing.in_flight) = (ticket, None);
        if storing.is_urgent {
            effects.store();
        }
        self.wake_waiting(effects);
        self.topics.committed();
        self.topics.evict(self.now, &mut self.memory);
        self.release_and_rearm(effects);
        Turn::Done
    }

    /// All commits that were [`written`](Self::written) are durable.
    pub fn synced(&mut self, now: Timestamp, effects: &mut Effects) -> Turn {
        self.tick(now);
        let Some(storing) = &mut self.storing else { return Turn::Done };
        storing.synced();
        self.wake_waiting(effects);
        Turn::Done
    }

    /// Whether somebody waits until commits are synced that were [`written`](Self::written). When it becomes true, that is
    /// reported as for [`next_commit`](Self::next_commit), or it is after [`written`](Self::written).
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.storing.as_ref().is_some_and(|storing| storing.wants_sync())
    }

    /// What waits may go on.
    fn wake_waiting(&mut self, effects: &mut Effects) {
        let waiting = self.storing.as_deref_mut().map(|storing| core::mem::take(&mut storing.waiting));
        for id in waiting.into_iter().flatten() {
            if !is_planted(Defect::SleepingOutput) {
                self.sessions.wake_any(id, effects);
            }
        }
    }

    /// The store has no space but what it keeps for commits that bring little, or has space again (rule B9): meanwhile
    /// publishes are refused, and whatever creates something. It may be called at any time; nobody waits for it.
    pub fn store_full(&mut self, now: Timestamp, is_full: bool) {
        self.tick(now);
        self.topics.is_full = is_full;
    }

    /// The store failed: it may or may not have the commit under way, so nothing that waits for it is ever sent. All
    /// connections are closed and none is accepted any more; a restart tells what was stored.
    pub fn store_failed(&mut self, now: Timestamp, effects: &mut Effects) {
        self.tick(now);
        if let Some(storing) = &mut self.storing {
            storing.has_failed = true;
            storing.waiting.clear();
        }
        self.sessions.wake_all(effects);
    }

    /// Whether [`store_failed`](Self::store_failed) was called.
    #[inline]
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.storing.as_ref().is_some_and(|storing| storing.has_failed)
    }

    /// Whether there is a store.
    #[must_use]
    pub const fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// How far the store is.
    #[inline]
    pub(crate) fn stored(&self) -> Option<Progress> {
        let both = |ticket| Progress { written: ticket, synced: ticket };
        self.storing.as_ref().map(|storing| match () {
            () if storing.has_failed && is_planted(Defect::AnswersOfFailure) => both(Ticket::new(u64::MAX)),
            () if is_planted(Defect::EarlyAnswers) => both(storing.newest()),
            () => storing.reached,
        })
    }

    /// Whether requests wait until the store has taken what has changed.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.storing.is_some() && self.is_store_behind()
    }

    #[cold]
    fn is_store_behind(&self) -> bool {
        self.changed_rows() >= MAX_CHANGED_ROWS || self.topics.unstaged() >= MAX_UNSTAGED_BYTES
    }

    /// The commit that answers and deliveries wait for; some answers wait until it is synced.
    #[inline]
    pub(crate) fn awaited(&self, is_synced: bool) -> Option<Awaited> {
        let is_synced = is_synced && !is_planted(Defect::UnsyncedAnswers);
        self.storing.as_ref().and_then(|storing| storing.awaited(is_synced))
    }

    /// Changes made so far may wait until output that reveals them is to be sent.
    #[inline]
    pub(crate) fn notice_changes(&mut self, effects: &mut Effects) {
        if self.storing.is_some() {
            self.notice_changes_now(effects);
        }
    }

    #[cold]
    fn notice_changes_now(&mut self, effects: &mut Effects) {
        let (changes, now) = (self.changes(), self.now);
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.noticed != changes) else {
            return;
        };
        storing.noticed = changes;
        if storing.lazy_since.is_none() {
            storing.lazy_since = Some(now);
            effects.store();
        }
    }

    /// What an exchange left for the store to do.
    #[cold]
    pub(super) fn keep_store_busy(&mut self, effects: &mut Effects) {
        self.topics.evict(self.now, &mut self.memory);
        self.notice_fetches(effects);
        self.notice_changes_now(effects);
    }

    /// A session's output waits for a commit; or, without one, its requests wait until the store has taken what has changed.
    pub(crate) fn wait_for_store(&mut self, id: SessionId, awaited: Option<Awaited>, effects: &mut Effects) {
        let Some(storing) = &mut self.storing else { return };
        storing.waiting.insert(id);
        if let Some(Awaited { ticket, is_synced: true }) = awaited {
            storing.await_sync(ticket);
            if storing.wants_sync() {
                effects.store();
            }
        }
        let is_staged = awaited.is_some_and(|awaited| awaited.ticket <= storing.newest());
        if !is_staged && !storing.is_urgent && storing.lazy_since.is_some() {
            storing.is_urgent = true;
            if storing.in_flight.is_none() {
                effects.store();
            }
        }
    }

    /// When the next commit is due, if nothing else happens: at once if somebody waits for it or the broker is stopping.
    #[must_use]
    pub fn next_commit(&self) -> Option<Timestamp> {
        let storing = self.storing.as_deref().filter(|storing| storing.in_flight.is_none())?;
        if storing.is_urgent {
            return Some(self.now);
        }
        let delay = if self.stops_at.is_some() { 0 } else { LAZY_MICROS };
        storing.lazy_since.map(|since| since.plus_micros(delay))
    }

    fn changes(&self) -> u64 {
        let topics = self.topics.change_count();
        topics.saturating_add(self.subscriptions.change_count()).saturating_add(self.producers.change_count())
    }

    /// Rows that are in no commit yet.
    pub(super) fn changed_rows(&self) -> usize {
        let topics = self.topics.changed_len();
        topics.saturating_add(self.subscriptions.changed_len()).saturating_add(self.producers.changed_len())
    }
}

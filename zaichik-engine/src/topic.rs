//! One topic: its settings, its log, its keys, and the subscriptions that wait for its next record.

mod amount;
mod cold;
mod cursors;
mod keys;
mod latest;
mod limits;
mod log;
mod plain;
mod position;
mod publish;
mod read;
mod restore;
mod retired;
mod rows;
mod staging;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;

use zaichik_proto::{CompactionMode, Start, Timestamp};

pub(crate) use self::cursors::{CursorId, Cursors};
use self::keys::Keys;
use self::latest::{LatestKeys, Liveness};
pub(crate) use self::log::Eviction;
use self::log::Log;
pub(crate) use self::plain::AppendedRun;
pub(crate) use self::position::{Position, Pull, Want};
pub(crate) use self::publish::{Accepted, AppendPlan, PublishContext};
pub(crate) use self::read::Lookup;
pub(crate) use self::restore::TopicParts;
pub(crate) use self::retired::Retired;
use self::staging::Staging;
use crate::config::TopicSettings;
use crate::ring::Node;

/// Maximum chunks, keys and dead records that one step of housekeeping handles, of each.
const FREE_PER_STEP: usize = 64;

/// Steps of settling a death, or forgetting a key: with many keys, each finds several tables out of the processor's caches.
const STEPS_PER_ENTRY: u64 = 16;

/// Deaths settled before and after a publish; more than its records, on average.
const SETTLED_AT_ONCE: usize = 128;

/// Maximum chunks that a run of publishes or a commit frees; more than it can add.
const FREE_PER_COMMIT: usize = 4;

/// A topic, independent of all others.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) settings: TopicSettings,
    /// Whether `CreateTopic` has given it its settings (rules T1 to T4).
    pub(crate) explicit: bool,
    /// Ring of the subscriptions that are caught up.
    pub(crate) waiting: Node,
    /// Cursors of its subscriptions.
    pub(crate) cursors: Cursors,
    log: Log,
    /// With `first` compaction: the keys that make a record a duplicate.
    keys: Option<Box<Keys>>,
    /// With `latest` compaction: the newest record of each key.
    newest: Option<Box<LatestKeys>>,
    /// New subscriptions get nothing below this offset (rule R7).
    hidden_below: u64,
    /// The offset after the highest one that a limit removed (rule R9).
    limit_end: u64,
    /// If the limits are to be enforced once all deaths are settled: as of when.
    over_limit_at: Option<u64>,
    last_append: Timestamp,
    /// What a store has of it.
    staging: Option<Box<Staging>>,
    /// Whether it is listed as changed since it was staged.
    pub(crate) is_changed: bool,
    /// Its first offset when it was listed last.
    pub(crate) listed_first: u64,
    /// Bytes of its records that count as not staged.
    pub(crate) unstaged: usize,
    /// When housekeeping is due; `Timestamp::MAX` if it is not.
    pub(crate) due: Timestamp,
    /// Bytes charged to the ledger.
    pub(crate) charged: usize,
}

impl Topic {
    pub(crate) fn new(name: Arc<str>, settings: TopicSettings, waiting: Node, first_offset: u64) -> Self {
        let mut log = Log::starting_at(first_offset);
        log.set_latest(latest_times(&settings), 0);
        Self {
            name,
            settings,
            explicit: false,
            waiting,
            cursors: Cursors::default(),
            log,
            keys: None,
            newest: None,
            hidden_below: 0,
            limit_end: 0,
            over_limit_at: None,
            last_append: Timestamp::ZERO,
            staging: None,
            is_changed: false,
            listed_first: 0,
            unstaged: 0,
            due: Timestamp::MAX,
            charged: 0,
        }
    }

    /// Changes the settings; dead records stay dead (rule R7).
    pub(crate) fn change_settings(&mut self, now: Timestamp, settings: TopicSettings) {
        let at = now.as_micros();
        let live = self.start(now, Start::Earliest);
        // A longer time to live does not revive records that every subscription has committed.
        self.trim_committed();
        self.hidden_below = self.hidden_below.max(live);
        if let Some(keys) = &mut self.keys {
            keys.set_window(settings.compaction_window_micros, self.log.end());
        }
        // A longer time to live of tombstones does not revive keys whose newest record died. The caller has forgotten
        // all but the newest of them.
        let _ = self.forget_dead_keys(at, usize::MAX);
        if settings.compaction != self.settings.compaction {
            // There are no records, so there is nothing to remember.
            (self.keys, self.newest) = (None, None);
        }
        self.log.set_latest(latest_times(&settings), at);
        self.settings = settings;
        self.age(at);
        self.drop_oldest(at);
    }

    /// Settles deaths that have come by `now`, for up to `steps` steps; returns whether none is left. Only then requests
    /// and deliveries may depend on which records are live (rule S14).
    #[inline]
    pub(crate) fn settle(&mut self, now: Timestamp, steps: u64) -> bool {
        !(self.over_limit_at.is_some() || self.log.is_behind(now.as_micros()))
            || self.settle_deaths(now, steps)
    }

    /// The same, before the settings change: keys whose newest record died are forgotten as well.
    pub(crate) fn settle_keys(&mut self, now: Timestamp, steps: u64) -> bool {
        self.settle(now, steps) && self.forget_dead_keys(now.as_micros(), budget_of(steps))
    }

    #[inline(never)]
    fn settle_deaths(&mut self, now: Timestamp, steps: u64) -> bool {
        // What dies after the limits were exceeded makes no room.
        let at = self.over_limit_at.unwrap_or(now.as_micros());
        let is_settled = self.log.settle(at, budget_of(steps));
        if is_settled && self.over_limit_at.is_some() {
            self.drop_oldest(at);
        }
        is_settled && !self.log.is_behind(now.as_micros())
    }

    /// Forgets up to `budget` keys whose newest record is dead; returns whether none is left.
    fn forget_dead_keys(&mut self, at: u64, budget: usize) -> bool {
        let liveness = self.liveness(at);
        let Some(newest) = &mut self.newest else {
            return true;
        };
        let before = newest.len();
        let more = newest.forget(liveness, budget);
        self.log.spend((before.saturating_sub(newest.len()) as u64).saturating_mul(STEPS_PER_ENTRY));
        !more
    }

    /// The offset of the next record.
    pub(crate) const fn end(&self) -> u64 {
        self.log.end()
    }

    /// Whether there are no records between the first offset and the end; only then the compaction mode may change
    /// (rule T3).
    pub(crate) fn is_empty(&mut self, now: Timestamp) -> bool {
        self.age(now.as_micros());
        self.log.is_empty()
    }

    /// Bytes allocated for records and keys, and for the cursors.
    pub(crate) fn footprint(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.footprint().saturating_add(size_of::<Keys>()));
        let newest = self.newest.as_ref().map_or(0, |newest| newest.footprint());
        let keys = keys.saturating_add(newest);
        let rest = self.cursors.footprint().saturating_add(keys);
        self.log.footprint().saturating_add(rest).saturating_add(self.staging_footprint())
    }

    /// The steps of work done in this topic since the last call (rule S14).
    #[inline]
    pub(crate) fn take_steps(&self) -> u64 {
        self.log.take_steps()
    }

    /// Whether its parts are consistent with each other.
    pub(crate) fn is_consistent(&self) -> bool {
        self.log.is_consistent() && self.newest.as_ref().is_none_or(|newest| newest.is_consistent())
    }

    /// Whether records accepted now can never be read (rule R2).
    fn is_unread(&self) -> bool {
        self.settings.is_live_only() && self.cursors.is_empty()
    }

    fn is_latest(&self) -> bool {
        self.settings.compaction == CompactionMode::Latest
    }

    /// Whether a key makes a record a duplicate of an earlier one (rule C1).
    fn remembers_keys(&self) -> bool {
        self.settings.compaction == CompactionMode::First && self.settings.compaction_window_micros > 0
    }

    const fn liveness(&self, now: u64) -> Liveness {
        let tombstone_ttl = self.settings.tombstone_ttl_micros;
        Liveness { now, first: self.log.first().offset, tombstone_ttl }
    }
}

/// How many entries can be handled within a number of steps.
fn budget_of(steps: u64) -> usize {
    usize::try_from(steps / STEPS_PER_ENTRY).unwrap_or(usize::MAX)
}

/// The window and the tombstones' time to live, with `latest` compaction.
fn latest_times(settings: &TopicSettings) -> Option<(u64, u64)> {
    let times = (settings.compaction_window_micros, settings.tombstone_ttl_micros);
    (settings.compaction == CompactionMode::Latest).then_some(times)
}

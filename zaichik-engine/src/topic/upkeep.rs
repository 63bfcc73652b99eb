//! Housekeeping of a topic: when something is due, and one bounded step of it.

use zaichik_proto::Timestamp;

use super::{FREE_PER_COMMIT, FREE_PER_STEP, Retired, STEPS_PER_ENTRY, Topic};

/// Idle time after which spare capacity of a topic's allocations is freed, in microseconds.
const SEAL_AFTER: u64 = 1_000_000;

/// Steps for which housekeeping settles deaths in one topic.
const STEPS_PER_SETTLING: u64 = 1_024;

/// Steps of forgetting keys once.
const STEPS_OF_KEYS: u64 = FREE_PER_STEP as u64 * STEPS_PER_ENTRY;

impl Topic {
    /// One bounded step of housekeeping. Afterwards [`due_at`](Self::due_at) is valid again.
    pub(crate) fn housekeep(&mut self, now: Timestamp, retired: &mut Retired) {
        let at = now.as_micros();
        self.age(at);
        if self.settle(now, STEPS_PER_SETTLING) && !self.log.forget_removed(FREE_PER_STEP) {
            self.log.reclaim(at, retired);
        }
        let more = self.log.free(FREE_PER_STEP, retired);
        self.housekeep_latest(at);
        if let Some(keys) = &mut self.keys {
            self.log.spend(STEPS_OF_KEYS);
            keys.forget(at, FREE_PER_STEP);
            keys.shrink();
            if keys.next_forget() == u64::MAX && self.settings.compaction_window_micros == 0 {
                self.keys = None;
            }
        }
        if !more && self.seal_at() <= now {
            self.log.seal(retired);
        }
    }

    /// Frees some of the records that are no longer needed after a cursor moved or was removed (rule R2).
    pub(crate) fn release_committed(&mut self, retired: &mut Retired) {
        if self.settings.is_live_only() {
            self.trim_committed();
            self.log.free(FREE_PER_COMMIT, retired);
        }
    }

    /// When housekeeping is due next.
    pub(crate) fn due_at(&self) -> Timestamp {
        let log = Timestamp::from_micros(self.log.next_death(self.settings.retention_ttl_micros));
        let keys = self.keys.as_ref().map_or(u64::MAX, |keys| keys.next_forget());
        let newest = self.newest.as_ref().map_or(u64::MAX, |newest| {
            newest.next_forget(self.liveness(0), self.settings.retention_ttl_micros)
        });
        let is_moving = self.keys.as_ref().is_some_and(|keys| keys.is_moving())
            || self.newest.as_ref().is_some_and(|newest| newest.is_moving());
        let other = if self.over_limit_at.is_some() || is_moving { 0 } else { keys.min(newest) };
        log.min(Timestamp::from_micros(other)).min(self.seal_at())
    }

    #[inline(never)]
    fn housekeep_latest(&mut self, at: u64) {
        let liveness = self.liveness(at);
        self.log.spend(if self.newest.is_some() { STEPS_OF_KEYS } else { 1 });
        if let Some(newest) = &mut self.newest {
            newest.forget(liveness, FREE_PER_STEP);
            newest.shrink();
            if newest.is_empty() {
                self.newest = None;
            }
        }
    }

    fn seal_at(&self) -> Timestamp {
        if self.log.is_sealed() { Timestamp::MAX } else { self.last_append.plus_micros(SEAL_AFTER) }
    }
}

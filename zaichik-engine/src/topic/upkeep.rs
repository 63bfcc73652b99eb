//! Housekeeping of a topic: when something is due, and one bounded step of it.

use zaichik_proto::Timestamp;

use super::{FREE_PER_COMMIT, FREE_PER_STEP, Retired, Topic};

/// Idle time after which spare capacity of a topic's allocations is freed, in microseconds.
const SEAL_AFTER: u64 = 1_000_000;

impl Topic {
    /// One bounded step of housekeeping. Afterwards [`due_at`](Self::due_at) is valid again.
    pub(crate) fn housekeep(&mut self, now: Timestamp, retired: &mut Retired) {
        let at = now.as_micros();
        self.age(at);
        let more = self.log.free(at, FREE_PER_STEP, retired);
        if self.is_latest() {
            self.housekeep_latest(at, retired);
        }
        if let Some(keys) = &mut self.keys {
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
    pub(crate) fn release_committed(&mut self, now: Timestamp, retired: &mut Retired) {
        if self.settings.is_live_only() {
            self.trim_committed();
            self.log.free(now.as_micros(), FREE_PER_COMMIT, retired);
        }
    }

    /// When housekeeping is due next.
    pub(crate) fn due_at(&self) -> Timestamp {
        let log = Timestamp::from_micros(self.log.next_death(self.settings.retention_ttl_micros));
        let keys = self.keys.as_ref().map_or(u64::MAX, |keys| keys.next_forget());
        let newest = self.newest.as_ref().map_or(u64::MAX, |newest| {
            newest.next_forget(self.liveness(0), self.settings.retention_ttl_micros)
        });
        log.min(Timestamp::from_micros(keys.min(newest))).min(self.seal_at())
    }

    #[inline(never)]
    fn housekeep_latest(&mut self, at: u64, retired: &mut Retired) {
        if self.log.mark_dead(at, FREE_PER_STEP) {
            return;
        }
        self.log.reclaim(at, retired);
        let liveness = self.liveness(at);
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

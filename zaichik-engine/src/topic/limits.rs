//! The room that a topic has, and how it is freed: by commits, times to live, limits, and on request (rules R1, R2, R5, R10).

use zaichik_proto::{Overflow, Refusal, RefusalCode, Start, Timestamp};

use super::amount::Amount;
use super::log::Log;
use super::{Position, SETTLED_AT_ONCE, Topic};

impl Topic {
    /// Checks that this amount can be appended. Returns the first offset that may stay: with `overflow = reject` the
    /// records below it make room (rule R5).
    pub(super) fn check_limits(&mut self, at: u64, added: Amount) -> Result<u64, Refusal> {
        if !self.has_offsets(added.records) {
            return Err(Refusal::new(RefusalCode::OffsetsExhausted));
        }
        let limits = self.limits();
        if !added.fits(limits) {
            let limit = if added.records > limits.records { limits.records } else { limits.bytes };
            return Err(Refusal::with_value(RefusalCode::TooLarge, limit));
        }
        let first = self.log.first();
        if self.settings.overflow == Overflow::DropOldest || added.records == 0 {
            return Ok(first.offset);
        }
        let keep = self.log.first_within(limits.without(added));
        // Only records that are dead, or committed by every subscription, may make room; without subscriptions none is
        // committed.
        let committed = self.cursors.lowest().unwrap_or(0);
        if keep > first.offset
            && keep > self.log.first_live(Position::at(first.offset.max(committed)), at).offset
        {
            return Err(Refusal::new(RefusalCode::TopicFull));
        }
        Ok(keep)
    }

    /// Whether offsets remain for this many records. The last offset is never assigned, so "the offset after" a record
    /// always exists.
    #[inline]
    pub(super) fn has_offsets(&self, records: u64) -> bool {
        self.log.end().checked_add(records).is_some_and(|end| end < u64::MAX)
    }

    /// The maximum that a topic retains. No publish or batch may add more, so it never evicts its own records.
    #[inline]
    pub(super) const fn limits(&self) -> Amount {
        Amount { records: self.settings.max_messages, bytes: self.settings.max_bytes }
    }

    /// With `overflow = drop_oldest`: removes the oldest records until the rest is within the limits.
    #[inline]
    pub(super) fn drop_oldest(&mut self, at: u64) {
        self.over_limit_at = None;
        if self.settings.overflow == Overflow::DropOldest && self.may_exceed_limits() {
            self.drop_excess(at);
        }
    }

    /// Whether the records do not fit, or some of them may be dead, so that what counts is to be found out.
    #[inline]
    const fn may_exceed_limits(&self) -> bool {
        self.log.has_deaths() || !self.log.amount().fits(self.limits())
    }

    #[inline(never)]
    fn drop_excess(&mut self, at: u64) {
        // Dead records do not count, and new ones may be dead already: a tombstone without a time to live is. No live
        // record is removed because of one whose death is not settled yet.
        if !self.log.settle(at, SETTLED_AT_ONCE) {
            self.over_limit_at = Some(at);
            return;
        }
        let first = self.log.first_within(self.limits());
        self.remove_by_limit(|log| log.raise_first(first));
        self.log.owe_first(self.limits());
    }

    /// Removes what limits have removed while it was only in the store.
    pub(super) fn drop_owed(&mut self) {
        self.remove_by_limit(Log::drop_owed);
    }

    /// What `remove` removes, a limit does.
    fn remove_by_limit(&mut self, remove: impl FnOnce(&mut Log)) {
        let before = self.log.first().offset;
        remove(&mut self.log);
        let first = self.log.first().offset;
        if first > before {
            self.limit_end = self.limit_end.max(first);
        }
    }

    /// Removes all records before a point, as a limit does (rule R10); returns the offset of the first one that is left,
    /// and how many live ones were removed. All deaths are settled.
    pub(crate) fn trim(&mut self, now: Timestamp, before: Start) -> (u64, u64) {
        let at = now.as_micros();
        self.age(at);
        let live = self.log.amount_alive().records;
        let first = match before {
            Start::Earliest => 0,
            Start::Latest => self.log.end(),
            Start::Offset(offset) => offset.min(self.log.end()),
            Start::Time(time) => self.log.first_since(time),
        };
        self.remove_by_limit(|log| log.raise_first(first));
        self.age(at);
        let removed = live.saturating_sub(self.log.amount_alive().records);
        (self.log.first_live(self.log.first(), at).offset, removed)
    }

    /// Removes committed records, then expired ones, in this order, because expired records may follow committed ones.
    /// Neither count against the limits, whether or not housekeeping ran.
    pub(super) fn age(&mut self, at: u64) {
        self.trim_committed();
        self.log.expire(at, self.settings.retention_ttl_micros);
    }

    /// With `retention_ttl = 0`, records that every subscription has committed are not kept (rule R2).
    #[inline]
    pub(super) fn trim_committed(&mut self) {
        if self.settings.is_live_only() {
            let lowest = self.cursors.lowest().unwrap_or_else(|| self.log.end());
            self.log.raise_first(lowest);
        }
    }
}

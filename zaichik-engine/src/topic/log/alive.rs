//! Records that count against a topic's limits: those that are not dead (rules R5, C6).
//!
//! A dead record behind a live one is not removed, but it must not count: a topic whose few keys are rewritten repeatedly
//! keeps one record per key, and one whose records have their own time to live keeps those that are left. The count is
//! updated as records are appended, marked as dead, and removed at the front; a dead record counts until its death is
//! settled.

use super::Log;
use super::chunk::Part;
use super::losses::{Losses, SparseIndex};
use crate::planted::{Defect, is_planted};
use crate::topic::amount::Amount;

impl Log {
    /// The records and their bytes, without those whose death is settled.
    #[inline]
    pub(in crate::topic) fn amount_alive(&self) -> Amount {
        if self.counts_live() { self.alive() } else { self.amount() }
    }

    /// Whether some of the records may be dead behind a live one.
    #[inline]
    pub(super) fn counts_live(&self) -> bool {
        self.compaction.is_some() && (self.is_latest || !is_planted(Defect::DeadCount))
    }

    /// The first offset from which the records that are not dead are within the limits.
    pub(super) fn first_within_alive(&self, limits: Amount) -> u64 {
        let mut left = self.alive();
        let mut offset = self.first.offset;
        while !left.fits(limits) {
            self.steps.add(1);
            let Some(part) = self.part(self.index_of(offset)) else {
                debug_assert!(false, "offset {offset} is in no part");
                break;
            };
            let rest = left.without(part.alive());
            if offset <= part.span.start && !rest.fits(limits) {
                (left, offset) = (rest, part.end);
                continue;
            }
            if part.cold.is_some() {
                return offset;
            }
            for (at, amount) in self.alive_from(part, offset) {
                left.subtract(amount);
                offset = at.saturating_add(1);
                if left.fits(limits) {
                    return offset;
                }
            }
            offset = part.end;
        }
        offset
    }

    /// The records not dead between the first offset and `to`.
    pub(super) fn alive_below(&self, to: u64) -> Amount {
        let mut sum = Amount::default();
        let mut offset = self.first.offset;
        while offset < to {
            self.steps.add(1);
            let Some(part) = self.part(self.index_of(offset)) else {
                debug_assert!(false, "offset {offset} is in no part");
                break;
            };
            if offset <= part.span.start && part.end <= to {
                sum.add(part.alive());
            } else {
                let below = self.alive_from(part, offset).take_while(|(at, _)| *at < to);
                below.for_each(|(_, amount)| sum.add(amount));
            }
            offset = part.end;
        }
        sum
    }

    /// The records that count between the first offset and the start of a chunk.
    pub(super) fn amount_below(&self, start: u64) -> Amount {
        if self.counts_live() {
            return self.alive_below(start);
        }
        let base = self.part(self.index_of(start)).map_or(self.end_bytes, |part| part.span.base);
        let records = start.saturating_sub(self.first.offset);
        Amount { records, bytes: base.saturating_sub(self.first_bytes) }
    }

    pub(super) fn alive(&self) -> Amount {
        self.compaction.as_ref().map_or_else(Amount::default, |compaction| compaction.alive)
    }

    /// The records of a part, from an offset on, that are not dead.
    fn alive_from<'a>(&'a self, part: Part<'a>, offset: u64) -> impl Iterator<Item = (u64, Amount)> {
        let from = self.locate(self.first.moved_to(offset));
        part.records(from).filter_map(move |found| {
            self.steps.add(1);
            let ordinal = part.losses.and_then(|losses| losses.ordinal(part.span.start, found.offset));
            let is_dead = part.losses.zip(ordinal).is_some_and(|(losses, ordinal)| losses.is_dead(ordinal));
            (!is_dead).then_some((found.offset, Amount::one(found.head.len as u64)))
        })
    }
}

impl Part<'_> {
    /// Its records that are not dead.
    fn alive(&self) -> Amount {
        let (dead, dead_records) = self.losses.map_or((0, 0), |losses| (losses.dead, losses.dead_records));
        let sparse = self.losses.and_then(Losses::sparse);
        let all = self.end.saturating_sub(self.span.start);
        let len = self.len();
        let records = sparse.map_or(if len == 0 { 0 } else { all }, SparseIndex::len);
        Amount { records: records.saturating_sub(dead_records), bytes: (len.saturating_sub(dead)) as u64 }
    }
}

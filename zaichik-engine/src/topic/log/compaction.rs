//! Which records of a log died before those in front of them, and which will.

use std::collections::VecDeque;

use super::deaths::Deaths;
use super::losses::Losses;
use crate::topic::amount::Amount;

/// Chunks are rewritten once they hold at least this many dead bytes together.
const RECLAIM_FROM: usize = 1_024;

/// The deaths in a log that do not follow the order of its records: by their own time to live, and with `latest`
/// compaction.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    pub(super) deaths: Deaths,
    /// Losses of the tail.
    pub(super) tail: Option<Box<Losses>>,
    /// Bytes of all losses.
    pub(super) losses_bytes: usize,
    /// Records that are not dead, from the first offset on.
    pub(super) alive: Amount,
    /// Starts of the chunks to be rewritten; an entry is stale if its chunk is not marked as queued.
    pub(super) queue: VecDeque<u64>,
    /// Dead bytes of those chunks.
    pub(super) queued_bytes: usize,
}

impl Compaction {
    /// A record was appended to a log whose first offset is `first`.
    #[inline(never)]
    pub(super) fn appended(&mut self, offset: u64, len: usize, own_death: u64, first: u64) {
        self.alive.add(Amount::one(len as u64));
        if own_death < u64::MAX {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            self.deaths.track_own(own_death, offset, len);
            // Limits may have removed records earlier; their entries must not accumulate.
            self.deaths.drop_stale(self.alive.records, first);
        }
    }

    /// Bytes allocated.
    #[inline(never)]
    pub(super) fn footprint(&self) -> usize {
        let queue = self.queue.capacity().saturating_mul(8);
        let own = size_of::<Self>().saturating_add(queue).saturating_add(self.losses_bytes);
        own.saturating_add(self.deaths.footprint())
    }

    /// The chunk with these losses was removed.
    pub(super) fn release_losses(&mut self, losses: Option<&Losses>) {
        let Some(losses) = losses else { return };
        self.losses_bytes = self.losses_bytes.saturating_sub(losses.footprint());
        if losses.is_queued {
            self.queued_bytes = self.queued_bytes.saturating_sub(losses.dead);
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.queued_bytes >= RECLAIM_FROM
    }

    /// Queues a chunk to be rewritten if more than half of it is dead.
    pub(super) fn enqueue(&mut self, losses: &mut Losses, start: u64, bytes: usize) {
        if !losses.is_queued && losses.dead > bytes / 2 {
            losses.is_queued = true;
            self.queue.push_back(start);
            self.queued_bytes = self.queued_bytes.saturating_add(losses.dead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_only_the_topic_ends_are_not_tracked() {
        let mut compaction = Compaction::default();
        let own = |compaction: &Compaction| (compaction.deaths.footprint(), compaction.deaths.next(0, false));
        compaction.appended(7, 20, u64::MAX, 0);
        assert_eq!(own(&compaction), (0, u64::MAX));
        compaction.appended(8, 20, u64::MAX - 1, 0);
        assert_eq!(own(&compaction), (40, u64::MAX - 1));
    }
}

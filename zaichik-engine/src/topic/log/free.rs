//! Freeing a log's memory.

use super::Log;
use super::chunk::Chunk;
use crate::topic::retired::Retired;

/// Table entries that stay allocated while the log is in use, so that tables do not shrink and grow constantly.
const SPARE_ENTRIES: usize = 128;

/// Steps of freeing a chunk.
const STEPS_PER_CHUNK: u64 = 4;

impl Log {
    /// Frees up to `budget` chunks without live records; returns whether there may be more.
    pub(crate) fn free(&mut self, budget: usize, retired: &mut Retired) -> bool {
        let mut left = budget;
        while left > 0
            && let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.end <= self.first.offset)
        {
            self.release(chunk, retired);
            left = left.saturating_sub(1);
        }
        if self.chunks.capacity() > self.chunks.len().saturating_mul(4).max(SPARE_ENTRIES) {
            self.chunks.shrink_to(self.chunks.len().saturating_mul(2));
        }
        if self.is_empty() && !self.tail.is_empty() {
            self.tail.clear();
            if let Some(compaction) = &mut self.compaction {
                let losses = compaction.tail.take();
                compaction.release_losses(losses.as_deref());
            }
        }
        if !self.is_latest && self.chunks.is_empty() && self.tail.is_empty() {
            // No record is left whose death could matter; those in the tables are dropped first, in steps.
            self.compaction = self.compaction.take().filter(|compaction| !compaction.deaths.is_empty());
        }
        self.steps.add((budget.saturating_sub(left) as u64).saturating_mul(STEPS_PER_CHUNK));
        left == 0
    }

    /// When memory can be freed next, if nothing else happens.
    pub(crate) fn next_death(&self, ttl: u64) -> u64 {
        let by_topic = match self.chunks.front() {
            Some(chunk) if chunk.end <= self.first.offset => 0,
            _ if ttl == 0 || ttl == u64::MAX => u64::MAX,
            Some(chunk) => chunk.span.last_timestamp.saturating_add(ttl),
            None if self.tail.is_empty() => u64::MAX,
            None => self.tail_span.last_timestamp.saturating_add(ttl),
        };
        let other = match &self.compaction {
            Some(_) if self.is_reclaimable() => 0,
            Some(compaction) => compaction.deaths.next(self.first.offset, self.is_empty()),
            None => u64::MAX,
        };
        by_topic.min(other)
    }

    /// Releases the memory of a removed chunk.
    fn release(&mut self, chunk: Chunk, retired: &mut Retired) {
        if let Some(cold) = chunk.cold {
            self.forget_cold(cold);
        }
        if let Some(compaction) = &mut self.compaction {
            compaction.release_losses(chunk.losses.as_deref());
        }
        if chunk.allocation == self.allocation {
            self.pieces = self.pieces.saturating_sub(1);
        } else if chunk.charge > 0 {
            self.chunk_charges = self.chunk_charges.saturating_sub(chunk.charge);
            retired.push(chunk.data, chunk.charge);
        }
    }
}

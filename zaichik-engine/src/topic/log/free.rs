//! Freeing a log's memory.

use std::cmp::Reverse;

use super::Log;
use super::chunk::Chunk;
use crate::topic::retired::Retired;

/// Table entries that stay allocated while the log is in use, so that tables do not shrink and grow constantly.
const SPARE_ENTRIES: usize = 128;

/// Steps of freeing a chunk.
const STEPS_PER_CHUNK: u64 = 4;

impl Log {
    /// Frees up to `budget` chunks without live records; returns whether there may be more.
    pub(crate) fn free(&mut self, now: u64, budget: usize, retired: &mut Retired) -> bool {
        let mut left = budget;
        while left > 0
            && let Some(&Reverse((death, start))) = self.own_deaths.peek()
            && death <= now
        {
            self.own_deaths.pop();
            self.free_hole(start, retired);
            left = left.saturating_sub(1);
        }
        while left > 0
            && let Some(chunk) = self.chunks.front()
            && (chunk.end <= self.first.offset || (chunk.data.is_empty() && chunk.losses.is_none()))
        {
            // Nothing precedes this hole, so its offsets can be removed.
            self.raise_first(chunk.end);
            if let Some(chunk) = self.chunks.pop_front() {
                self.release(chunk, retired);
            }
            left = left.saturating_sub(1);
        }
        if self.chunks.capacity() > self.chunks.len().saturating_mul(4).max(SPARE_ENTRIES) {
            self.chunks.shrink_to(self.chunks.len().saturating_mul(2));
        }
        if self.own_deaths.capacity() > self.own_deaths.len().saturating_mul(4).max(SPARE_ENTRIES) {
            self.own_deaths.shrink_to(self.own_deaths.len().saturating_mul(2));
        }
        if self.is_empty() && !self.tail.is_empty() {
            self.tail.clear();
            if let Some(compaction) = &mut self.compaction {
                let losses = compaction.tail.take();
                compaction.release_losses(losses.as_deref());
            }
        }
        self.steps.add((budget.saturating_sub(left) as u64).saturating_mul(STEPS_PER_CHUNK));
        left == 0
    }

    /// When memory can be freed next, if nothing else happens.
    pub(crate) fn next_death(&self, ttl: u64) -> u64 {
        let own = self.own_deaths.peek().map_or(u64::MAX, |Reverse((death, _))| *death);
        let by_topic = match self.chunks.front() {
            Some(chunk) if chunk.end <= self.first.offset => 0,
            _ if ttl == 0 || ttl == u64::MAX => u64::MAX,
            Some(chunk) => chunk.span.last_timestamp.saturating_add(ttl),
            None if self.tail.is_empty() => u64::MAX,
            None => self.tail_span.last_timestamp.saturating_add(ttl),
        };
        let other = match &self.compaction {
            // State of an earlier mode is removed with its chunks.
            _ if !self.is_latest => u64::MAX,
            Some(_) if self.is_reclaimable() => 0,
            Some(compaction) => compaction.deaths.next(self.first.offset),
            None => u64::MAX,
        };
        own.min(by_topic).min(other)
    }

    /// Releases the memory of a removed chunk.
    fn release(&mut self, chunk: Chunk, retired: &mut Retired) {
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

    /// Frees the bytes of a chunk whose records all expired by their own time to live; its offsets remain as a hole.
    fn free_hole(&mut self, start: u64, retired: &mut Retired) {
        let index = self.chunks.partition_point(|chunk| chunk.span.start < start);
        let Some(chunk) = self.chunks.get_mut(index).filter(|chunk| chunk.span.start == start) else {
            return;
        };
        let data = core::mem::take(&mut chunk.data);
        let charge = core::mem::take(&mut chunk.charge);
        self.chunk_charges = self.chunk_charges.saturating_sub(charge);
        if charge > 0 {
            retired.push(data, charge);
        }
    }
}

//! Chunks whose records are only in the store (rule B8).
//!
//! A chunk may be *cold* if nothing but its records is needed to read them later: all of them are durable and live as long
//! as the topic's time to live. What its span says is enough to expire it, to count it and to find offsets in it. So the
//! first offset never moves into a cold chunk: it stays at its start until the chunk is removed as a whole or is read back.

use bytes::Bytes;
use zaichik_proto::RecordHead;

use super::Log;
use super::chunk::{Chunk, Cold, count_records};
use crate::planted::{Defect, is_planted};
use crate::topic::amount::Amount;
use crate::topic::retired::Retired;

/// For how long a chunk stays in memory that was read back and not read to its end, in microseconds: who asked for it needs
/// a moment, and reads it in parts.
const HOT_MICROS: u64 = 1_000_000;

/// The outcome of an attempt to make a chunk cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// Its memory is freed, when no connection sends from it any more.
    Done,
    /// It was read back a short time ago, and nobody has read it to its end.
    Later,
    /// It is gone, or has to stay in memory.
    Never,
}

/// The records that were read back are not those of the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mismatch;

/// What limits have removed of a log: every record below an offset, and every one in front of which the topic had accepted
/// fewer bytes. Only a log whose first record is in a cold chunk may still have some of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dropped {
    offset: u64,
    base: u64,
}

impl Log {
    /// Makes the chunk that starts at this offset cold, as one with all that share its allocation.
    pub(crate) fn evict(&mut self, start: u64, now: u64, retired: &mut Retired) -> Eviction {
        self.evict_durable(start, self.durable_to(), now, retired)
    }

    /// Makes chunks of a log that is being restored cold, from the one after `from` on; returns the start of the last one.
    pub(crate) fn evict_restored(&mut self, from: u64, retired: &mut Retired) -> u64 {
        let mut last = from;
        loop {
            let next = self.chunks.partition_point(|chunk| chunk.span.start <= last);
            let Some(chunk) = self.chunks.get(next).filter(|chunk| chunk.allocation != self.allocation)
            else {
                return last;
            };
            last = chunk.span.start;
            let _ = self.evict_durable(last, u64::MAX, 0, retired);
        }
    }

    fn evict_durable(&mut self, start: u64, durable_to: u64, now: u64, retired: &mut Retired) -> Eviction {
        let index = self.index_of(start);
        let Some(chunk) = self.chunks.get_mut(index).filter(|chunk| chunk.span.start == start) else {
            return Eviction::Never;
        };
        if chunk.hot_until > now {
            return Eviction::Later;
        }
        let allocation = chunk.allocation;
        let pieces = || self.chunks.range(index..).take_while(|chunk| chunk.allocation == allocation);
        // Of a chunk that lacks records at the front, the rest can't be told apart.
        let from = self.staged_from().unwrap_or(0).max(self.first.offset);
        let is_whole = |chunk: &Chunk| chunk.span.start >= from && chunk.end <= durable_to;
        let may_be_cold = |chunk: &Chunk| {
            let is_plain = !chunk.span.has_own && chunk.losses.is_none();
            is_plain && is_whole(chunk) && !chunk.data.is_empty()
        };
        if allocation == self.allocation || self.compaction.is_some() || !pieces().all(may_be_cold) {
            return Eviction::Never;
        }
        let (count, len) = pieces().fold((0, 0), |(count, len): (usize, usize), chunk| {
            (count.saturating_add(1), len.saturating_add(chunk.data.len()))
        });
        let (mut end, mut last_timestamp, mut first_timestamp) = (start, 0, None);
        for chunk in self.chunks.range_mut(index..).take(count) {
            let head = RecordHead::peek(&chunk.data);
            let first = || head.map_or(chunk.span.last_timestamp, |head| head.timestamp);
            let _ = first_timestamp.get_or_insert_with(first);
            (end, last_timestamp) = (chunk.end, chunk.span.last_timestamp);
            let (data, charge) = (core::mem::take(&mut chunk.data), core::mem::take(&mut chunk.charge));
            self.chunk_charges = self.chunk_charges.saturating_sub(charge);
            if charge > 0 {
                retired.push(data, charge);
            }
        }
        self.chunks.drain(index.saturating_add(1)..index.saturating_add(count));
        if let Some(chunk) = self.chunks.get_mut(index) {
            (chunk.end, chunk.span.last_timestamp) = (end, last_timestamp);
            let first_timestamp = first_timestamp.unwrap_or(last_timestamp);
            chunk.cold = Some(Cold { len, first_timestamp });
        }
        self.count_cold(len);
        self.steps.add(count as u64);
        Eviction::Done
    }

    /// The records of a cold chunk were read back. A chunk that is gone or hot by now is left as it is; of one that was
    /// removed, the store may have nothing any more.
    pub(crate) fn warm(&mut self, (from, to): (u64, u64), now: u64, data: Bytes) -> Result<(), Mismatch> {
        let (index, first) = (self.index_of(from), self.first.offset);
        let is_it = |chunk: &&mut Chunk| (chunk.span.start, chunk.end) == (from, to) && first < to;
        let chunk = self.chunks.get_mut(index).filter(is_it);
        let Some(chunk) = chunk else { return Ok(()) };
        let Some(cold) = chunk.cold else { return Ok(()) };
        let records = to.saturating_sub(from);
        self.steps.add(records);
        if data.len() != cold.len || count_records(&data) != records {
            return Err(Mismatch);
        }
        (chunk.cold, chunk.charge) = (None, data.len());
        chunk.hot_until = now.saturating_add(HOT_MICROS);
        chunk.data = data;
        self.chunk_charges = self.chunk_charges.saturating_add(cold.len);
        self.forget_cold(cold);
        if (from..to).contains(&self.first.offset) {
            self.begin_at(self.first.offset);
        }
        // The caller finds out again how far the first offset is.
        self.owed_first = 0;
        Ok(())
    }

    /// The oldest records are to be removed until the rest is within the limits. If they are in a cold chunk, keeps how much
    /// that is: other records may die before the chunk is read back, and then less would have to go.
    pub(in crate::topic) fn owe_first(&mut self, limits: Amount) {
        if self.cold_at(self.first.offset).is_none() {
            return;
        }
        let over = self.amount_alive().without(limits);
        if over != Amount::default() {
            self.owe(over);
        }
    }

    /// What limits have removed from the first record on, if that is in a cold chunk: it is still there.
    pub(in crate::topic) fn owed(&self) -> Amount {
        if self.cold_at(self.first.offset).is_none() || is_planted(Defect::LimitPostponed) {
            return Amount::default();
        }
        let records = self.dropped.offset.saturating_sub(self.first.offset);
        Amount { records, bytes: self.dropped.base.saturating_sub(self.first_bytes) }
    }

    /// A log that is being restored still has records at the front that limits have removed; `false` if it has fewer.
    pub(in crate::topic) fn restore_owed(&mut self, owed: Amount) -> bool {
        self.owe(owed);
        owed.fits(self.amount())
    }

    /// Removes what limits have removed, unless that is only a part of a cold chunk.
    pub(in crate::topic) fn drop_owed(&mut self) {
        let Dropped { offset: to, base } = self.dropped;
        let is_owed = to > self.first.offset || base > self.first_bytes;
        if self.is_empty() || !is_owed || is_planted(Defect::LimitPostponed) {
            return;
        }
        let mut offset = self.first.offset;
        while let Some(part) = self.part(self.index_of(offset)) {
            if part.cold.is_some() {
                // After a restart, chunks begin elsewhere than before.
                let end_base = part.span.base.saturating_add(part.len() as u64);
                if part.end > to && end_base > base {
                    break;
                }
                offset = part.end;
                continue;
            }
            let records = part.records(self.locate(self.first.moved_to(offset)));
            let removed = records.take_while(|one| {
                self.steps.add(1);
                one.offset < to || one.base < base
            });
            offset = removed.last().map_or(offset, |one| one.offset.saturating_add(1));
            if offset < part.end || offset >= self.end {
                break;
            }
        }
        self.raise_first(offset);
    }

    /// Limits have removed at least so many records from the first one on.
    fn owe(&mut self, over: Amount) {
        self.dropped.offset = self.dropped.offset.max(self.first.offset.saturating_add(over.records));
        self.dropped.base = self.dropped.base.max(self.first_bytes.saturating_add(over.bytes));
    }

    /// The offsets of the cold chunk that has this one.
    #[inline]
    pub(crate) fn cold_at(&self, offset: u64) -> Option<(u64, u64)> {
        if self.has_cold() { self.cold_chunk_at(offset) } else { None }
    }

    #[cold]
    fn cold_chunk_at(&self, offset: u64) -> Option<(u64, u64)> {
        let chunk = self.chunks.get(self.index_of(offset))?;
        let exists = chunk.span.start <= offset && self.first.offset < chunk.end;
        (chunk.cold.is_some() && exists).then_some((chunk.span.start, chunk.end))
    }

    /// The offsets of cold chunks that follow each other from this offset on, up to `bytes` of them.
    pub(crate) fn cold_from(&self, offset: u64, bytes: usize) -> impl Iterator<Item = (u64, u64)> {
        let chunks = self.chunks.range(self.index_of(offset).min(self.chunks.len())..);
        let mut left = bytes;
        chunks.map_while(move |chunk| {
            left = left.checked_sub(chunk.cold?.len)?;
            Some((chunk.span.start, chunk.end))
        })
    }

    /// The offsets of the first chunk that is not expired as a whole, if it is cold and some of its records at the front are
    /// removed or dead: then they are not counted exactly.
    pub(crate) fn owed_front(&self, now: u64, ttl: u64) -> Option<(u64, u64)> {
        let is_finite = ttl > 0 && ttl < u64::MAX;
        let is_expired = |timestamp: u64| is_finite && timestamp.saturating_add(ttl) <= now;
        let front = self.index_of(self.first.offset);
        let expired = self.chunks.partition_point(|chunk| is_expired(chunk.span.last_timestamp));
        let chunk = self.chunks.get(front.max(expired))?;
        let cold = chunk.cold?;
        let is_removed = || self.owed_first > self.first.offset || self.owed() != Amount::default();
        let is_owed = is_expired(cold.first_timestamp) || (expired <= front && is_removed());
        (is_owed && self.first.offset < chunk.end).then_some((chunk.span.start, chunk.end))
    }

    /// The offsets of the chunk, if it is cold, that has the first record accepted at or after a time.
    pub(crate) fn cold_since(&self, time: u64) -> Option<(u64, u64)> {
        let index = self.chunks.partition_point(|chunk| chunk.span.last_timestamp < time);
        let chunk = self.chunks.get(index).filter(|chunk| chunk.cold.is_some())?;
        Some((chunk.span.start, chunk.end))
    }

    /// Whether the records that are within the limits begin behind the start of the cold chunk that has `from`, which was
    /// [found](Self::first_within) for them: where they do is known once the chunk is read back.
    pub(in crate::topic) fn is_divided(&self, from: u64, limits: Amount) -> bool {
        let Some((start, _)) = self.cold_at(from) else { return false };
        from > start || !self.amount_alive().without(self.amount_below(start)).fits(limits)
    }

    /// The offsets of the first cold chunk, not expired as a whole, of those in which the records begin that are within limits
    /// between these.
    pub(in crate::topic) fn cold_within(
        &self,
        (most, least): (Amount, Amount),
        now: u64,
        ttl: u64,
    ) -> Option<(u64, u64)> {
        let (from, to) = (self.first_within(most), self.first_within(least));
        let is_finite = ttl > 0 && ttl < u64::MAX;
        let is_expired = |timestamp: u64| is_finite && timestamp.saturating_add(ttl) <= now;
        let chunks = self.chunks.range(self.index_of(from).min(self.chunks.len())..);
        let concerned = chunks.take_while(|chunk| {
            let start = chunk.span.start;
            start < to || (start == to && self.is_divided(to, least))
        });
        let is_needed = |chunk: &&Chunk| chunk.cold.is_some() && !is_expired(chunk.span.last_timestamp);
        let chunk = concerned.inspect(|_| self.steps.add(1)).find(is_needed)?;
        Some((chunk.span.start, chunk.end))
    }

    /// Whether a chunk is cold; one that has lost all of its records has no bytes.
    #[inline]
    pub(crate) const fn has_cold(&self) -> bool {
        self.cold_chunks > 0
    }

    /// Bytes of records that are only in the store.
    pub(crate) const fn cold_bytes(&self) -> u64 {
        self.cold_bytes
    }

    /// A chunk became cold; `len` is the size of its records in bytes.
    pub(super) const fn count_cold(&mut self, len: usize) {
        self.cold_chunks = self.cold_chunks.saturating_add(1);
        self.cold_bytes = self.cold_bytes.saturating_add(len as u64);
    }

    /// A cold chunk is removed, or was read back.
    #[cold]
    pub(super) const fn forget_cold(&mut self, Cold { len, .. }: Cold) {
        self.cold_chunks = self.cold_chunks.saturating_sub(1);
        self.cold_bytes = self.cold_bytes.saturating_sub(len as u64);
    }

    /// The offset to which the first one can be raised: not into a cold chunk. Keeps what is owed.
    #[inline]
    pub(super) fn reachable(&mut self, offset: u64) -> u64 {
        if !self.has_cold() {
            return offset;
        }
        self.owed_first = self.owed_first.max(offset);
        match self.cold_at(offset) {
            Some((start, _)) => start.max(self.first.offset),
            None => offset,
        }
    }
}

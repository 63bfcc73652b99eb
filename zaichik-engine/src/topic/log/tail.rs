//! Allocations of a log: the one that the tail fills, and the chunks that share it.

use bytes::{Bytes, BytesMut};

use super::Log;
use super::chunk::{CHUNK, Chunk, Span};
use super::losses::Losses;
use crate::topic::retired::Retired;

/// Maximum chunks of one allocation; more are merged when it is full. A chunk costs about 100 bytes.
const MAX_PIECES: u32 = 16;

/// The number of chunks up to which their table doubles.
const DOUBLED_TO: usize = 1_024;

impl Log {
    /// Frees spare capacity of the tail's allocation, after nothing was appended for a while.
    pub(crate) fn seal(&mut self, retired: &mut Retired) {
        let live = self.chunks.iter().rev().take(self.pieces as usize).map(|chunk| chunk.data.len());
        let live = live.fold(self.tail.len(), usize::saturating_add);
        let wasteful = self.tail_charge > live.saturating_add(live / 4);
        self.close_allocation(wasteful, retired);
        self.tail = BytesMut::new();
        self.tail_charge = 0;
        self.chunks.shrink_to(self.chunks.len());
    }

    /// Whether [`seal`](Self::seal) has nothing to free.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.tail_charge == 0
    }

    /// Makes room for `need` bytes in the tail.
    pub(super) fn reserve_tail(&mut self, need: usize, retired: &mut Retired) {
        let wanted = self.tail.len().saturating_add(need);
        let doubled = self.tail_charge.saturating_mul(2).min(CHUNK);
        if !self.is_shared && !self.tail.is_empty() && wanted <= CHUNK {
            let more = doubled.max(wanted).saturating_sub(self.tail.len());
            self.tail.reserve(more);
            self.tail_charge = self.tail.capacity();
            return;
        }
        self.close_allocation(false, retired);
        self.tail.reserve(doubled.max(need));
        self.tail_charge = self.tail.capacity();
    }

    #[inline]
    pub(super) fn freeze_tail(&mut self) {
        let data = self.tail.split().freeze();
        let (span, end, allocation) = (self.tail_span, self.end, self.allocation);
        let losses = self.compaction.as_mut().and_then(|compaction| compaction.tail.take());
        self.add_chunk(Chunk { span, end, data, allocation, charge: 0, losses, cold: None, hot_until: 0 });
        self.pieces = self.pieces.saturating_add(1);
        self.is_shared = true;
    }

    /// Adds the last chunk. A table of many grows by a part of itself: the memory of its spare places is not for records.
    #[inline]
    pub(super) fn add_chunk(&mut self, chunk: Chunk) {
        if self.chunks.len() == self.chunks.capacity() {
            self.grow_chunks();
        }
        self.chunks.push_back(chunk);
    }

    #[cold]
    fn grow_chunks(&mut self) {
        let len = self.chunks.len();
        if len >= DOUBLED_TO {
            self.chunks.reserve_exact(len / 8);
        }
    }

    /// Closes the tail's allocation: its chunks keep it, or it is reused, or it is freed.
    pub(super) fn close_allocation(&mut self, merge: bool, retired: &mut Retired) {
        if !self.tail.is_empty() {
            self.freeze_tail();
        }
        let rest = core::mem::take(&mut self.tail);
        let charge = core::mem::take(&mut self.tail_charge);
        let pieces = core::mem::take(&mut self.pieces);
        self.is_shared = false;
        self.allocation = self.allocation.wrapping_add(1);
        if pieces == 0 {
            if charge > 0 {
                self.reuse(rest.freeze(), charge, retired);
            }
            return;
        }
        drop(rest);
        let own = || self.chunks.iter().rev().take(pieces as usize).any(|chunk| chunk.span.has_own);
        if merge || pieces > MAX_PIECES || (pieces > 1 && own()) {
            if let Some(handle) = self.merge(pieces) {
                self.reuse(handle, charge, retired);
            }
        } else if let Some(last) = self.chunks.back_mut() {
            last.charge = charge;
            self.chunk_charges = self.chunk_charges.saturating_add(charge);
        }
        self.allocation_closed();
    }

    /// Copies the live part of the last `pieces` chunks, which share an allocation, into one of exactly that size. Skipped
    /// records lie only between dead ones, so the rest has consecutive offsets. Returns a handle to the shared allocation.
    fn merge(&mut self, pieces: u32) -> Option<Bytes> {
        let at = self.chunks.len().saturating_sub(pieces as usize);
        let first = self.first.offset;
        let live = || self.chunks.range(at..).filter(|part| part.end > first);
        let len = live().map(|part| part.data.len()).fold(0, usize::saturating_add);
        let mut merged: Option<(Span, u64)> = None;
        let mut losses: Option<Box<Losses>> = None;
        let mut data = Vec::with_capacity(len);
        for Chunk { span: part, end, data: bytes, losses: lost, .. } in live() {
            data.extend_from_slice(bytes);
            let (span, last) = merged.get_or_insert((*part, *end));
            if let Some(lost) = lost {
                let records = end.saturating_sub(part.start);
                let ordinal = part.start.saturating_sub(span.start);
                losses.get_or_insert_default().absorb(lost, records, ordinal);
            }
            span.last_timestamp = span.last_timestamp.max(part.last_timestamp);
            span.has_own |= part.has_own;
            *last = *end;
        }
        if let Some(compaction) = &mut self.compaction {
            self.chunks.range(at..).for_each(|part| compaction.release_losses(part.losses.as_deref()));
            let footprint = losses.as_ref().map_or(0, |losses| losses.footprint());
            compaction.losses_bytes = compaction.losses_bytes.saturating_add(footprint);
        }
        let handle = self.chunks.pop_back().map(|part| part.data);
        self.chunks.truncate(at);
        if let Some((span, end)) = merged {
            let charge = data.capacity();
            self.chunk_charges = self.chunk_charges.saturating_add(charge);
            let allocation = self.allocation.wrapping_sub(1);
            let data = data.into();
            let chunk = Chunk { span, end, data, allocation, charge, losses, cold: None, hot_until: 0 };
            self.add_chunk(chunk);
        }
        handle
    }

    /// Reuses an allocation that no chunk needs as the next tail, unless readers still have slices of it.
    fn reuse(&mut self, handle: Bytes, charge: usize, retired: &mut Retired) {
        match handle.try_into_mut() {
            Ok(mut again) => {
                again.clear();
                self.tail = again;
            }
            Err(handle) => retired.push(handle, charge),
        }
    }
}

//! A topic's records, in wire form and in offset order, from the first that exists to the end.
//!
//! ```text
//!   chunk      chunk      chunk   tail
//! [.......]  [..x....]  [......] [....        ]
//!             ^ first                 ^ end
//! ```
//! Records are copied once, into the tail. When a reader needs the tail, what it holds is frozen into a chunk
//! that shares the tail's allocation; when the allocation is full, a new one begins. A delivery is a slice of a
//! chunk, so a batch costs one reference count however many subscribers take it. What lies below `first` does
//! not exist for anybody; its memory follows in [`Log::free`].

mod alive;
mod deaths;
mod losses;
mod read;
mod reclaim;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::{Bytes, BytesMut};
use zaichik_proto::{DeliveryHead, Limits, RECORD_TIMESTAMP_AT, RecordHead};

use self::alive::Amount;
pub(crate) use self::deaths::RecordInfo;
use self::losses::{Losses, SparseIndex};
use self::read::{RecordState, count_records, own_death};
use self::reclaim::Compaction;
use super::retired::Retired;
use crate::planted::{Defect, is_planted};

/// Bytes that an allocation of the log grows to; a larger record has one of its own. A whole one is a delivery: were it a
/// little larger, each would have to be measured record by record, and cut.
const CHUNK: usize = Limits::MAX_DELIVERY_FRAME as usize - DeliveryHead::LEN;

/// Pieces of one allocation that stay apart; more are merged when it is full. A piece costs about 100 bytes.
const MAX_PIECES: u32 = 16;

/// Entries of a table that stay allocated while the log is in use, so that it does not shrink and grow all the time.
const SPARE_ENTRIES: usize = 128;

/// The records of one topic.
#[derive(Debug, Default)]
pub(crate) struct Log {
    chunks: VecDeque<Chunk>,
    tail: BytesMut,
    /// Span of the records in `tail`; meaningless while that is empty.
    tail_span: Span,
    /// Number of the allocation behind `tail`.
    allocation: u32,
    /// Bytes of that allocation.
    tail_charge: usize,
    /// Chunks that share that allocation; they are the last ones.
    pieces: u32,
    /// Whether slices of that allocation were given out, perhaps of chunks that are gone.
    is_shared: bool,
    /// Bytes of all other allocations.
    chunk_charges: usize,
    /// When the chunks die whose records all have a time to live of their own, by chunk start.
    own_deaths: BinaryHeap<Reverse<(u64, u64)>>,
    /// Whether a newer record of a key supersedes the older ones.
    is_latest: bool,
    /// What that takes; there since it was asked for first.
    compaction: Option<Box<Compaction>>,
    first: Position,
    /// Timestamp of the first record; meaningless while there is none.
    first_timestamp: u64,
    /// When the first record dies by its own time to live; `u64::MAX` if it has none.
    first_own_death: u64,
    /// Bytes that the topic had accepted before the first record.
    first_bytes: u64,
    end: u64,
    end_bytes: u64,
    last_timestamp: u64,
}

/// What all records of a chunk have in common.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    /// Offset of the first record.
    start: u64,
    /// Bytes that the topic had accepted before it.
    base: u64,
    /// Timestamp of the last record.
    last_timestamp: u64,
    /// When the last of them dies by its own time to live; `u64::MAX` if one has none, or may die otherwise.
    own_death: u64,
    /// Whether any of them may die before the topic's time to live ends it.
    has_own: bool,
}

#[derive(Debug)]
struct Chunk {
    span: Span,
    /// Offset after the last record.
    end: u64,
    /// The records; empty when all died by their own time to live and the memory was freed.
    data: Bytes,
    allocation: u32,
    /// Bytes charged to this chunk: its whole allocation for the last chunk of one, else 0.
    charge: usize,
    /// What it lost to `latest` compaction.
    losses: Option<Box<Losses>>,
}

/// An offset, and where a record at or before it was seen last: record `index` of the chunk that starts at
/// offset `chunk` begins at `byte`. What was seen may be stale; the offset alone decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) offset: u64,
    chunk: u64,
    index: u32,
    byte: u32,
}

impl Position {
    /// An offset of which nothing was seen.
    pub(crate) const fn at(offset: u64) -> Self {
        Self { offset, chunk: u64::MAX, index: 0, byte: 0 }
    }

    /// Another offset, with the same knowledge.
    pub(crate) const fn moved_to(self, offset: u64) -> Self {
        Self { offset, ..self }
    }
}

/// How much a reader takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) records: u32,
    pub(crate) bytes: usize,
    /// Bytes that one record alone may have, above `bytes`.
    pub(crate) single: usize,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Pull {
    /// Records with consecutive offsets from the reader's position on.
    Records { data: Bytes, count: u32, next: Position },
    /// Nothing between the reader's position and `to` is live.
    Gap { to: u64 },
    /// Everything between the reader's position and `to` was superseded; nobody is told (semantics C6).
    Skip { to: u64 },
    /// The next record does not fit what the reader wants.
    NoRoom,
    /// The reader is at the end, or beyond it.
    End,
}

impl Log {
    /// A log whose first record will have this offset.
    pub(crate) fn starting_at(offset: u64) -> Self {
        Self { first: Position::at(offset), end: offset, ..Self::default() }
    }

    /// Appends a record that was checked. The caller made sure that an offset is left.
    pub(crate) fn append(
        &mut self,
        record: &[u8],
        own_ttl: Option<u64>,
        timestamp: u64,
        retired: &mut Retired,
    ) {
        if self.tail.capacity().saturating_sub(self.tail.len()) < record.len() {
            self.reserve_tail(record.len(), retired);
        }
        let timestamp = timestamp.max(self.last_timestamp);
        let own_death = own_ttl.map_or(u64::MAX, |ttl| timestamp.saturating_add(ttl));
        // With `latest` compaction chunks do not die as a whole.
        let span_death = if self.is_latest { u64::MAX } else { own_death };
        if self.tail.is_empty() {
            let (start, base, own_death) = (self.end, self.end_bytes, span_death);
            self.tail_span = Span { start, base, last_timestamp: timestamp, own_death, has_own: false };
        }
        let at = self.tail.len();
        self.tail.extend_from_slice(record);
        let stamp = self.tail.get_mut(at.saturating_add(RECORD_TIMESTAMP_AT)..);
        if let Some(place) = stamp.and_then(|rest| rest.first_chunk_mut()) {
            *place = timestamp.to_le_bytes();
        }
        self.tail_span.last_timestamp = timestamp;
        self.tail_span.own_death = self.tail_span.own_death.max(span_death);
        self.tail_span.has_own |= own_ttl.is_some() || self.is_latest;
        if self.is_empty() {
            self.first_timestamp = timestamp;
            self.first_own_death = own_death;
            self.first_bytes = self.end_bytes;
        }
        if self.is_latest
            && let Some(compaction) = &mut self.compaction
        {
            compaction.alive.add(Amount::one(record.len() as u64));
        }
        self.last_timestamp = timestamp;
        self.end = self.end.saturating_add(1);
        self.end_bytes = self.end_bytes.saturating_add(record.len() as u64);
    }

    /// Appends records without a time to live of their own, which `next` gives within a number of bytes. With `latest`
    /// compaction each has to be [appended](Self::append) by itself.
    #[inline]
    pub(crate) fn append_run<'a>(
        &mut self,
        timestamp: u64,
        retired: &mut Retired,
        mut next: impl FnMut(usize) -> Option<&'a [u8]>,
    ) {
        while let Some(record) = next(usize::MAX) {
            self.append(record, None, timestamp, retired);
            self.fill_tail(&mut next);
        }
    }

    /// Appends such records as long as the tail has room for them. One with the same timestamp was appended just now.
    #[inline]
    fn fill_tail<'a>(&mut self, next: &mut impl FnMut(usize) -> Option<&'a [u8]>) {
        let before = self.tail.len();
        let (mut room, mut count) = (self.tail.capacity().saturating_sub(before), 0u64);
        let stamp = self.last_timestamp.to_le_bytes();
        while let Some(record) = next(room) {
            let at = self.tail.len();
            self.tail.extend_from_slice(record);
            let place = self.tail.get_mut(at.saturating_add(RECORD_TIMESTAMP_AT)..);
            if let Some(place) = place.and_then(|rest| rest.first_chunk_mut()) {
                *place = stamp;
            }
            room = room.saturating_sub(record.len());
            count = count.saturating_add(1);
        }
        let bytes = self.tail.len().saturating_sub(before) as u64;
        self.end = self.end.saturating_add(count);
        self.end_bytes = self.end_bytes.saturating_add(bytes);
    }

    /// Accepts `count` records that nobody will ever read: they get offsets and nothing else. The log is empty.
    pub(crate) fn skip(&mut self, count: u64, timestamp: u64) {
        if !self.tail.is_empty() {
            self.freeze_tail();
        }
        self.end = self.end.saturating_add(count);
        self.last_timestamp = self.last_timestamp.max(timestamp);
        self.first = Position::at(self.end);
    }

    /// The first offset that exists.
    pub(crate) const fn first(&self) -> Position {
        self.first
    }

    /// The offset of the next record.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Records between the first and the end.
    pub(crate) const fn len(&self) -> u64 {
        self.end.saturating_sub(self.first.offset)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the records between the first and the end.
    pub(crate) const fn bytes(&self) -> u64 {
        if self.is_empty() { 0 } else { self.end_bytes.saturating_sub(self.first_bytes) }
    }

    /// Raises the first offset over the records that the topic's time to live, or their own, has ended.
    #[inline]
    pub(crate) fn expire(&mut self, now: u64, ttl: u64) {
        let now = now.saturating_sub(u64::from(is_planted(Defect::LateExpiry)));
        let by_topic = ttl > 0 && ttl < u64::MAX && self.first_timestamp.saturating_add(ttl) <= now;
        if !self.is_empty() && (by_topic || self.first_own_death <= now) {
            self.expire_front(now, by_topic.then_some(ttl));
        }
    }

    /// Nothing below `offset` exists from here on; an offset that is not above the first changes nothing.
    pub(crate) fn raise_first(&mut self, offset: u64) {
        let offset = offset.min(self.end);
        if offset <= self.first.offset {
            return;
        }
        if self.is_latest {
            let gone = self.alive_below(offset);
            if let Some(compaction) = &mut self.compaction {
                compaction.alive.subtract(gone);
            }
        }
        self.first = self.locate(self.first.moved_to(offset));
        let Some(part) = self.part(self.index_of(offset)) else {
            self.first_bytes = self.end_bytes;
            return;
        };
        let bytes = part.base_of(self.first);
        let head = part.data.get(self.first.byte as usize..).and_then(RecordHead::peek);
        // A hole has no heads left; the last record of it is as good, because time only goes on.
        let timestamp = head.map_or(part.span.last_timestamp, |head| head.timestamp);
        let death = match part.gone(offset) {
            Some(RecordState::Expired) => 0,
            Some(_) => u64::MAX,
            None => head.map_or(part.span.own_death, own_death),
        };
        (self.first_bytes, self.first_timestamp, self.first_own_death) = (bytes, timestamp, death);
    }

    /// Frees up to `budget` chunks that hold nothing live; says whether more may be free.
    pub(crate) fn free(&mut self, now: u64, budget: usize, retired: &mut Retired) -> bool {
        let mut left = budget;
        while left > 0 && self.own_deaths.peek().is_some_and(|Reverse((death, _))| *death <= now) {
            let Some(Reverse((_, start))) = self.own_deaths.pop() else {
                break;
            };
            self.free_hole(start, retired);
            left = left.saturating_sub(1);
        }
        while left > 0
            && let Some(chunk) = self.chunks.front()
            && (chunk.end <= self.first.offset || (chunk.data.is_empty() && chunk.losses.is_none()))
        {
            // Nothing stands before a hole here, so its offsets need not exist any more.
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
            // What an earlier mode left goes with its chunk.
            _ if !self.is_latest => u64::MAX,
            Some(_) if self.is_reclaimable() => 0,
            Some(compaction) => compaction.deaths.next(self.first.offset),
            None => u64::MAX,
        };
        own.min(by_topic).min(other)
    }

    /// Nothing was appended for a while: give back what the tail's allocation has too much.
    pub(crate) fn seal(&mut self, retired: &mut Retired) {
        let live = self.chunks.iter().rev().take(self.pieces as usize).map(|chunk| chunk.data.len());
        let live = live.fold(self.tail.len(), usize::saturating_add);
        let wasteful = self.tail_charge > live.saturating_add(live / 4);
        self.close_allocation(wasteful, retired);
        self.tail = BytesMut::new();
        self.tail_charge = 0;
        self.chunks.shrink_to(self.chunks.len());
        self.own_deaths.shrink_to(self.own_deaths.len());
    }

    /// Whether [`seal`](Self::seal) would give anything back.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.tail_charge == 0
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        let chunks = self.chunks.capacity().saturating_mul(size_of::<Chunk>());
        let deaths = self.own_deaths.capacity().saturating_mul(16);
        let compaction = self.compaction.as_ref().map_or(0, |compaction| compaction.footprint());
        let tables = chunks.saturating_add(deaths).saturating_add(compaction);
        self.tail_charge.saturating_add(self.chunk_charges).saturating_add(tables)
    }

    /// Whether the parts agree with each other and with what is kept about them.
    pub(crate) fn is_consistent(&self) -> bool {
        let charges = self.chunks.iter().map(|chunk| chunk.charge).fold(0, usize::saturating_add);
        let pieces = self.chunks.iter().filter(|chunk| chunk.allocation == self.allocation).count();
        let spans = self.chunks.iter().map(|chunk| (chunk.span.start, chunk.end));
        let tail = (!self.tail.is_empty()).then_some((self.tail_span.start, self.end));
        let mut last = 0;
        let ordered = spans.chain(tail).all(|(start, end)| {
            let fits = last <= start && start < end && end <= self.end;
            last = end;
            fits
        });
        let whole = self.chunks.iter().filter(|chunk| !chunk.data.is_empty()).all(|chunk| {
            let sparse = chunk.losses.as_ref().and_then(|losses| losses.sparse());
            let all = chunk.end.saturating_sub(chunk.span.start);
            count_records(&chunk.data) == sparse.map_or(all, SparseIndex::len)
        });
        ordered
            && whole
            && charges == self.chunk_charges
            && pieces == self.pieces as usize
            && self.first.offset <= self.end
            && self.tail.len() <= self.tail_charge
            && self.is_compaction_consistent()
    }

    #[inline(never)]
    fn expire_front(&mut self, now: u64, ttl: Option<u64>) {
        if let Some(ttl) = ttl {
            self.raise_first(self.end_of_retention(now, ttl));
        }
        if self.first_own_death <= now && !self.is_empty() {
            self.raise_first(self.end_of_state(RecordState::Expired, self.first, now));
        }
    }

    /// Makes the tail able to take `need` bytes.
    fn reserve_tail(&mut self, need: usize, retired: &mut Retired) {
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

    /// Ends the tail's allocation: its chunks keep it, or it is used again, or it is freed.
    fn close_allocation(&mut self, merge: bool, retired: &mut Retired) {
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
        if let Some(Chunk { span, .. }) = self.chunks.back()
            && span.own_death < u64::MAX
        {
            self.own_deaths.push(Reverse((span.own_death, span.start)));
            // Limits may have removed chunks before their time; their entries are not to pile up.
            if self.own_deaths.len() > self.chunks.len().saturating_mul(2).saturating_add(16) {
                let mortal =
                    self.chunks.iter().filter(|chunk| chunk.charge > 0 && chunk.span.own_death < u64::MAX);
                self.own_deaths =
                    mortal.map(|chunk| Reverse((chunk.span.own_death, chunk.span.start))).collect();
            }
        }
    }

    /// Copies what lives of the last `pieces` chunks, which share an allocation, into one of exactly that size.
    /// Records that were skipped lie between dead ones only, so the rest has consecutive offsets. Returns a handle to
    /// the shared allocation.
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
            span.own_death = span.own_death.max(part.own_death);
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
            self.chunks.push_back(Chunk { span, end, data: data.into(), allocation, charge, losses });
        }
        handle
    }

    /// An allocation that no chunk needs any more is the next tail, unless readers still have slices of it.
    fn reuse(&mut self, handle: Bytes, charge: usize, retired: &mut Retired) {
        match handle.try_into_mut() {
            Ok(mut again) => {
                again.clear();
                self.tail = again;
            }
            Err(handle) => retired.push(handle, charge),
        }
    }

    fn freeze_tail(&mut self) {
        let data = self.tail.split().freeze();
        let (span, end, allocation) = (self.tail_span, self.end, self.allocation);
        let losses = self.compaction.as_mut().and_then(|compaction| compaction.tail.take());
        self.chunks.push_back(Chunk { span, end, data, allocation, charge: 0, losses });
        self.pieces = self.pieces.saturating_add(1);
        self.is_shared = true;
    }

    /// Lets go of a chunk that was taken out.
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

    /// Frees the bytes of a chunk whose records all died by their own time to live; its offsets stay a hole.
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

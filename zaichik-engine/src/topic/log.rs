//! A topic's records, in wire form and in offset order, from the first offset to the end.
//!
//! ```text
//!   chunk      chunk      chunk   tail
//! [.......]  [..x....]  [......] [....        ]
//!             ^ first                 ^ end
//! ```
//! Records are copied once, into the tail. When a reader needs the tail, its contents are frozen into a chunk that shares
//! the tail's allocation; when the allocation is full, a new one begins. A delivery is a slice of a chunk, so it costs
//! one reference count per subscriber and no copy. Records below `first` no longer exist; [`Log::free`] frees their
//! memory.

mod alive;
mod check;
mod chunk;
mod cold;
mod compaction;
mod deaths;
mod free;
mod losses;
mod read;
mod reclaim;
mod restore;
mod rows;
mod staging;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::BytesMut;
use zaichik_proto::{RECORD_TIMESTAMP_AT, RecordHead};

use self::chunk::{Chunk, Cold, RecordState, Span, own_death};
use self::cold::Dropped;
pub(crate) use self::cold::{Eviction, Mismatch};

use self::compaction::Compaction;
pub(super) use self::deaths::RecordInfo;
use self::staging::Staging;
use super::amount::Amount;
use super::position::Position;
use super::retired::Retired;
use crate::steps::Steps;

/// Deaths that are settled in passing: more than one publish, on average, adds.
const SETTLED_AT_ONCE: usize = 64;

/// The records of one topic.
#[derive(Debug, Default)]
pub(crate) struct Log {
    chunks: VecDeque<Chunk>,
    tail: BytesMut,
    /// Span of the records in `tail`; meaningless while that is empty.
    tail_span: Span,
    /// Number of the tail's allocation.
    allocation: u32,
    /// Bytes of that allocation.
    tail_charge: usize,
    /// Number of chunks that share that allocation; they are the last ones.
    pieces: u32,
    /// Whether slices of that allocation were given out, perhaps of removed chunks.
    is_shared: bool,
    /// Bytes of all other allocations.
    chunk_charges: usize,
    /// Chunks whose records are only in the store.
    cold_chunks: usize,
    /// Bytes of these records.
    cold_bytes: u64,
    /// Whether a newer record of a key supersedes the older ones.
    is_latest: bool,
    /// Which records died, and which will. Present in `latest` mode, and while a record has its own time to live.
    compaction: Option<Box<Compaction>>,
    first: Position,
    /// While chunks are cold: the offset that the first one would have if none were.
    owed_first: u64,
    /// What limits have removed, also where the first offset can't say it.
    dropped: Dropped,
    /// Timestamp of the first record; meaningless while there is none.
    first_timestamp: u64,
    /// When the first record dies by its own time to live; `u64::MAX` if it has none.
    first_own_death: u64,
    /// Bytes that the topic had accepted before the first record.
    first_bytes: u64,
    end: u64,
    end_bytes: u64,
    last_timestamp: u64,
    /// What a store has of it.
    staging: Option<Box<Staging>>,
    /// Work done in this log.
    steps: Steps,
}

impl Log {
    /// A log whose first record will have this offset.
    pub(crate) fn starting_at(offset: u64) -> Self {
        Self { first: Position::at(offset), end: offset, ..Self::default() }
    }

    /// Appends a checked record. The caller ensures that an offset remains.
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
        if own_death < u64::MAX && self.compaction.is_none() {
            self.track_deaths();
        }
        if self.tail.is_empty() {
            let (start, base) = (self.end, self.end_bytes);
            self.tail_span = Span { start, base, last_timestamp: timestamp, has_own: false };
        }
        let at = self.tail.len();
        self.tail.extend_from_slice(record);
        let stamp = self.tail.get_mut(at.saturating_add(RECORD_TIMESTAMP_AT)..);
        if let Some(place) = stamp.and_then(|rest| rest.first_chunk_mut()) {
            *place = timestamp.to_le_bytes();
        }
        self.tail_span.last_timestamp = timestamp;
        self.tail_span.has_own |= own_ttl.is_some() || self.is_latest;
        if self.is_empty() {
            self.first_timestamp = timestamp;
            self.first_own_death = own_death;
            self.first_bytes = self.end_bytes;
        }
        if let Some(compaction) = &mut self.compaction {
            compaction.appended(self.end, record.len(), own_death, self.first.offset);
        }
        self.last_timestamp = timestamp;
        self.end = self.end.saturating_add(1);
        self.end_bytes = self.end_bytes.saturating_add(record.len() as u64);
    }

    /// Appends records without their own time to live; `next` returns one within a number of bytes. With `latest` compaction
    /// each record has to be [appended](Self::append) alone.
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

    /// Appends such records while the tail has room. A record with the same timestamp was just appended.
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
        if let Some(compaction) = &mut self.compaction {
            compaction.alive.add(Amount { records: count, bytes });
        }
        self.end = self.end.saturating_add(count);
        self.end_bytes = self.end_bytes.saturating_add(bytes);
    }

    /// Assigns offsets to `count` records that will never be read, and nothing else. The log is empty.
    pub(crate) fn skip(&mut self, count: u64, timestamp: u64) {
        if !self.tail.is_empty() {
            self.freeze_tail();
        }
        self.end = self.end.saturating_add(count);
        self.last_timestamp = self.last_timestamp.max(timestamp);
        self.first = Position::at(self.end);
    }

    /// The steps of work done in this log since the last call (rule S14).
    pub(crate) fn take_steps(&self) -> u64 {
        self.steps.take()
    }

    /// Counts work on behalf of this log's topic.
    pub(crate) fn spend(&self, steps: u64) {
        self.steps.add(steps);
    }

    /// The first offset that exists.
    pub(crate) const fn first(&self) -> Position {
        self.first
    }

    /// Whether records may die before those in front of them.
    pub(crate) const fn has_deaths(&self) -> bool {
        self.compaction.is_some()
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

    /// Records between the first and the end, and their bytes.
    #[inline]
    pub(in crate::topic) const fn amount(&self) -> Amount {
        Amount { records: self.len(), bytes: self.bytes() }
    }

    /// Bytes of the records between the first and the end.
    pub(crate) const fn bytes(&self) -> u64 {
        if self.is_empty() { 0 } else { self.end_bytes.saturating_sub(self.first_bytes) }
    }

    /// Raises the first offset over records whose time to live, the topic's or their own, has ended.
    #[inline]
    pub(crate) fn expire(&mut self, now: u64, ttl: u64) {
        let by_topic = ttl > 0 && ttl < u64::MAX && self.first_timestamp.saturating_add(ttl) <= now;
        if !self.is_empty() && (by_topic || self.first_own_death <= now) {
            self.expire_front(now, by_topic.then_some(ttl));
        }
    }

    /// Removes everything below `offset`; an offset that is not above the first changes nothing.
    pub(crate) fn raise_first(&mut self, offset: u64) {
        let offset = self.reachable(offset.min(self.end));
        if offset <= self.first.offset {
            return;
        }
        if self.compaction.is_some() {
            let gone = self.alive_below(offset);
            if let Some(compaction) = &mut self.compaction {
                compaction.alive.subtract(gone);
            }
        }
        self.begin_at(offset);
    }

    /// Sets the first offset, and finds its record.
    #[inline]
    fn begin_at(&mut self, offset: u64) {
        self.first = self.locate(self.first.moved_to(offset));
        let Some(part) = self.part(self.index_of(offset)) else {
            self.first_bytes = self.end_bytes;
            return;
        };
        if let Some(&Cold { first_timestamp, .. }) = part.cold {
            (self.first_bytes, self.first_timestamp, self.first_own_death) =
                (part.span.base, first_timestamp, u64::MAX);
            return;
        }
        let bytes = part.base_of(self.first);
        let head = part.data.get(self.first.byte as usize..).and_then(RecordHead::peek);
        // A hole has no record heads; its last timestamp serves instead, because timestamps never fall.
        let timestamp = head.map_or(part.span.last_timestamp, |head| head.timestamp);
        let death = match part.gone(offset) {
            Some(RecordState::Expired) => 0,
            Some(_) => u64::MAX,
            None => head.map_or(u64::MAX, own_death),
        };
        (self.first_bytes, self.first_timestamp, self.first_own_death) = (bytes, timestamp, death);
    }

    /// Bytes allocated, without those that are used [to know what is staged](Self::staging_footprint).
    pub(crate) fn footprint(&self) -> usize {
        let chunks = self.chunks.capacity().saturating_mul(size_of::<Chunk>());
        let compaction = self.compaction.as_ref().map_or(0, |compaction| compaction.footprint());
        let tables = chunks.saturating_add(compaction);
        self.tail_charge.saturating_add(self.chunk_charges).saturating_add(tables)
    }

    #[inline(never)]
    fn expire_front(&mut self, now: u64, ttl: Option<u64>) {
        if let Some(ttl) = ttl {
            self.raise_first(self.end_of_retention(now, ttl));
        }
        // While deaths are not settled, finding the first live record could be a long walk.
        if self.first_own_death <= now && !self.is_empty() && self.settle(now, SETTLED_AT_ONCE) {
            self.raise_first(self.end_of_state(RecordState::Expired, self.first, now));
        }
    }
}

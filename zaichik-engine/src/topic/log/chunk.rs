//! The parts of a log, which are chunks and the tail, and the records in them.

use bytes::Bytes;
use zaichik_proto::{DeliveryHead, Limits, RecordHead, Timestamp};

use super::losses::{Extent, Losses};
use crate::topic::position::Position;

/// Maximum size of an allocation of the log; a larger record has a separate one. A whole allocation fits a delivery: if
/// it were larger, every delivery would have to be measured record by record and split.
pub(super) const CHUNK: usize = Limits::MAX_DELIVERY_FRAME as usize - DeliveryHead::LEN;

/// Facts about all records of a chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    /// Offset of the first record.
    pub(super) start: u64,
    /// Bytes that the topic had accepted before it.
    pub(super) base: u64,
    /// Timestamp of the last record.
    pub(super) last_timestamp: u64,
    /// Whether any of them may die before the topic's time to live ends.
    pub(super) has_own: bool,
}

impl Span {
    pub(super) const fn last_timestamp(&self) -> Timestamp {
        Timestamp::from_micros(self.last_timestamp)
    }
}

#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) span: Span,
    /// Offset after the last record.
    pub(super) end: u64,
    /// The records.
    pub(super) data: Bytes,
    pub(super) allocation: u32,
    /// Bytes charged to this chunk: its whole allocation for the last chunk of one, else 0.
    pub(super) charge: usize,
    /// Its records that `latest` compaction marked or removed.
    pub(super) losses: Option<Box<Losses>>,
    /// Set if its records are only in the store; then `data` is empty.
    pub(super) cold: Option<Cold>,
    /// It was read back, and stays in memory until this time if nobody reads it to its end before.
    pub(super) hot_until: u64,
}

/// What is known of a cold chunk besides its span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cold {
    /// Bytes of its records.
    pub(super) len: usize,
    pub(super) first_timestamp: u64,
}

/// A chunk, or the tail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) span: Span,
    pub(super) end: u64,
    pub(super) data: &'a [u8],
    pub(super) losses: Option<&'a Losses>,
    pub(super) cold: Option<&'a Cold>,
}

/// The state of an offset that is not below the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordState {
    Live,
    /// Its own time to live is over.
    Expired,
    /// Superseded by a newer record of its key, or a tombstone whose time to live is over.
    Superseded,
}

/// A record found in a part.
pub(super) struct Found {
    pub(super) offset: u64,
    /// Bytes that the topic had accepted before it.
    pub(super) base: u64,
    pub(super) head: RecordHead,
}

impl<'a> Part<'a> {
    /// Whether it may hold dead records at or above the log's first offset.
    #[inline]
    pub(super) const fn may_hold_dead(&self) -> bool {
        self.span.has_own || (self.data.is_empty() && self.cold.is_none())
    }

    /// Bytes of its records, wherever they are.
    pub(super) fn len(&self) -> usize {
        self.cold.map_or(self.data.len(), |cold| cold.len)
    }

    /// The state of an offset whose record was removed from this part; `None` if it is present, or if the whole part is
    /// a hole.
    pub(super) fn gone(&self, offset: u64) -> Option<RecordState> {
        let sparse = self.losses.and_then(Losses::sparse)?;
        if sparse.extents().get(sparse.extent_from(offset)).is_some_and(|extent| extent.start <= offset) {
            return None;
        }
        let (is_expired, _) = sparse.gone(offset, self.end);
        Some(if is_expired { RecordState::Expired } else { RecordState::Superseded })
    }

    /// Bytes that the topic had accepted before a position in this part; for a removed record, before the next one.
    pub(super) fn base_of(&self, at: Position) -> u64 {
        let Some(sparse) = self.losses.and_then(Losses::sparse) else {
            return self.span.base.saturating_add(u64::from(at.byte));
        };
        let index = sparse.extent_from(at.offset);
        let extent = sparse.extents().get(index);
        if let Some(extent) = extent.filter(|extent| extent.start <= at.offset) {
            return extent.base.saturating_add(u64::from(at.byte.saturating_sub(extent.byte)));
        }
        // The start of a hole is known; the sizes of the records in it are not.
        let before = index.checked_sub(1).and_then(|index| sparse.extents().get(index));
        match before {
            Some(Extent { end, base, byte, stop, .. }) if *end == at.offset => {
                base.saturating_add(u64::from(stop.saturating_sub(*byte)))
            }
            None if at.offset <= self.span.start => self.span.base,
            _ => extent.map_or_else(|| sparse.end_base(), |extent| extent.base),
        }
    }

    /// The records present from a position on, in order.
    pub(super) fn records(&self, at: Position) -> Records<'a> {
        let (data, offset, byte, base) = (self.data, at.offset, at.byte as usize, self.base_of(at));
        let Some(sparse) = self.losses.and_then(Losses::sparse) else {
            return Records { data, extents: &[], offset, byte, base, end: u64::MAX };
        };
        let extents = sparse.extents().get(sparse.extent_from(offset)..).unwrap_or_default();
        match extents.split_first().filter(|(extent, _)| extent.start <= offset) {
            Some((extent, extents)) => Records { data, extents, offset, byte, base, end: extent.end },
            None => Records { data, extents, offset, byte, base, end: offset },
        }
    }
}

/// An iterator over records of a part.
pub(super) struct Records<'a> {
    data: &'a [u8],
    /// The extents after the current one.
    extents: &'a [Extent],
    offset: u64,
    byte: usize,
    base: u64,
    /// Where the current extent ends; a part that is not sparse is one extent.
    end: u64,
}

impl Iterator for Records<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.offset >= self.end {
            let (extent, extents) = self.extents.split_first()?;
            (self.offset, self.byte, self.base) = (extent.start, extent.byte as usize, extent.base);
            (self.end, self.extents) = (extent.end, extents);
        }
        let head = self.data.get(self.byte..).and_then(RecordHead::peek)?;
        let found = Found { offset: self.offset, base: self.base, head };
        self.offset = self.offset.saturating_add(1);
        self.byte = self.byte.saturating_add(head.len);
        self.base = self.base.saturating_add(head.len as u64);
        Some(found)
    }
}

/// When a record's own time to live ends; `u64::MAX` if it has none.
#[inline]
pub(super) fn own_death(head: RecordHead) -> u64 {
    head.ttl_micros.map_or(u64::MAX, |ttl| head.timestamp.saturating_add(ttl))
}

pub(super) fn count_records(mut data: &[u8]) -> u64 {
    let mut count = 0u64;
    while let Some(head) = RecordHead::peek(data) {
        count = count.saturating_add(1);
        data = data.get(head.len..).unwrap_or_default();
    }
    count
}

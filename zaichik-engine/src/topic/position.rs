//! A reader's position in a log, how much it accepts, and what it receives.

use bytes::Bytes;

/// An offset, and a hint to its place: record `index` of the chunk that starts at offset `chunk` begins at `byte`, and
/// is at or before the offset. The hint may be stale; only the offset is binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) offset: u64,
    pub(super) chunk: u64,
    pub(super) index: u32,
    pub(super) byte: u32,
}

impl Position {
    /// An offset without a hint.
    pub(crate) const fn at(offset: u64) -> Self {
        Self { offset, chunk: u64::MAX, index: 0, byte: 0 }
    }

    /// Another offset with the same hint.
    pub(crate) const fn moved_to(self, offset: u64) -> Self {
        Self { offset, ..self }
    }
}

/// How much a reader accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) records: u32,
    pub(crate) bytes: usize,
    /// Maximum bytes of a record that is delivered alone although it exceeds `bytes`.
    pub(crate) single: usize,
}

/// What a reader receives.
#[derive(Debug)]
pub(crate) enum Pull {
    /// Records with consecutive offsets from the reader's position on.
    Records { data: Bytes, count: u32, next: Position },
    /// Nothing between the reader's position and `to` is live.
    Gap { to: u64 },
    /// Everything between the reader's position and `to` was superseded; no gap is reported (rule C6).
    Skip { to: u64 },
    /// The next record is in a chunk that is only in the store: that of these offsets.
    Cold { from: u64, to: u64 },
    /// The next record exceeds what the reader accepts.
    NoRoom,
    /// The reader is at the end, or beyond it.
    End,
}

//! Decides what of the oldest segment is written again, so that the segment can be removed.
//!
//! Rows that live for long keep their segment, with everything in it that is superfluous. When the superfluous part of the
//! journal is too large, what lives in the oldest segment is written again, with later commits. Segments become
//! superfluous in their order, so a row moves at most once while all of the journal is rewritten, and what removed a row
//! is never gone before the row.

use crate::index::{Index, Key, Place, Usage};
use crate::outline::Outline;
use crate::planted::{Defect, is_planted};
use crate::table::{Entries, Entry, row_bytes};

/// A commit may move this many times the bytes that the commits before it have brought.
pub const MOVED_PER_BROUGHT: u64 = 2;
/// What a commit moves at most in bytes, but for a single longer row.
pub const MAX_MOVED: u64 = 4 << 20;

/// A segment is cheap to clean if at most this part of it lives.
const CHEAP: u64 = 16;

/// The segment that is being cleaned.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    segment: u64,
    /// What lived in it when cleaning began, the next row last.
    rows: Vec<Moving>,
    credit: u64,
    moved: u64,
}

/// A row that is to be moved.
#[derive(Debug, Clone)]
pub(crate) struct Moving {
    pub(crate) key: Key,
    pub(crate) head: Box<[u8]>,
    pub(crate) place: Place,
}

/// What is moved with a commit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moves {
    /// The number of rows of the segment that are done with it.
    rows: usize,
    bytes: u64,
}

impl Cleaning {
    /// The segment whose outline is needed to go on, if there is too much that is superfluous.
    ///
    /// That is: more than two fifths of what lives, and more than one segment. If all that lives stays for good, cleaning
    /// keeps up with what is written at one half. Before that, when rows without anything superfluous between them are
    /// moved for the first time, it grows to nine tenths. If next to nothing in the oldest segment lives, a fifth is too
    /// much: a few rows that stay among many that go then cost less space, and hardly anything is moved.
    pub(crate) fn wants(&self, index: &Index, active: u64, segment_bytes: u64) -> Option<u64> {
        let (oldest, usage) = index.oldest_live().filter(|(oldest, _)| *oldest < active)?;
        let total = index.total();
        let is_cheap = usage.live.saturating_mul(CHEAP) <= usage.written;
        let fifths = if is_cheap { 1 } else { 2 };
        let allowed = total.live.saturating_add((total.live / 5).saturating_mul(fifths));
        (self.rows.is_empty() && total.written > allowed.saturating_add(segment_bytes)).then_some(oldest)
    }

    /// The same while there is no space but `reserve` bytes: what is moved has to fit, and to free as much again.
    pub(crate) fn wants_space(&self, index: &Index, active: u64, reserve: u64) -> Option<u64> {
        let (oldest, usage) = index.oldest_live().filter(|(oldest, _)| *oldest < active)?;
        let Usage { written, live } = usage;
        (self.rows.is_empty() && live <= reserve / 2 && live <= written / 2).then_some(oldest)
    }

    /// Whether rows are still to be moved.
    pub(crate) const fn is_under_way(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The next commit may move as much as any, whatever those before it brought: space is needed.
    pub(crate) const fn hurry(&mut self) {
        self.credit = MAX_MOVED;
    }

    /// Begins with this segment.
    pub(crate) fn start(&mut self, outline: &Outline, index: &Index) {
        self.segment = outline.segment();
        self.rows.clear();
        for (at, _, table) in outline.frames() {
            let values = at.saturating_add(crate::frame::HEADER as u64);
            for entry in Entries::new(table).flatten() {
                let Entry::Put { key, at, head, .. } = entry else { continue };
                let at = values.saturating_add(u64::from(at));
                let is_it =
                    |place: &Place| u64::from(place.segment) == self.segment && u64::from(place.at) == at;
                if let Some(place) = index.get(key).filter(is_it) {
                    let head = if is_planted(Defect::HeadNotMoved) { &[] } else { head };
                    self.rows.push(Moving { key: Key::copy(key), head: head.into(), place });
                }
            }
        }
        self.rows.reverse();
        if is_planted(Defect::CleaningDropsRow) {
            self.rows.pop();
        }
    }

    /// Nothing is to be cleaned now: what commits brought does not count for later.
    pub(crate) fn rest(&mut self) {
        if self.rows.is_empty() {
            self.credit = 0;
        }
    }

    /// The rows that the next commit moves, and a summary for [`Self::moved`].
    pub(crate) fn plan(&self, index: &Index) -> (Vec<Moving>, Moves) {
        let mut moves = Moves::default();
        let mut rows = Vec::new();
        for row in self.rows.iter().rev() {
            if index.get(row.key.as_slice()) == Some(row.place) {
                let bytes = row_bytes(row.key.as_slice(), row.place.len);
                let sum = moves.bytes.saturating_add(bytes);
                let is_alone = moves.bytes == 0 && self.credit >= MAX_MOVED;
                if sum > self.credit && !is_alone {
                    break;
                }
                moves.bytes = sum;
                rows.push(row.clone());
            }
            moves.rows = moves.rows.saturating_add(1);
        }
        (rows, moves)
    }

    /// A commit is durable that moved these rows and added `brought` bytes of its own.
    pub(crate) fn moved(&mut self, moves: Moves, brought: u64) {
        self.rows.truncate(self.rows.len().saturating_sub(moves.rows));
        self.moved = self.moved.saturating_add(moves.bytes);
        let earned = brought.saturating_mul(MOVED_PER_BROUGHT);
        self.credit = self.credit.saturating_sub(moves.bytes).saturating_add(earned).min(MAX_MOVED);
    }

    /// The bytes that were moved up to now.
    pub(crate) const fn moved_bytes(&self) -> u64 {
        self.moved
    }

    /// The oldest segment that is still needed.
    pub(crate) fn oldest(&self, index: &Index, active: u64) -> u64 {
        let oldest = index.oldest_live().map_or(active, |(oldest, _)| oldest);
        if is_planted(Defect::CleaningDropsRow) && self.rows.is_empty() && self.segment < active {
            let next = self.segment.saturating_add(1);
            return oldest.clamp(next, active.max(next));
        }
        oldest.min(active)
    }
}

//! What a store has of a log, and the operations that bring it up to date.
//!
//! Rows are never looked at again: what is staged is known by its end, and by what was rewritten or marked since. A row
//! of records lies within one part of the log, and parts are only ever joined, so it is removed as a whole.

mod cuts;
mod dirty;
mod slices;

use zaichik_proto::Timestamp;

use self::cuts::Cuts;
use self::dirty::{Blocks, Ranges};
use super::Log;
use crate::store::{Key, Op, RecordsRow, Row};
use crate::topic::position::Position;

/// What was staged of a log.
#[derive(Debug, Default)]
pub(super) struct Staging {
    /// The first offset that has a row.
    from: u64,
    /// The first offset that was not staged.
    to: Position,
    /// Bytes that the topic had accepted before it.
    to_base: u64,
    /// The offset up to which everything is durable.
    durable_to: u64,
    /// The offset up to which chunks were passed on as [durable](Log::committed).
    passed_to: u64,
    /// Where trims are divided.
    cuts: Cuts,
    /// Offsets of the chunks that were rewritten since.
    rewritten: Ranges,
    /// Blocks whose marks changed since.
    marked: Blocks,
}

impl Log {
    /// Begins to track what changes in rows; no row of the log is staged so far.
    pub(in crate::topic) fn begin_storing(&mut self) {
        let from = self.rows_from();
        let mut staging = Staging { from, to: Position::at(from), ..Staging::default() };
        staging.rewritten.add(0, self.end);
        staging.marked.add_all();
        self.staging = Some(Box::new(staging));
    }

    /// The same for a log that was restored: all its rows are staged.
    pub(in crate::topic) fn continue_storing(&mut self) {
        let mut staging = Staging {
            to: Position::at(self.end),
            to_base: self.end_bytes,
            durable_to: self.end,
            ..Staging::default()
        };
        let mut parts = (0..=self.chunks.len()).filter_map(|index| self.part(index)).peekable();
        staging.from = parts.peek().map_or(self.end, |part| part.span.start);
        parts.for_each(|part| staging.cuts.add(part.span.start, part.len() as u64));
        self.staging = Some(Box::new(staging));
    }

    /// Appends the operations that bring a store from what was staged last to the present state. Passes on each range of
    /// offsets of which some records may have lost their row, or never had one.
    pub(in crate::topic) fn stage(&mut self, topic: u32, ops: &mut Vec<Op>) -> Vec<(u64, u64)> {
        let Some(mut staging) = self.staging.take() else {
            return Vec::new();
        };
        if staging.to.offset < self.end && !self.is_empty() && !self.tail.is_empty() {
            self.freeze_tail();
        }
        let mut gone = Vec::new();
        let before = staging.from;
        self.stage_front(topic, &mut staging, ops);
        if staging.from > before {
            gone.push((before, staging.from));
        }
        for (from, to) in staging.rewritten.take() {
            gone.push((from, to));
            self.stage_rewritten(topic, &mut staging, (from, to), ops);
        }
        self.stage_rows(topic, &mut staging, ops);
        self.stage_marks(topic, &mut staging, ops);
        (staging.to, staging.to_base) = (Position::at(self.end), self.end_bytes);
        self.staging = Some(staging);
        gone
    }

    /// Everything that was staged is durable. Passes on the offset of the first chunk of each allocation that became so.
    pub(in crate::topic) fn committed(&mut self, mut each: impl FnMut(u64)) {
        let Some(staging) = &mut self.staging else { return };
        staging.durable_to = staging.to.offset;
        let first = self.chunks.partition_point(|chunk| chunk.end <= staging.passed_to);
        let mut last =
            first.checked_sub(1).and_then(|index| self.chunks.get(index)).map(|chunk| chunk.allocation);
        for chunk in self.chunks.range(first..) {
            if chunk.end > staging.durable_to || chunk.allocation == self.allocation {
                break;
            }
            staging.passed_to = chunk.end;
            if last.replace(chunk.allocation) != Some(chunk.allocation) && chunk.cold.is_none() {
                each(chunk.span.start);
            }
        }
    }

    /// The offset up to which everything is durable; 0 without a store.
    pub(super) fn durable_to(&self) -> u64 {
        self.staging.as_ref().map_or(0, |staging| staging.durable_to)
    }

    /// The first offset that has a staged row; `None` without [`begin_storing`](Self::begin_storing).
    pub(in crate::topic) fn staged_from(&self) -> Option<u64> {
        self.staging.as_ref().map(|staging| staging.from)
    }

    /// Bytes of the records that were not staged.
    pub(in crate::topic) fn unstaged(&self) -> u64 {
        let staging = self.staging.as_ref().filter(|_| !self.is_empty());
        staging.map_or(0, |staging| self.end_bytes.saturating_sub(staging.to_base.max(self.first_bytes)))
    }

    /// A chunk with these offsets was rewritten.
    pub(super) fn rewrote(&mut self, from: u64, to: u64) {
        if let Some(staging) = &mut self.staging {
            staging.rewritten.add(from, to);
        }
    }

    /// The mark of a record may have changed.
    pub(super) fn marked(&mut self, offset: u64) {
        if let Some(staging) = &mut self.staging {
            staging.marked.add(Row::block_of(offset));
        }
    }

    /// Bytes allocated to know what is staged.
    #[cold]
    pub(in crate::topic) fn staging_footprint(&self) -> usize {
        let of = |staging: &Staging| {
            let lists = staging.cuts.footprint().saturating_add(staging.rewritten.footprint());
            lists.saturating_add(staging.marked.footprint()).saturating_add(size_of::<Staging>())
        };
        self.staging.as_deref().map_or(0, of)
    }

    /// Trims what lies in front of the first part that is needed.
    fn stage_front(&self, topic: u32, staging: &mut Staging, ops: &mut Vec<Op>) {
        let is_all_gone = staging.to.offset <= self.first.offset;
        let from = if is_all_gone { self.first.offset } else { self.rows_from() };
        if from <= staging.from {
            return;
        }
        // The block in which the rows began is removed as well.
        if staging.from < staging.to.offset {
            staging.cuts.trim(topic, Row::block_of(staging.from), from.min(staging.to.offset), ops);
        }
        staging.marked.add_one(Row::block_of(from));
        staging.from = from;
        if is_all_gone {
            staging.to = self.first;
        }
    }

    /// Replaces the rows of a chunk that was rewritten.
    fn stage_rewritten(&self, topic: u32, staging: &mut Staging, (from, to): (u64, u64), ops: &mut Vec<Op>) {
        let from = from.max(staging.from);
        if from >= to {
            return;
        }
        // The trim removes marks of blocks that begin in its range, and not those of the block that it begins in.
        staging.marked.add_one(Row::block_of(from));
        staging.marked.add_one(Row::block_of(to));
        if self.is_latest {
            self.present_blocks(from, to, |block| staging.marked.add_one(block));
        }
        if from < staging.to.offset {
            staging.cuts.trim(topic, from, to.min(staging.to.offset), ops);
            self.slices(topic, Position::at(from), to, |row| staging.cuts.put(row, ops));
            if to > staging.to.offset {
                staging.to = Position::at(to);
            }
        }
    }

    /// Puts the records that were not staged.
    fn stage_rows(&self, topic: u32, staging: &mut Staging, ops: &mut Vec<Op>) {
        let from = staging.to;
        self.slices(topic, from, self.end, |row| staging.cuts.put(row, ops));
    }

    /// Puts the marks of the blocks in which some changed.
    fn stage_marks(&self, topic: u32, staging: &mut Staging, ops: &mut Vec<Op>) {
        if staging.marked.is_all() {
            self.present_blocks(staging.from, self.end, |block| staging.marked.add_one(block));
        }
        let blocks = staging.marked.take();
        // Marks in front of the first row were trimmed.
        let blocks = blocks.into_iter().filter(|block| block.saturating_add(Row::BLOCK) > staging.from);
        for start in blocks.filter(|_| self.is_latest) {
            self.spend(Row::BLOCK);
            ops.push(match self.marks_row(topic, start) {
                Some(row) => Op::Put { row: Row::Marks(row) },
                None => Op::Remove { key: Key::Marks { topic, start } },
            });
        }
    }
}

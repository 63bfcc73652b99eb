//! The rows of a log: one for each chunk, and one for the tail.

use bytes::Bytes;

use super::Log;
use super::chunk::{Chunk, Part};
use super::losses::SparseIndex;
use crate::store::{Mark, MarkedRun, MarksRow, RecordsRow, Row, Run, RunKind};

impl Log {
    /// The first offset of its rows: the start of the part with the first record; the end if there is no record.
    pub(in crate::topic) fn rows_from(&self) -> u64 {
        let part = self.part(self.index_of(self.first.offset)).filter(|_| !self.is_empty());
        part.map_or(self.end, |part| part.span.start)
    }

    /// Its records, in order.
    pub(in crate::topic) fn records_rows(&self, topic: u32) -> impl Iterator<Item = RecordsRow> {
        let exists = |chunk: &&Chunk| chunk.end > self.first.offset && chunk.cold.is_none();
        let chunks = self.chunks.iter().filter(exists);
        let chunks = chunks.map(move |chunk| chunk.row(topic));
        let tail = (!self.tail.is_empty() && !self.is_empty()).then(|| RecordsRow {
            topic,
            start: self.tail_span.start,
            last_timestamp: self.tail_span.last_timestamp(),
            runs: vec![present(self.end.saturating_sub(self.tail_span.start))],
            data: Bytes::copy_from_slice(&self.tail),
        });
        chunks.chain(tail)
    }

    /// The marks of its records, in order.
    pub(in crate::topic) fn marks_rows(&self, topic: u32) -> impl Iterator<Item = MarksRow> {
        let mut from = self.first.offset;
        core::iter::from_fn(move || {
            let (offset, _) = self.marks(from, self.end).next()?;
            let row = self.marks_row(topic, Row::block_of(offset))?;
            from = row.start.saturating_add(Row::BLOCK);
            Some(row)
        })
    }

    /// The marks of the block of offsets that begins at `start`; `None` if it has none.
    pub(super) fn marks_row(&self, topic: u32, start: u64) -> Option<MarksRow> {
        let mut runs: Vec<MarkedRun> = Vec::new();
        for (offset, mark) in self.marks(start, start.saturating_add(Row::BLOCK)) {
            let to = offset.saturating_add(1);
            match runs.last_mut() {
                Some(last) if last.to == offset && last.mark == mark => last.to = to,
                _ => runs.push(MarkedRun { from: offset, to, mark }),
            }
        }
        (!runs.is_empty()).then_some(MarksRow { topic, start, runs })
    }

    /// Whether a row has the record at this offset.
    pub(in crate::topic) fn holds(&self, offset: u64) -> bool {
        let part = self.part(self.index_of(offset)).filter(|part| part.span.start <= offset);
        let part = part.filter(|part| part.end > self.first.offset);
        part.is_some_and(|part| match part.losses {
            Some(losses) => losses.ordinal(part.span.start, offset).is_some(),
            None => true,
        })
    }

    /// When the times of `latest` compaction were changed; 0 in another mode.
    pub(in crate::topic) fn changed_at(&self) -> u64 {
        let compaction = self.compaction.as_ref().filter(|_| self.is_latest);
        compaction.map_or(0, |compaction| compaction.deaths.changed_at())
    }

    /// The marks of existing records in a range of offsets, in order.
    fn marks(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, Mark)> {
        let (from, compaction) = (from.max(self.first.offset), self.compaction.as_ref());
        let parts = (self.index_of(from)..=self.chunks.len()).filter_map(|index| self.part(index));
        let parts = parts.take_while(move |part| self.is_latest && part.span.start < to);
        parts.flat_map(move |part| part.present(from, to).map(move |offset| (part, offset))).filter_map(
            move |(part, offset)| {
                let ordinal = part.losses.and_then(|losses| losses.ordinal(part.span.start, offset));
                if part.losses.zip(ordinal).is_some_and(|(losses, ordinal)| losses.is_silent(ordinal)) {
                    return Some((offset, Mark::Dead));
                }
                let is_superseded = compaction.is_some_and(|one| one.deaths.is_superseded(offset));
                is_superseded.then_some((offset, Mark::Superseded))
            },
        )
    }
}

impl Chunk {
    fn row(&self, topic: u32) -> RecordsRow {
        let sparse = self.losses.as_ref().and_then(|losses| losses.sparse());
        let start = self.span.start;
        let all = || vec![present(self.end.saturating_sub(start))];
        let runs = sparse.map_or_else(all, |sparse| sparse.runs(start, self.end));
        RecordsRow { topic, start, last_timestamp: self.span.last_timestamp(), runs, data: self.data.clone() }
    }
}

impl<'a> Part<'a> {
    /// The offsets of the records that are present in a range.
    fn present(&self, from: u64, to: u64) -> impl Iterator<Item = u64> + use<'a> {
        self.present_ranges(from, to).flat_map(|(from, to)| from..to)
    }

    /// The same, as ranges.
    pub(super) fn present_ranges(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let sparse = self.losses.and_then(|losses| losses.sparse());
        let all = sparse.is_none().then_some((self.span.start, self.end));
        let extents = sparse.and_then(|sparse| sparse.extents().get(sparse.extent_from(from)..));
        let extents = extents.unwrap_or_default().iter().map(|one| (one.start, one.end));
        let present = all.into_iter().chain(extents).take_while(move |(start, _)| *start < to);
        let clipped = present.map(move |(start, end)| (start.max(from), end.min(to)));
        clipped.filter(|(start, end)| start < end)
    }
}

impl SparseIndex {
    /// What became of the offsets `start..end`.
    pub(super) fn runs(&self, start: u64, end: u64) -> Vec<Run> {
        let (mut runs, mut at) = (Vec::<Run>::new(), start);
        let mut push = |kind: RunKind, count: u64| match runs.last_mut() {
            Some(last) if last.kind == kind => last.count = last.count.saturating_add(count),
            _ => runs.push(Run { kind, count }),
        };
        while at < end {
            let index = self.extent_from(at);
            let (kind, to) = match self.extents().get(index) {
                Some(extent) if extent.start <= at => (RunKind::Present, extent.end),
                _ => {
                    let (is_expired, to) = self.gone(at, end);
                    (if is_expired { RunKind::Expired } else { RunKind::Superseded }, to)
                }
            };
            // What an index says ends above what was asked for.
            let to = to.clamp(at.saturating_add(1), end);
            push(kind, to.saturating_sub(at));
            at = to;
        }
        runs
    }
}

pub(super) const fn present(count: u64) -> Run {
    Run { kind: RunKind::Present, count }
}

//! The rows of a log: one for each chunk, and one for the tail.

use bytes::Bytes;

use super::Log;
use super::chunk::{Chunk, Part};
use super::losses::SparseIndex;
use crate::store::{Mark, MarkedRun, MarksRow, RecordsRow, Run, RunKind};

impl Log {
    /// The first offset of its rows; the end if it has none.
    pub(in crate::topic) fn rows_from(&self) -> u64 {
        self.part(0).map_or(self.end, |part| part.span.start)
    }

    /// Its records, in order.
    pub(in crate::topic) fn records_rows(&self, topic: u32) -> impl Iterator<Item = RecordsRow> {
        let chunks = self.chunks.iter().map(move |chunk| chunk.row(topic));
        let tail = (!self.tail.is_empty()).then(|| RecordsRow {
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
        let is_marked = |part: &Part<'_>| self.is_latest && part.end > self.first.offset;
        let parts = (0..=self.chunks.len()).filter_map(|index| self.part(index)).filter(is_marked);
        parts.filter_map(move |part| {
            let runs = self.marks(&part);
            (!runs.is_empty()).then_some(MarksRow { topic, start: part.span.start, runs })
        })
    }

    /// Whether a row has the record at this offset.
    pub(in crate::topic) fn holds(&self, offset: u64) -> bool {
        let part = self.part(self.index_of(offset)).filter(|part| part.span.start <= offset);
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

    fn marks(&self, part: &Part<'_>) -> Vec<MarkedRun> {
        let mut runs: Vec<MarkedRun> = Vec::new();
        let Some(compaction) = &self.compaction else {
            return runs;
        };
        for found in part.present().filter(|offset| *offset >= self.first.offset) {
            let ordinal = part.losses.and_then(|losses| losses.ordinal(part.span.start, found));
            let is_dead = part.losses.zip(ordinal).is_some_and(|(losses, ordinal)| losses.is_silent(ordinal));
            let mark = if is_dead {
                Mark::Dead
            } else if compaction.deaths.is_superseded(found) {
                Mark::Superseded
            } else {
                continue;
            };
            let to = found.saturating_add(1);
            match runs.last_mut() {
                Some(last) if last.to == found && last.mark == mark => last.to = to,
                _ => runs.push(MarkedRun { from: found, to, mark }),
            }
        }
        runs
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

impl Part<'_> {
    /// The offsets of the records that are present.
    fn present(&self) -> impl Iterator<Item = u64> {
        let sparse = self.losses.and_then(|losses| losses.sparse());
        let all = sparse.is_none().then_some((self.span.start, self.end));
        let extents = sparse.map_or(&[][..], SparseIndex::extents).iter().map(|one| (one.start, one.end));
        all.into_iter().chain(extents).flat_map(|(from, to)| from..to)
    }
}

impl SparseIndex {
    /// What became of the offsets `start..end`.
    fn runs(&self, start: u64, end: u64) -> Vec<Run> {
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

const fn present(count: u64) -> Run {
    Run { kind: RunKind::Present, count }
}

//! Consistency checks of a log.

use super::Log;
#[cfg(test)]
use super::chunk::RecordState;
use super::chunk::count_records;
use super::losses::SparseIndex;

impl Log {
    /// Whether the parts are consistent with each other and with the counts kept about them.
    pub(crate) fn is_consistent(&self) -> bool {
        let charges = self.chunks.iter().map(|chunk| chunk.charge).fold(0, usize::saturating_add);
        let pieces = self.chunks.iter().filter(|chunk| chunk.allocation == self.allocation).count();
        let cold = self.chunks.iter().filter_map(|chunk| chunk.cold).map(|cold| cold.len as u64);
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
            && cold.clone().count() == self.cold_chunks
            && cold.fold(0, u64::saturating_add) == self.cold_bytes
            && self.first.offset <= self.end
            && self.tail.len() <= self.tail_charge
            && self.is_compaction_consistent()
    }

    /// Whether some chunk was rewritten.
    #[cfg(test)]
    pub(crate) fn is_sparse(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.losses.as_ref().is_some_and(|losses| losses.sparse().is_some()))
    }

    /// Whether the first record is one that [`expire`](Self::expire) passes over.
    #[cfg(test)]
    pub(crate) fn is_first_expired(&self, now: u64) -> bool {
        !self.is_empty() && self.state_at(self.first, now).0 == RecordState::Expired
    }

    /// Whether the state of compaction is consistent with the chunks.
    fn is_compaction_consistent(&self) -> bool {
        let Some(compaction) = &self.compaction else {
            return self.chunks.iter().all(|chunk| chunk.losses.is_none());
        };
        let all = || self.chunks.iter().filter_map(|chunk| chunk.losses.as_ref());
        let bytes = all().chain(&compaction.tail).map(|losses| losses.footprint());
        let queued = all().filter(|losses| losses.is_queued).map(|losses| losses.dead);
        let sizes = self
            .chunks
            .iter()
            .all(|chunk| chunk.losses.as_ref().is_none_or(|losses| losses.dead <= chunk.data.len()));
        sizes
            && bytes.fold(0, usize::saturating_add) == compaction.losses_bytes
            && queued.fold(0, usize::saturating_add) == compaction.queued_bytes
            && self.is_alive_consistent()
    }

    /// Whether the count of records not dead matches the records.
    fn is_alive_consistent(&self) -> bool {
        self.compaction.is_none() || self.alive_below(self.end) == self.alive()
    }
}

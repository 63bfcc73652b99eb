//! Rows of a part of the records.

use bytes::Bytes;

use super::{Log, Position, RecordsRow, Row, Timestamp};
use crate::topic::log::chunk::Chunk;
use crate::topic::log::rows::present;

/// Maximum bytes of records in a row, unless it is one record: a store's page has room for them.
const MAX_ROW: usize = 60_000;

impl Log {
    /// The records from a position on as rows; `to` is the end of a chunk, and nothing of them is in the tail.
    pub(super) fn slices(&self, topic: u32, from: Position, to: u64, mut put: impl FnMut(RecordsRow)) {
        let mut at = from;
        while at.offset < to {
            let Some(chunk) = self.chunks.get(self.index_of(at.offset)) else {
                debug_assert!(false, "offset {} is in no chunk", at.offset);
                return;
            };
            self.slice_chunk(topic, self.locate(at), chunk, &mut put);
            at = Position::at(chunk.end);
        }
    }

    /// The blocks of offsets in which there are records in a range.
    pub(super) fn present_blocks(&self, from: u64, to: u64, mut each: impl FnMut(u64)) {
        let parts = (self.index_of(from)..=self.chunks.len()).filter_map(|index| self.part(index));
        for part in parts.take_while(|part| part.span.start < to) {
            for (start, end) in part.present_ranges(from, to) {
                self.spend(1);
                let mut block = Row::block_of(start);
                while block < end {
                    each(block);
                    block = block.saturating_add(Row::BLOCK);
                }
            }
        }
    }

    /// The records of a chunk from a position on.
    fn slice_chunk(&self, topic: u32, at: Position, chunk: &Chunk, put: &mut impl FnMut(RecordsRow)) {
        let (mut start, mut begin) = (at.offset, at.byte as usize);
        let rest = chunk.data.len().saturating_sub(begin);
        self.spend(1);
        if let Some(part) = self.part(self.index_of(at.offset)).filter(|_| rest > MAX_ROW) {
            let (mut stop, mut last_timestamp) = (begin, 0);
            for found in part.records(at) {
                self.spend(1);
                let next = stop.saturating_add(found.head.len);
                if stop > begin && next.saturating_sub(begin) > MAX_ROW {
                    put(chunk.slice(
                        topic,
                        (start, found.offset),
                        last_timestamp,
                        chunk.data.slice(begin..stop),
                    ));
                    (start, begin) = (found.offset, stop);
                }
                (stop, last_timestamp) = (next, found.head.timestamp);
            }
        }
        let data = chunk.data.slice(begin.min(chunk.data.len())..);
        put(chunk.slice(topic, (start, chunk.end), chunk.span.last_timestamp, data));
    }
}

impl Chunk {
    fn slice(&self, topic: u32, (start, end): (u64, u64), last_timestamp: u64, data: Bytes) -> RecordsRow {
        let sparse = self.losses.as_ref().and_then(|losses| losses.sparse());
        let all = || vec![present(end.saturating_sub(start))];
        let runs = sparse.map_or_else(all, |sparse| sparse.runs(start, end));
        RecordsRow { topic, start, last_timestamp: Timestamp::from_micros(last_timestamp), runs, data }
    }
}

//! Where trims are divided, so that a store removes a bounded amount of records at once.

use std::collections::VecDeque;

use super::{Op, RecordsRow, Row};
use crate::planted::{Defect, is_planted};

/// Maximum bytes of the records that one trim removes, unless it removes one row.
const MAX_TRIM: u64 = 1 << 20;

/// Maximum spare entries that stay allocated.
const SPARE: usize = 64;

/// The staged records in pieces of at most 1 MiB. Memory: 16 bytes a piece.
#[derive(Debug, Default)]
pub(super) struct Cuts(VecDeque<Piece>);

/// The records from an offset up to the next piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    start: u64,
    /// At least their bytes.
    bytes: u64,
}

impl Cuts {
    /// Puts a row.
    pub(super) fn put(&mut self, row: RecordsRow, ops: &mut Vec<Op>) {
        self.add(row.start, row.data.len() as u64);
        ops.push(Op::Put { row: Row::Records(row) });
    }

    /// A row was staged; what it replaced was trimmed.
    pub(super) fn add(&mut self, start: u64, bytes: u64) {
        let after = self.0.partition_point(|piece| piece.start <= start);
        let piece = after.checked_sub(1).and_then(|index| self.0.get_mut(index));
        match piece.filter(|piece| piece.start == start || piece.bytes.saturating_add(bytes) <= MAX_TRIM) {
            Some(piece) => piece.bytes = piece.bytes.saturating_add(bytes),
            None => self.0.insert(after, Piece { start, bytes }),
        }
    }

    /// Removes the rows that start in a range; none begins in front of it and ends behind it.
    pub(super) fn trim(&mut self, topic: u32, from: u64, to: u64, ops: &mut Vec<Op>) {
        if from >= to {
            return;
        }
        let first = self.0.partition_point(|piece| piece.start < from);
        let end = self.0.partition_point(|piece| piece.start < to);
        let mut at = from;
        for cut in self.0.range(first..end).map(|piece| piece.start).filter(|cut| *cut > from).chain([to]) {
            let wide = u64::from(is_planted(Defect::WideTrim) && cut == to);
            ops.push(Op::Trim { topic, from: at, to: cut.saturating_add(wide) });
            at = cut;
        }
        let is_exact = self.0.get(end).is_some_and(|next| next.start == to);
        let last =
            end.checked_sub(1).filter(|last| *last >= first).and_then(|last| self.0.get(last).copied());
        self.0.drain(first..end);
        // What is left of the last piece may still have all its bytes.
        if let Some(last) = last.filter(|_| !is_exact) {
            self.0.insert(first, Piece { start: to, ..last });
        }
        if self.0.capacity() > self.0.len().saturating_mul(4).max(SPARE) {
            self.0.shrink_to(self.0.len().saturating_mul(2));
        }
    }

    /// Bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        self.0.capacity().saturating_mul(size_of::<Piece>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trim_is_divided_into_pieces_of_1_mib() {
        let (mut cuts, mut ops) = (Cuts::default(), Vec::new());
        // Rows of 60,000 bytes: 17 are below 1 MiB.
        (0..40).for_each(|row| cuts.add(row * 10, 60_000));
        cuts.add(400, 3 << 20);
        cuts.add(410, 1);
        cuts.trim(7, 0, 410, &mut ops);
        let trims = [(0, 170), (170, 340), (340, 400), (400, 410)];
        let expected = trims.map(|(from, to)| Op::Trim { topic: 7, from, to });
        assert_eq!(ops, expected);
        assert_eq!(cuts.0, [Piece { start: 410, bytes: 1 }]);
    }

    #[test]
    fn what_a_trim_leaves_of_a_piece_keeps_its_bytes() {
        let (mut cuts, mut ops) = (Cuts::default(), Vec::new());
        cuts.add(0, 10);
        cuts.add(5, 10);
        cuts.trim(7, 0, 5, &mut ops);
        assert_eq!(cuts.0, [Piece { start: 5, bytes: 20 }]);
        cuts.trim(7, 5, 6, &mut ops);
        cuts.add(5, 8);
        assert_eq!(cuts.0, [Piece { start: 5, bytes: 8 }, Piece { start: 6, bytes: 20 }]);
    }
}

//! Bounded lists of what changed since it was staged.

use std::collections::BTreeSet;

/// Maximum ranges; beyond, the two with the fewest offsets between them become one, which is staged as a whole.
const MAX_RANGES: usize = 256;

/// Maximum blocks; beyond, all blocks are staged. A set of this size takes about 400 KiB.
const MAX_BLOCKS: usize = 16_384;

/// Approximate bytes of a block in the set.
const BLOCK_BYTES: usize = 24;

/// Disjoint ranges of offsets, in order.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a range; ranges that overlap become one.
    pub(super) fn add(&mut self, from: u64, to: u64) {
        let (mut from, mut to) = (from, to);
        let first = self.0.partition_point(|range| range.1 <= from);
        let last = self.0.partition_point(|range| range.0 < to);
        for range in self.0.drain(first.min(last)..last) {
            (from, to) = (from.min(range.0), to.max(range.1));
        }
        self.0.insert(first, (from, to));
        if self.0.len() > MAX_RANGES {
            self.join_closest();
        }
    }

    /// Removes and returns all.
    pub(super) fn take(&mut self) -> Vec<(u64, u64)> {
        core::mem::take(&mut self.0)
    }

    /// Bytes allocated.
    pub(super) const fn footprint(&self) -> usize {
        self.0.capacity().saturating_mul(size_of::<(u64, u64)>())
    }

    fn join_closest(&mut self) {
        let pairs = self.0.iter().zip(self.0.iter().skip(1)).enumerate();
        let closest = pairs.min_by_key(|(_, (one, next))| next.0.saturating_sub(one.1));
        if let Some((index, (_, next))) = closest {
            let end = next.1;
            self.0.remove(index.saturating_add(1));
            if let Some(one) = self.0.get_mut(index) {
                one.1 = end;
            }
        }
    }
}

/// Blocks of offsets, by the first one.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    starts: BTreeSet<u64>,
    is_all: bool,
}

impl Blocks {
    /// Adds a block, or all of them if there are too many.
    pub(super) fn add(&mut self, start: u64) {
        if !self.is_all {
            self.starts.insert(start);
        }
        if self.starts.len() > MAX_BLOCKS {
            self.add_all();
        }
    }

    /// Adds every block in which there are records.
    pub(super) fn add_all(&mut self) {
        (self.starts, self.is_all) = (BTreeSet::new(), true);
    }

    /// Adds a block of which all may have become none; at once they are [taken](Self::take).
    pub(super) fn add_one(&mut self, start: u64) {
        self.starts.insert(start);
    }

    pub(super) const fn is_all(&self) -> bool {
        self.is_all
    }

    /// Removes and returns all.
    pub(super) fn take(&mut self) -> BTreeSet<u64> {
        self.is_all = false;
        core::mem::take(&mut self.starts)
    }

    /// Approximate bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        self.starts.len().saturating_mul(BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_or_are_too_many_become_one() {
        let mut ranges = Ranges::default();
        for (from, to) in [(5, 7), (1, 3), (3, 5), (9, 10), (6, 9)] {
            ranges.add(from, to);
        }
        assert_eq!(ranges.take(), [(1, 3), (3, 5), (5, 9), (9, 10)]);
        for at in 0..MAX_RANGES as u64 {
            ranges.add(at * 10, at * 10 + 5);
        }
        assert_eq!(ranges.0.len(), MAX_RANGES);
        ranges.add(26, 27);
        assert_eq!((ranges.0.len(), ranges.0.get(2)), (MAX_RANGES, Some(&(20, 27))));
    }

    #[test]
    fn too_many_blocks_are_all() {
        let mut blocks = Blocks::default();
        (0..MAX_BLOCKS as u64).for_each(|block| blocks.add(block));
        assert!(!blocks.is_all() && blocks.footprint() > 0);
        blocks.add(u64::MAX);
        assert!(blocks.is_all() && blocks.footprint() == 0);
        blocks.add(7);
        assert_eq!((blocks.take().len(), blocks.is_all()), (0, false));
    }
}

//! Offsets above a cursor that are done.

use std::collections::BTreeMap;

/// Disjoint ranges of offsets, none of which touches another. Every call takes O(log n), and what it merges.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// The offset after each range, by its first one.
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds the offsets of `from..to`; some of them may be there.
    pub(super) fn insert(&mut self, from: u64, to: u64) {
        let (mut from, mut to) = (from, to);
        if let Some((first, end)) = self.below(from).filter(|(_, end)| *end >= from) {
            (from, to) = (first, to.max(end));
        }
        while let Some((first, end)) = self.ends.range(from..=to).next().map(|(first, end)| (*first, *end)) {
            self.ends.remove(&first);
            to = to.max(end);
        }
        self.ends.insert(from, to);
    }

    /// Removes what begins at or below an offset; returns the highest end of it, at least that offset.
    pub(super) fn absorb(&mut self, offset: u64) -> u64 {
        let mut reached = offset;
        while let Some(entry) = self.ends.first_entry().filter(|entry| *entry.key() <= reached) {
            reached = reached.max(entry.remove());
        }
        reached
    }

    /// The end of the range that an offset is in.
    pub(super) fn end_of(&self, offset: u64) -> Option<u64> {
        self.below(offset).map(|(_, end)| end).filter(|end| *end > offset)
    }

    /// The first offset at or above this one.
    pub(super) fn first_from(&self, offset: u64) -> Option<u64> {
        self.ends.range(offset..).next().map(|(first, _)| *first)
    }

    /// The ranges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ends.iter().map(|(first, end)| (*first, *end))
    }

    /// Bytes allocated, about.
    pub(super) fn footprint(&self) -> usize {
        self.ends.len().saturating_mul(size_of::<[(u64, u64); 2]>())
    }

    fn below(&self, offset: u64) -> Option<(u64, u64)> {
        self.ends.range(..=offset).next_back().map(|(first, end)| (*first, *end))
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn g4_ranges_are_those_of_a_set_of_offsets(added in vec_of((0..60u64, 1..6u64), 0..30), cursor in 0..60u64) {
            let (mut ranges, mut all) = (Ranges::default(), BTreeSet::new());
            for (from, count) in added {
                ranges.insert(from, from + count);
                all.extend(from..from + count);
            }
            let listed: BTreeSet<u64> = ranges.iter().flat_map(|(from, to)| from..to).collect();
            prop_assert_eq!(&listed, &all);
            let list: Vec<_> = ranges.iter().collect();
            prop_assert!(list.windows(2).all(|two| two[0].1 < two[1].0), "they do not touch");
            let end = (cursor..100).find(|offset| !all.contains(offset)).filter(|end| *end > cursor);
            prop_assert_eq!(ranges.end_of(cursor), end);
            prop_assert_eq!(ranges.absorb(cursor), end.unwrap_or(cursor));
        }
    }
}

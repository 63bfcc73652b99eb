//! A queue in blocks, none of which moves when it grows (rule S14).

use std::collections::VecDeque;

/// Bytes of a block.
const BLOCK_BYTES: usize = 8 << 10;

/// Small values in the order in which they were appended. Every call takes O(1), besides allocating or freeing one block,
/// if it says nothing else. Memory: the values, and up to two blocks of 8 KiB.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// All but the last one are full, apart from what was taken off the first one.
    blocks: VecDeque<Vec<T>>,
    /// Values taken off the first block.
    taken: usize,
    len: usize,
}

impl<T: Copy> Queue<T> {
    /// Values of a block: a power of two.
    const BLOCK: usize = {
        let mut values = BLOCK_BYTES;
        while values > 1 && values * size_of::<T>() > BLOCK_BYTES {
            values /= 2;
        }
        values
    };

    pub(crate) const fn new() -> Self {
        Self { blocks: VecDeque::new(), taken: 0, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<T> {
        let (block, place) = Self::split(index.checked_add(self.taken)?);
        self.blocks.get(block)?.get(place).copied()
    }

    /// The values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.len).filter_map(|index| self.get(index))
    }

    pub(crate) fn front(&self) -> Option<T> {
        self.get(0)
    }

    pub(crate) fn back(&self) -> Option<T> {
        self.get(self.len.checked_sub(1)?)
    }

    /// Appends values.
    pub(crate) fn extend(&mut self, values: &[T]) {
        let mut rest = values;
        while !rest.is_empty() {
            if self.blocks.back().is_none_or(|block| block.len() >= Self::BLOCK) {
                // A single block grows as it is filled.
                let capacity = if self.blocks.is_empty() { 0 } else { Self::BLOCK };
                self.blocks.push_back(Vec::with_capacity(capacity));
            }
            let Some(block) = self.blocks.back_mut() else { return };
            let (now, later) = rest.split_at(rest.len().min(Self::BLOCK.saturating_sub(block.len())));
            block.extend_from_slice(now);
            rest = later;
        }
        self.len = self.len.saturating_add(values.len());
    }

    /// Removes the first `count` values; takes as long as there are blocks of them.
    pub(crate) fn take(&mut self, count: usize) {
        let count = count.min(self.len);
        self.len = self.len.saturating_sub(count);
        self.taken = self.taken.saturating_add(count);
        while self.taken >= Self::BLOCK && self.blocks.len() > 1 {
            self.blocks.pop_front();
            self.taken = self.taken.saturating_sub(Self::BLOCK);
        }
        if self.len == 0 {
            self.clear();
        }
    }

    /// Removes all values after the first `keep`; takes as long as there are blocks of them.
    pub(crate) fn truncate(&mut self, keep: usize) {
        if keep >= self.len {
            return;
        }
        self.len = keep;
        let end = self.taken.saturating_add(keep);
        self.blocks.truncate(end.div_ceil(Self::BLOCK).max(1));
        let before = self.blocks.len().saturating_sub(1).saturating_mul(Self::BLOCK);
        if let Some(last) = self.blocks.back_mut() {
            last.truncate(end.saturating_sub(before));
        }
        if keep == 0 {
            self.clear();
        }
    }

    /// The number of values at the front for which `is_before` holds, if it holds for none behind the others; O(log n).
    pub(crate) fn partition_point(&self, is_before: impl Fn(usize, T) -> bool) -> usize {
        let (mut low, mut high) = (0usize, self.len);
        while low < high {
            let middle = low.midpoint(high);
            let is_low = self.get(middle).is_some_and(|value| is_before(middle, value));
            if is_low { low = middle.saturating_add(1) } else { high = middle }
        }
        low
    }

    /// Frees memory that removed values leave in a single block.
    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            *self = Self::new();
        } else if let [block] = self.blocks.make_contiguous()
            && block.capacity() > self.len.saturating_mul(4).max(16)
        {
            block.drain(..self.taken.min(block.len()));
            block.shrink_to(self.len.saturating_mul(2).next_power_of_two());
            self.taken = 0;
        }
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        let first = self.blocks.front().map_or(0, Vec::capacity);
        let others = self.blocks.len().saturating_sub(1).saturating_mul(Self::BLOCK);
        let values = first.saturating_add(others).saturating_mul(size_of::<T>());
        values.saturating_add(self.blocks.capacity().saturating_mul(size_of::<Vec<T>>()))
    }

    #[expect(clippy::arithmetic_side_effects, reason = "a block has places")]
    const fn split(at: usize) -> (usize, usize) {
        (at / Self::BLOCK, at % Self::BLOCK)
    }

    fn clear(&mut self) {
        self.blocks.truncate(1);
        if let Some(block) = self.blocks.front_mut() {
            block.clear();
        }
        self.taken = 0;
    }
}

impl<T: Copy + PartialEq> Queue<T> {
    /// Whether these values follow the first `skip`.
    pub(crate) fn continues_with(&self, skip: usize, values: &[T]) -> bool {
        let mut at = self.taken.saturating_add(skip);
        let mut rest = values;
        while !rest.is_empty() {
            let (block, place) = Self::split(at);
            let block = self.blocks.get(block).and_then(|block| block.get(place..));
            let Some(block) = block.filter(|block| !block.is_empty()) else { return false };
            let (now, later) = rest.split_at(rest.len().min(block.len()));
            if block.get(..now.len()) != Some(now) {
                return false;
            }
            (at, rest) = (at.saturating_add(now.len()), later);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_queue_agrees_with_a_deque(actions in vec_of((0..6u8, 0..5_000usize), 0..40)) {
            let (mut queue, mut all) = (Queue::<u32>::new(), VecDeque::new());
            let mut next = 0u32;
            for (action, count) in actions {
                match action {
                    0..3 => {
                        let values: Vec<_> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                        queue.extend(&values);
                        all.extend(values);
                    }
                    3 => {
                        queue.take(count);
                        all.drain(..count.min(all.len()));
                    }
                    4 => {
                        queue.truncate(count);
                        all.truncate(count);
                    }
                    _ => queue.shrink(),
                }
                prop_assert_eq!(queue.len(), all.len());
                prop_assert_eq!((queue.front(), queue.back()), (all.front().copied(), all.back().copied()));
                prop_assert_eq!(queue.get(count), all.get(count).copied());
                let first = all.front().copied().unwrap_or_default();
                let before = first.saturating_add(u32::try_from(count).expect("a small number"));
                prop_assert_eq!(
                    queue.partition_point(|_, value| value < before),
                    all.partition_point(|value| *value < before)
                );
                all.make_contiguous();
                let (values, _) = all.as_slices();
                let some = values.get(count / 2..).unwrap_or_default();
                prop_assert!(queue.continues_with(count / 2, some));
                prop_assert!(!queue.continues_with(count / 2, &[some, &[0]].concat()));
                let real: usize = queue.blocks.iter().map(Vec::capacity).sum();
                let table = queue.blocks.capacity().saturating_mul(size_of::<Vec<u32>>());
                prop_assert_eq!(queue.footprint(), real.saturating_mul(4).saturating_add(table));
            }
        }
    }
}

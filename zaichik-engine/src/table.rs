//! A hash table that grows and shrinks a few entries at a time, so that no call pays for all of them (rule S14).

use hashbrown::HashTable;

/// Maximum buckets of the former table that each insertion empties. Enough to finish before the current table is full:
/// that has room for at least an eighth of the former one's entries besides those that move.
const MAX_BUCKETS_PER_INSERT: usize = 16;

/// Buckets that each call of [`Table::shrink`] empties.
const BUCKETS_PER_SHRINK: usize = 1_024;

/// Capacity that stays allocated.
const SPARE: usize = 16;

/// A table of small values that are found by their hash. Memory: that of [`HashTable`]; while values move, twice as much.
#[derive(Debug)]
pub(crate) struct Table<T> {
    current: HashTable<T>,
    /// The table before the last change of capacity, whose values are moving to the current one.
    former: HashTable<T>,
    /// The first bucket of it that may hold a value.
    bucket: usize,
    /// Buckets of it that each insertion empties; usually two.
    share: usize,
}

impl<T: Copy> Table<T> {
    pub(crate) const fn new() -> Self {
        Self { current: HashTable::new(), former: HashTable::new(), bucket: 0, share: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.current.len().saturating_add(self.former.len())
    }

    /// Bytes allocated.
    pub(crate) fn allocation_size(&self) -> usize {
        self.current.allocation_size().saturating_add(self.former.allocation_size())
    }

    /// Whether the next [`insert`](Self::insert) allocates.
    pub(crate) fn is_full(&self) -> bool {
        self.current.len() == self.current.capacity()
    }

    /// The value with this hash that `is_it` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let found = self.current.find(hash, &mut is_it).copied();
        if found.is_some() || !self.is_moving() {
            return found;
        }
        self.former.find(hash, is_it).copied()
    }

    /// Adds a value that is not in the table. `hash_of` gives the hashes of other values, a bounded number of which move.
    pub(crate) fn insert(&mut self, hash: u64, value: T, hash_of: impl Fn(&T) -> u64) {
        if self.is_full() {
            self.advance(usize::MAX, &hash_of);
            let len = self.current.len();
            self.change_capacity(len.saturating_mul(2).max(self.current.capacity() / 4));
        }
        self.current.insert_unique(hash, value, &hash_of);
        self.advance(self.share, &hash_of);
    }

    /// Removes the value with this hash that `is_it` accepts, if there is one.
    pub(crate) fn remove(&mut self, hash: u64, mut is_it: impl FnMut(&T) -> bool) {
        if let Ok(found) = self.current.find_entry(hash, &mut is_it) {
            found.remove();
        } else if let Ok(found) = self.former.find_entry(hash, is_it) {
            found.remove();
        }
    }

    /// Frees memory of removed values, in steps, and moves some values that are to be moved.
    pub(crate) fn shrink(&mut self, hash_of: impl Fn(&T) -> u64) {
        let (len, capacity) = (self.len(), self.current.capacity());
        if len == 0 {
            *self = Self::new();
        } else if !self.is_moving() && capacity > len.saturating_mul(8).max(SPARE) {
            self.change_capacity(capacity / 4);
        }
        self.advance(BUCKETS_PER_SHRINK, &hash_of);
    }

    /// Whether values are left to be moved.
    #[inline]
    pub(crate) fn is_moving(&self) -> bool {
        self.former.capacity() > 0
    }

    fn change_capacity(&mut self, capacity: usize) {
        let larger = HashTable::with_capacity(capacity.max(4));
        (self.former, self.bucket) = (core::mem::replace(&mut self.current, larger), 0);
        let room = self.current.capacity().saturating_sub(self.former.len()).max(1);
        let needed = self.former.num_buckets().checked_div(room).unwrap_or_default();
        self.share = needed.saturating_add(1).min(MAX_BUCKETS_PER_INSERT);
        if self.former.is_empty() {
            self.former = HashTable::new();
        }
    }

    /// Empties up to `buckets` buckets of the former table.
    fn advance(&mut self, buckets: usize, hash_of: &impl Fn(&T) -> u64) {
        if !self.is_moving() {
            return;
        }
        let end = self.former.num_buckets().min(self.bucket.saturating_add(buckets));
        for bucket in self.bucket..end {
            if let Ok(entry) = self.former.get_bucket_entry(bucket) {
                let (value, _) = entry.remove();
                self.current.insert_unique(hash_of(&value), value, hash_of);
            }
        }
        self.bucket = end;
        if self.former.is_empty() {
            self.former = HashTable::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    /// Many values share a hash.
    fn hash_of(value: u32) -> u64 {
        u64::from(value / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn insert(table: &mut Table<u32>, value: u32) {
        table.insert(hash_of(value), value, |value| hash_of(*value));
    }

    fn has(table: &Table<u32>, value: u32) -> bool {
        table.find(hash_of(value), |other| *other == value) == Some(value)
    }

    #[test]
    fn s14_growing_moves_a_bounded_number_of_values_at_a_time() {
        let mut table = Table::new();
        let mut has_moved = false;
        for value in 0..100_000 {
            let before = table.former.len().max(if table.is_moving() { 0 } else { table.current.len() });
            insert(&mut table, value);
            let moved = if table.is_moving() { before - table.former.len() } else { 0 };
            assert!(moved <= 2, "{moved} values moved at once");
            has_moved |= table.is_moving();
        }
        assert!(has_moved && (0..100_000).all(|value| has(&table, value)));
    }

    #[test]
    fn s14_a_table_finishes_moving_before_it_is_full_again() {
        let mut table = Table::new();
        let mut was_full_while_moving = 0;
        for value in 0..200_000u32 {
            was_full_while_moving +=
                u32::from(table.is_moving() && table.current.len() == table.current.capacity());
            insert(&mut table, value);
            // Few stay, so that removed values fill the table.
            if value >= 1_000 && value % 3 > 0 {
                table.remove(hash_of(value - 1_000), |other| *other == value - 1_000);
            }
        }
        assert_eq!(was_full_while_moving, 0);
    }

    #[test]
    fn a_table_shrinks_in_steps() {
        let mut table = Table::new();
        (0..50_000).for_each(|value| insert(&mut table, value));
        let full = table.allocation_size();
        (10..50_000).for_each(|value| table.remove(hash_of(value), |other| *other == value));
        for _ in 0..1_000 {
            table.shrink(|value| hash_of(*value));
        }
        assert!(!table.is_moving() && table.allocation_size() < full / 100);
        assert!((0..10).all(|value| has(&table, value)) && table.len() == 10);
        (0..10).for_each(|value| table.remove(hash_of(value), |other| *other == value));
        table.shrink(|value| hash_of(*value));
        assert_eq!((table.len(), table.allocation_size()), (0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_table_agrees_with_a_set(actions in vec_of((0..4u8, 0..200u32), 0..400)) {
            let (mut table, mut set) = (Table::new(), BTreeSet::new());
            for (action, value) in actions {
                match action {
                    0 | 1 => {
                        if set.insert(value) {
                            insert(&mut table, value);
                        }
                    }
                    2 => {
                        set.remove(&value);
                        table.remove(hash_of(value), |other| *other == value);
                    }
                    _ => table.shrink(|value| hash_of(*value)),
                }
                prop_assert_eq!(table.len(), set.len());
                prop_assert!((0..200).all(|value| has(&table, value) == set.contains(&value)));
            }
        }
    }
}

//! The lowest cursor of a topic's subscriptions, without a scan.
//!
//! Most topics have one subscription: its cursor is kept inline, and nothing is allocated. With several, the lowest is
//! needed rarely, while cursors rise with every commit. So each has a heap entry that may be too low and is updated
//! when it reaches the top. A commit costs O(1), a query O(log n) amortised over the commits before it. A cursor that
//! falls gets another entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

/// Cursors of the subscriptions of one topic.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// The only cursor, with the id [`ONLY`]; `None` while there are several.
    only: Option<u64>,
    several: Option<Box<Several>>,
}

/// Identifies a cursor within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorId(u32);

/// The id of a cursor that was the only one; it keeps the id when others are added.
const ONLY: CursorId = CursorId(0);

/// Two or more cursors, or the remainder of these until there are none.
#[derive(Debug, Default)]
struct Several {
    cursors: Slab<u64>,
    /// At least one entry per cursor, never above it; and stale entries, until they reach the top.
    heap: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Cursors {
    pub(crate) fn insert(&mut self, cursor: u64) -> CursorId {
        if self.is_empty() {
            self.only = Some(cursor);
            return ONLY;
        }
        let several = self.several.get_or_insert_default();
        if let Some(only) = self.only.take() {
            // The first id of an empty slab is ONLY.
            several.insert(only);
        }
        several.insert(cursor)
    }

    /// Moves a cursor.
    #[inline]
    pub(crate) fn set(&mut self, id: CursorId, to: u64) {
        if let Some(only) = &mut self.only {
            debug_assert!(id == ONLY, "{id:?} is not a cursor of this topic");
            *only = to;
        } else if let Some(several) = &mut self.several {
            several.set(id, to);
        } else {
            debug_assert!(false, "{id:?} is not a cursor of this topic");
        }
    }

    pub(crate) fn remove(&mut self, id: CursorId) {
        if id == ONLY && self.only.take().is_some() {
            return;
        }
        if let Some(several) = &mut self.several {
            several.remove(id);
            if several.cursors.is_empty() {
                self.several = None;
            }
        }
    }

    /// The lowest cursor; `None` without subscriptions.
    #[inline]
    pub(crate) fn lowest(&mut self) -> Option<u64> {
        self.only.or_else(|| self.several.as_mut()?.lowest())
    }

    pub(crate) fn len(&self) -> usize {
        let several = self.several.as_ref().map_or(0, |several| several.cursors.len());
        several.saturating_add(usize::from(self.only.is_some()))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.only.is_none() && self.several.is_none()
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        self.several.as_ref().map_or(0, |several| several.footprint())
    }
}

impl Several {
    fn insert(&mut self, cursor: u64) -> CursorId {
        let id = u32::try_from(self.cursors.insert(cursor)).unwrap_or(u32::MAX);
        self.heap.push(Reverse((cursor, id)));
        CursorId(id)
    }

    fn set(&mut self, CursorId(id): CursorId, to: u64) {
        let Some(cursor) = self.cursors.get_mut(id as usize) else {
            debug_assert!(false, "{id} is not a cursor of this topic");
            return;
        };
        // Its entry may be too low, never too high.
        if to < core::mem::replace(cursor, to) {
            self.heap.push(Reverse((to, id)));
            self.rebuild_if_stale();
        }
    }

    fn remove(&mut self, CursorId(id): CursorId) {
        let removed = self.cursors.try_remove(id as usize);
        debug_assert!(removed.is_some(), "{id} is not a cursor of this topic");
        self.rebuild_if_stale();
    }

    fn lowest(&mut self) -> Option<u64> {
        while let Some(mut top) = self.heap.peek_mut() {
            let Reverse((seen, id)) = *top;
            match self.cursors.get(id as usize) {
                Some(cursor) if *cursor == seen => return Some(seen),
                // Raised, or the id was reused after a removal, in which case its own entry exists as well.
                Some(cursor) if *cursor > seen => *top = Reverse((*cursor, id)),
                _ => {
                    std::collections::binary_heap::PeekMut::pop(top);
                }
            }
        }
        None
    }

    fn rebuild_if_stale(&mut self) {
        if self.heap.len() > self.cursors.len().saturating_mul(2).saturating_add(16) {
            let entry = |(id, cursor): (usize, &u64)| Some(Reverse((*cursor, u32::try_from(id).ok()?)));
            self.heap = self.cursors.iter().filter_map(entry).collect();
        }
    }

    fn footprint(&self) -> usize {
        let entries = self.cursors.capacity().saturating_add(self.heap.capacity());
        entries.saturating_mul(16).saturating_add(size_of::<Self>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Action {
        Insert(u64),
        Set(usize, u64),
        Remove(usize),
        Lowest,
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            // Few inserts, so that often no cursor or one is left.
            3 => (0..20u64).prop_map(Action::Insert),
            8 => (0..8usize, 0..20u64).prop_map(|(which, to)| Action::Set(which, to)),
            3 => (0..8usize).prop_map(Action::Remove),
            4 => Just(Action::Lowest),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_lowest_cursor_is_that_of_a_scan(actions in vec_of(action(), 1..200)) {
            let mut cursors = Cursors::default();
            let mut all: Vec<(CursorId, u64)> = Vec::new();
            for action in actions {
                match action {
                    Action::Insert(at) => all.push((cursors.insert(at), at)),
                    Action::Set(which, to) => {
                        if let Some((id, cursor)) = all.get_mut(which) {
                            *cursor = to;
                            cursors.set(*id, to);
                        }
                    }
                    Action::Remove(which) if which < all.len() => cursors.remove(all.swap_remove(which).0),
                    Action::Remove(_) => {}
                    Action::Lowest => {
                        let lowest = all.iter().map(|(_, cursor)| *cursor).min();
                        prop_assert_eq!(cursors.lowest(), lowest);
                    }
                }
                prop_assert_eq!(cursors.len(), all.len());
                let bound = all.len().saturating_mul(2).saturating_add(17);
                let entries = cursors.several.as_ref().map_or(0, |several| several.heap.len());
                prop_assert!(entries <= bound, "stale entries do not accumulate");
            }
        }
    }
}

//! The lowest cursor of a topic's subscriptions, without looking at all of them.
//!
//! Cursors rise with every commit, but only the lowest matters, and only now and then. So each subscription
//! has one entry in a heap that may be too low; it is brought up to date when it comes to the top. A commit
//! costs O(1), a question O(log n) amortised over the commits before it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

/// Cursors of the subscriptions of one topic.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    cursors: Slab<u64>,
    /// An entry for each cursor, never above it; and for removed ones until they come to the top.
    heap: BinaryHeap<Reverse<(u64, u32)>>,
}

/// A cursor's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorId(u32);

impl Cursors {
    pub(crate) fn insert(&mut self, cursor: u64) -> CursorId {
        let id = u32::try_from(self.cursors.insert(cursor)).unwrap_or(u32::MAX);
        self.heap.push(Reverse((cursor, id)));
        CursorId(id)
    }

    /// The cursor has risen.
    pub(crate) fn raise(&mut self, CursorId(id): CursorId, to: u64) {
        if let Some(cursor) = self.cursors.get_mut(id as usize) {
            *cursor = (*cursor).max(to);
        }
    }

    pub(crate) fn remove(&mut self, CursorId(id): CursorId) {
        self.cursors.try_remove(id as usize);
        if self.heap.len() > self.cursors.len().saturating_mul(2).saturating_add(16) {
            let entry = |(id, cursor): (usize, &u64)| Some(Reverse((*cursor, u32::try_from(id).ok()?)));
            self.heap = self.cursors.iter().filter_map(entry).collect();
        }
    }

    /// The lowest cursor; `None` without subscriptions.
    pub(crate) fn lowest(&mut self) -> Option<u64> {
        while let Some(mut top) = self.heap.peek_mut() {
            let Reverse((seen, id)) = *top;
            match self.cursors.get(id as usize) {
                Some(cursor) if *cursor == seen => return Some(seen),
                // Raised, or the place of a removed one was used again: its own entry is there as well.
                Some(cursor) if *cursor > seen => *top = Reverse((*cursor, id)),
                _ => {
                    std::collections::binary_heap::PeekMut::pop(top);
                }
            }
        }
        None
    }

    pub(crate) fn len(&self) -> usize {
        self.cursors.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        self.cursors.capacity().saturating_mul(16).saturating_add(self.heap.capacity().saturating_mul(16))
    }
}

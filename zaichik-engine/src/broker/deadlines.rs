//! When entries of one kind are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use zaichik_proto::Timestamp;

/// A queue of deadlines, earliest first. An entry whose own deadline differs from the queued one is stale: the code
/// that pops it must skip it. Memory: bounded by twice the number of existing entries plus 64.
#[derive(Debug)]
pub(super) struct Deadlines<K>(BinaryHeap<Reverse<(Timestamp, K)>>);

impl<K: Ord + Copy> Deadlines<K> {
    pub(super) fn schedule(&mut self, due: Timestamp, key: K) {
        self.0.push(Reverse((due, key)));
    }

    /// Whether too many queued deadlines are stale, so that the queue should be [rebuilt](Self::rebuild) for `count`
    /// entries.
    pub(super) fn is_stale(&self, count: usize) -> bool {
        self.0.len() > count.saturating_mul(2).saturating_add(64)
    }

    /// Replaces the queue with the current deadlines of the entries.
    pub(super) fn rebuild(&mut self, due: impl Iterator<Item = (Timestamp, K)>) {
        self.0 = due.filter(|(due, _)| *due < Timestamp::MAX).map(Reverse).collect();
    }

    /// The earliest deadline, stale or not.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// Removes the earliest deadline if it has passed.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        let first = self.0.peek_mut().filter(|first| first.0.0 <= now)?;
        Some(PeekMut::pop(first).0)
    }
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Timestamp = Timestamp::from_micros;

    #[test]
    fn deadlines_pop_in_order_and_not_before_their_time() {
        let mut deadlines = Deadlines::default();
        for (due, key) in [(30, 'c'), (10, 'a'), (20, 'b')] {
            deadlines.schedule(AT(due), key);
        }
        assert_eq!(deadlines.pop_due(AT(9)), None);
        assert_eq!(deadlines.first(), Some(AT(10)));
        assert_eq!(deadlines.pop_due(AT(20)), Some((AT(10), 'a')));
        assert_eq!(deadlines.pop_due(AT(20)), Some((AT(20), 'b')));
        assert_eq!(deadlines.pop_due(AT(20)), None);
    }

    #[test]
    fn rebuilding_drops_stale_deadlines_and_those_that_never_come() {
        let mut deadlines = Deadlines::default();
        for due in 0..=66 {
            deadlines.schedule(AT(due), 'a');
        }
        assert!(deadlines.is_stale(1) && !deadlines.is_stale(2));
        deadlines.rebuild([(AT(7), 'a'), (Timestamp::MAX, 'b')].into_iter());
        assert_eq!(deadlines.pop_due(Timestamp::MAX), Some((AT(7), 'a')));
        assert_eq!(deadlines.first(), None);
    }
}

//! When entries of one kind are due.

use std::collections::BTreeSet;

use zaichik_proto::Timestamp;

/// The deadlines of entries, at most one each, earliest first; the entries know their own.
///
/// `Timestamp::MAX` stands for none. Every call takes O(log n) and moves no other deadline (rule S14);
/// [`first`](Self::first) takes O(1). Memory: about 32 bytes for each deadline.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    queue: BTreeSet<(Timestamp, K)>,
    /// The earliest one, which every exchange asks for.
    first: Timestamp,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Replaces the deadline of an entry.
    pub(super) fn schedule(&mut self, key: K, from: Timestamp, to: Timestamp) {
        if from < Timestamp::MAX {
            self.queue.remove(&(from, key));
        }
        if to < Timestamp::MAX {
            self.queue.insert((to, key));
        }
        self.first = self.recount_first();
    }

    /// The earliest deadline, or `Timestamp::MAX`.
    #[inline]
    pub(super) const fn first(&self) -> Timestamp {
        self.first
    }

    /// Whether a deadline has passed.
    #[inline]
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.first <= now && self.first < Timestamp::MAX
    }

    /// Removes the earliest deadline if it has passed.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<K> {
        if !self.is_due(now) {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.first = self.recount_first();
        Some(key)
    }

    fn recount_first(&self) -> Timestamp {
        self.queue.first().map_or(Timestamp::MAX, |(due, _)| *due)
    }
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), first: Timestamp::MAX }
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
            deadlines.schedule(key, Timestamp::MAX, AT(due));
        }
        assert_eq!(deadlines.pop_due(AT(9)), None);
        assert_eq!(deadlines.first(), AT(10));
        assert_eq!(deadlines.pop_due(AT(20)), Some('a'));
        assert_eq!(deadlines.pop_due(AT(20)), Some('b'));
        assert_eq!(deadlines.pop_due(AT(20)), None);
    }

    #[test]
    fn s14_an_entry_has_one_deadline_however_often_it_changes() {
        let mut deadlines = Deadlines::default();
        deadlines.schedule('b', Timestamp::MAX, AT(50));
        let mut due = Timestamp::MAX;
        for to in (7..100).rev() {
            deadlines.schedule('a', due, AT(to));
            due = AT(to);
        }
        assert_eq!((deadlines.queue.len(), deadlines.first()), (2, AT(7)));
        deadlines.schedule('a', due, Timestamp::MAX);
        assert_eq!((deadlines.queue.len(), deadlines.first()), (1, AT(50)));
        assert_eq!(deadlines.pop_due(Timestamp::MAX), Some('b'));
        assert_eq!(deadlines.first(), Timestamp::MAX);
    }
}

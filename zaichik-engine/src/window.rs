//! Records delivered to a subscription and not committed (rules A1 to A3).

use std::collections::VecDeque;

/// The delivered, uncommitted records of one subscription, in order. Memory: 16 bytes per record.
#[derive(Debug)]
pub(crate) struct Window {
    records: VecDeque<Delivered>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Delivered {
    offset: u64,
    bytes: u32,
}

impl Window {
    pub(crate) const EMPTY: Self = Self { records: VecDeque::new(), bytes: 0 };

    /// Adds a delivered record.
    pub(crate) fn push(&mut self, offset: u64, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.records.push_back(Delivered { offset, bytes });
        self.bytes = self.bytes.saturating_add(u64::from(bytes));
    }

    /// Removes everything up to and including `offset`.
    pub(crate) fn commit(&mut self, offset: u64) {
        while let Some(record) = self.records.front().filter(|record| record.offset <= offset) {
            self.bytes = self.bytes.saturating_sub(u64::from(record.bytes));
            self.records.pop_front();
        }
    }

    /// Removes the records from `offset` on: they no longer count as delivered.
    pub(crate) fn take_back(&mut self, offset: u64) {
        while let Some(record) = self.records.back().filter(|record| record.offset >= offset) {
            self.bytes = self.bytes.saturating_sub(u64::from(record.bytes));
            self.records.pop_back();
        }
    }

    /// Whether the record at `offset` is among them.
    pub(crate) fn contains(&self, offset: u64) -> bool {
        self.records.binary_search_by_key(&offset, |record| record.offset).is_ok()
    }

    /// The record's offset, if there is exactly one.
    pub(crate) fn only(&self) -> Option<u64> {
        self.records.front().filter(|_| self.records.len() == 1).map(|record| record.offset)
    }

    /// Whether all records are at or above `from`, below `to`, and in order.
    pub(crate) fn is_between(&self, from: u64, to: u64) -> bool {
        let within = self.records.iter().all(|record| record.offset >= from && record.offset < to);
        within && self.records.iter().is_sorted_by(|a, b| a.offset < b.offset)
    }

    /// The first record above `offset`.
    pub(crate) fn first_above(&self, offset: u64) -> Option<u64> {
        let index = self.records.partition_point(|record| record.offset <= offset);
        self.records.get(index).map(|record| record.offset)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of the records.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        self.records.capacity().saturating_mul(size_of::<Delivered>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_a_commit_is_cumulative_and_frees_bytes() {
        let mut window = Window::EMPTY;
        for (offset, bytes) in [(3, 10), (4, 20), (7, 30)] {
            window.push(offset, bytes);
        }
        assert_eq!(window.first_above(2), Some(3));
        window.commit(2);
        assert_eq!((window.len(), window.bytes()), (3, 60));
        assert_eq!(window.first_above(5), Some(7), "offsets of a gap between records count as committed");
        window.commit(5);
        assert_eq!((window.len(), window.bytes()), (1, 30));
        assert_eq!((window.first_above(7), window.only()), (None, Some(7)));
        window.commit(7);
        assert!(window.is_empty());
        assert_eq!(window.bytes(), 0);
    }

    #[test]
    fn a4_taken_back_records_no_longer_count_as_delivered() {
        let mut window = Window::EMPTY;
        for (offset, bytes) in [(3, 10), (4, 20), (7, 30)] {
            window.push(offset, bytes);
        }
        window.take_back(5);
        assert!(window.contains(4) && !window.contains(7) && !window.contains(5));
        assert_eq!((window.len(), window.bytes(), window.only()), (2, 30, None));
        assert!(window.is_between(3, 5) && !window.is_between(3, 4) && !window.is_between(4, 5));
        window.take_back(0);
        assert!(window.is_empty());
    }
}

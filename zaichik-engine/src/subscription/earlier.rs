//! A subscription's history of offsets delivered before: attempts, failures, and which are done (rules A4 to A6).

use std::collections::VecDeque;

use crate::store;

/// Maximum number of ranges remembered; beyond it the highest offsets are forgotten and count as new. It exceeds the
/// default window limit, so only repeated seeks reach it.
pub(crate) const MAX_RANGES: usize = 4_096;

/// Offsets at or above the cursor that were delivered before the current pass. Allocated only after a rewind.
#[derive(Debug, Default)]
pub(crate) struct EarlierDeliveries {
    /// In order, without overlaps.
    ranges: VecDeque<DeliveredRange>,
    /// Failures per offset, in offset order.
    failures: Vec<(u64, u32)>,
}

/// Consecutive offsets with the same history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DeliveredRange {
    from: u64,
    to: u64,
    attempts: u32,
    /// Went to the dead-letter topic: not delivered again.
    is_done: bool,
}

impl EarlierDeliveries {
    /// How often `offset` was delivered before, and the first offset above it whose history differs.
    pub(crate) fn attempts(&self, offset: u64) -> (u32, u64) {
        let index = self.ranges.partition_point(|range| range.to <= offset);
        match self.ranges.get(index) {
            Some(range) if range.from <= offset => (range.attempts, range.to),
            Some(range) => (0, range.from),
            None => (0, u64::MAX),
        }
    }

    /// The first offset at or above `offset` that is not done.
    pub(crate) fn skip_done(&self, offset: u64) -> u64 {
        let index = self.ranges.partition_point(|range| range.to <= offset);
        let mut at = offset;
        for range in self.ranges.range(index.min(self.ranges.len())..) {
            if !range.is_done || range.from > at {
                break;
            }
            at = range.to;
        }
        at
    }

    /// The offsets `from..to` were delivered once more, except those that are done.
    pub(crate) fn delivered(&mut self, from: u64, to: u64) {
        self.rewrite(from, to, |range| {
            let more = u32::from(!range.is_done);
            DeliveredRange { attempts: range.attempts.saturating_add(more), ..range }
        });
    }

    /// Marks an offset as done: it is not delivered again.
    pub(crate) fn done(&mut self, offset: u64) {
        self.rewrite(offset, offset.saturating_add(1), |range| DeliveredRange { is_done: true, ..range });
    }

    /// Counts a failure of a record; returns its failures so far.
    pub(crate) fn failed(&mut self, offset: u64) -> u32 {
        let at = self.failures.partition_point(|(failed, _)| *failed < offset);
        if let Some((_, count)) = self.failures.get_mut(at).filter(|(failed, _)| *failed == offset) {
            *count = count.saturating_add(1);
            return *count;
        }
        self.failures.insert(at, (offset, 1));
        1
    }

    /// A seek chose a new position: failures and done marks are forgotten, attempts stay.
    pub(crate) fn start_over(&mut self) {
        self.failures.clear();
        for range in &mut self.ranges {
            range.is_done = false;
        }
    }

    /// Forgets everything below the cursor.
    pub(crate) fn forget_below(&mut self, cursor: u64) {
        while self.ranges.front().is_some_and(|range| range.to <= cursor) {
            self.ranges.pop_front();
        }
        if let Some(range) = self.ranges.front_mut() {
            range.from = range.from.max(cursor);
        }
        let gone = self.failures.partition_point(|(offset, _)| *offset < cursor);
        self.failures.drain(..gone);
    }

    /// How many of the offsets `from..to` are done.
    pub(crate) fn count_done(&self, from: u64, to: u64) -> u64 {
        let done = self.ranges.iter().filter(|range| range.is_done);
        done.map(|range| range.to.min(to).saturating_sub(range.from.max(from))).fold(0, u64::saturating_add)
    }

    /// The records at `from..to` no longer exist: attempts and failures are forgotten. Done marks stay, because the
    /// loss of a done record must not be reported.
    pub(crate) fn forget(&mut self, from: u64, to: u64) {
        self.rewrite(from, to, |range| DeliveredRange { attempts: 0, ..range });
        self.ranges.retain(|range| range.attempts > 0 || range.is_done);
        self.failures.retain(|(offset, _)| *offset < from || *offset >= to);
    }

    /// The history as it is stored.
    pub(crate) fn stored(&self) -> (Vec<store::DeliveredRange>, Vec<(u64, u32)>) {
        let stored = |range: &DeliveredRange| {
            let DeliveredRange { from, to, attempts, is_done } = *range;
            store::DeliveredRange { from, to, attempts, is_done }
        };
        (self.ranges.iter().map(stored).collect(), self.failures.clone())
    }

    /// The history that was stored.
    pub(crate) fn restored(ranges: &[store::DeliveredRange], failures: Vec<(u64, u32)>) -> Self {
        let range = |stored: &store::DeliveredRange| {
            let store::DeliveredRange { from, to, attempts, is_done } = *stored;
            DeliveredRange { from, to, attempts, is_done }
        };
        Self { ranges: ranges.iter().map(range).collect(), failures }
    }

    /// Ranges with the same history.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.failures.is_empty()
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        let ranges = self.ranges.capacity().saturating_mul(size_of::<DeliveredRange>());
        let failures = self.failures.capacity().saturating_mul(size_of::<(u64, u32)>());
        size_of::<Self>().saturating_add(ranges).saturating_add(failures)
    }

    /// Changes the ranges between `from` and `to`; offsets without history get a range first.
    fn rewrite(&mut self, from: u64, to: u64, change: impl Fn(DeliveredRange) -> DeliveredRange) {
        if from >= to {
            return;
        }
        let before = core::mem::take(&mut self.ranges);
        let mut at = from;
        let new_range = |from, to| change(DeliveredRange { from, to, attempts: 0, is_done: false });
        for range in before {
            self.push(DeliveredRange { to: range.to.min(from), ..range });
            if at < range.from.min(to) {
                self.push(new_range(at, range.from.min(to)));
                at = range.from.min(to);
            }
            let inside = DeliveredRange { from: range.from.max(from), to: range.to.min(to), ..range };
            if inside.from < inside.to {
                self.push(change(inside));
                at = inside.to;
            }
            if at < to && range.from >= to {
                self.push(new_range(at, to));
                at = to;
            }
            self.push(DeliveredRange { from: range.from.max(to), ..range });
        }
        if at < to {
            self.push(new_range(at, to));
        }
        self.ranges.truncate(MAX_RANGES);
    }

    /// Appends a range unless it is empty; a range that continues the last one extends it.
    fn push(&mut self, range: DeliveredRange) {
        if range.from >= range.to {
            return;
        }
        match self.ranges.back_mut() {
            Some(last)
                if last.to == range.from
                    && last.attempts == range.attempts
                    && last.is_done == range.is_done =>
            {
                last.to = range.to;
            }
            _ => self.ranges.push_back(range),
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Action {
        Delivered(u64, u64),
        Done(u64),
        Failed(u64),
        StartOver,
        ForgetBelow(u64),
        Forget(u64, u64),
    }

    fn action() -> impl Strategy<Value = Action> {
        let at = || 0..20u64;
        prop_oneof![
            6 => (at(), 0..8u64).prop_map(|(from, len)| Action::Delivered(from, from + len)),
            2 => at().prop_map(Action::Done),
            2 => at().prop_map(Action::Failed),
            1 => Just(Action::StartOver),
            1 => at().prop_map(Action::ForgetBelow),
            2 => (at(), 0..8u64).prop_map(|(from, len)| Action::Forget(from, from + len)),
        ]
    }

    #[test]
    fn failures_at_the_cursor_are_kept() {
        let mut earlier = EarlierDeliveries::default();
        assert_eq!((earlier.failed(4), earlier.failed(5)), (1, 1));
        earlier.forget_below(5);
        assert_eq!((earlier.failed(4), earlier.failed(5)), (1, 2));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_agree_with_a_table_of_offsets(actions in vec_of(action(), 1..40)) {
            let mut earlier = EarlierDeliveries::default();
            let mut table: BTreeMap<u64, (u32, bool)> = BTreeMap::new();
            let mut failures: BTreeMap<u64, u32> = BTreeMap::new();
            for action in actions {
                match action {
                    Action::Delivered(from, to) => {
                        for offset in from..to {
                            let (attempts, is_done) = table.entry(offset).or_default();
                            *attempts += u32::from(!*is_done);
                        }
                        earlier.delivered(from, to);
                    }
                    Action::Done(offset) => {
                        table.entry(offset).or_default().1 = true;
                        earlier.done(offset);
                    }
                    Action::Failed(offset) => {
                        let count = failures.entry(offset).or_default();
                        *count += 1;
                        prop_assert_eq!(earlier.failed(offset), *count);
                    }
                    Action::StartOver => {
                        for (_, is_done) in table.values_mut() {
                        *is_done = false;
                    }
                        failures.clear();
                        earlier.start_over();
                    }
                    Action::ForgetBelow(cursor) => {
                        table.retain(|offset, _| *offset >= cursor);
                        failures.retain(|offset, _| *offset >= cursor);
                        earlier.forget_below(cursor);
                    }
                    Action::Forget(from, to) => {
                        table.retain(|offset, (_, is_done)| *is_done || !(from..to).contains(offset));
                        table.range_mut(from..to).for_each(|(_, (attempts, _))| *attempts = 0);
                        failures.retain(|offset, _| !(from..to).contains(offset));
                        earlier.forget(from, to);
                    }
                }
                let of = |offset| table.get(&offset).copied().unwrap_or_default();
                for offset in 0..30u64 {
                    let (attempts, to) = earlier.attempts(offset);
                    prop_assert_eq!(attempts, of(offset).0);
                    prop_assert!(to > offset);
                    prop_assert!((offset..to.min(40)).all(|other| of(other).0 == attempts));
                    let not_done = (offset..100).find(|other| !of(*other).1);
                    prop_assert_eq!(Some(earlier.skip_done(offset)), not_done);
                }
                let done = |from, to| table.range(from..to).filter(|(_, (_, is_done))| *is_done).count() as u64;
                prop_assert_eq!((earlier.count_done(0, 100), earlier.count_done(3, 9)), (done(0, 100), done(3, 9)));
                let all: Vec<_> = earlier.ranges.iter().collect();
                prop_assert!(all.windows(2).all(|pair| pair[0].to <= pair[1].from && pair[0].from < pair[0].to));
            }
        }
    }
}

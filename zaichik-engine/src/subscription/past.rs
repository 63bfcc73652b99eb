//! What a subscription remembers of offsets that it was given before: attempts, failures, and which are done (A4 to A6).

use std::collections::VecDeque;

/// Runs of offsets with different attempts that are remembered; above it the highest are forgotten and count as new.
/// More than the records of a window of the default limit, so that only seeks back and forth get there.
const MAX_RUNS: usize = 4_096;

/// Offsets at or above the cursor, as far as they were delivered before the pass at hand. Nothing allocated until
/// something was delivered twice.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// In order, none overlapping another.
    runs: VecDeque<Run>,
    /// Failures by offset, in order.
    failures: Vec<(u64, u32)>,
}

/// Offsets with the same past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    from: u64,
    to: u64,
    attempts: u32,
    /// Went to the dead-letter topic: not delivered any more.
    is_done: bool,
}

impl Past {
    /// How often `offset` was delivered before, and the first offset above it with another past.
    pub(crate) fn attempts(&self, offset: u64) -> (u32, u64) {
        let index = self.runs.partition_point(|run| run.to <= offset);
        match self.runs.get(index) {
            Some(run) if run.from <= offset => (run.attempts, run.to),
            Some(run) => (0, run.from),
            None => (0, u64::MAX),
        }
    }

    /// The first offset at or above `offset` that is not done.
    pub(crate) fn skip_done(&self, offset: u64) -> u64 {
        let index = self.runs.partition_point(|run| run.to <= offset);
        let mut at = offset;
        for run in self.runs.range(index.min(self.runs.len())..) {
            if !run.is_done || run.from > at {
                break;
            }
            at = run.to;
        }
        at
    }

    /// The offsets `from..to` were delivered once more, but for those that are done.
    pub(crate) fn delivered(&mut self, from: u64, to: u64) {
        self.rewrite(from, to, |run| {
            let more = u32::from(!run.is_done);
            Run { attempts: run.attempts.saturating_add(more), ..run }
        });
    }

    /// An offset is done, and not to be delivered any more.
    pub(crate) fn done(&mut self, offset: u64) {
        self.rewrite(offset, offset.saturating_add(1), |run| Run { is_done: true, ..run });
    }

    /// A record failed; how often it has by now.
    pub(crate) fn failed(&mut self, offset: u64) -> u32 {
        let at = self.failures.partition_point(|(failed, _)| *failed < offset);
        if let Some((_, count)) = self.failures.get_mut(at).filter(|(failed, _)| *failed == offset) {
            *count = count.saturating_add(1);
            return *count;
        }
        self.failures.insert(at, (offset, 1));
        1
    }

    /// The position was chosen anew: nothing has failed and nothing is done.
    pub(crate) fn start_over(&mut self) {
        self.failures.clear();
        for run in &mut self.runs {
            run.is_done = false;
        }
    }

    /// Offsets below the cursor are of no interest.
    pub(crate) fn forget_below(&mut self, cursor: u64) {
        while self.runs.front().is_some_and(|run| run.to <= cursor) {
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut() {
            run.from = run.from.max(cursor);
        }
        let gone = self.failures.partition_point(|(offset, _)| *offset < cursor);
        self.failures.drain(..gone);
    }

    /// How many of the offsets `from..to` are done.
    pub(crate) fn count_done(&self, from: u64, to: u64) -> u64 {
        let done = self.runs.iter().filter(|run| run.is_done);
        done.map(|run| run.to.min(to).saturating_sub(run.from.max(from))).fold(0, u64::saturating_add)
    }

    /// The offsets `from..to` are gone: what is done stays so, because nobody is to miss it.
    pub(crate) fn forget(&mut self, from: u64, to: u64) {
        self.rewrite(from, to, |run| Run { attempts: 0, ..run });
        self.runs.retain(|run| run.attempts > 0 || run.is_done);
        self.failures.retain(|(offset, _)| *offset < from || *offset >= to);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.failures.is_empty()
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        let runs = self.runs.capacity().saturating_mul(size_of::<Run>());
        let failures = self.failures.capacity().saturating_mul(size_of::<(u64, u32)>());
        size_of::<Self>().saturating_add(runs).saturating_add(failures)
    }

    /// Changes the runs between `from` and `to`; offsets without a past get one.
    fn rewrite(&mut self, from: u64, to: u64, change: impl Fn(Run) -> Run) {
        if from >= to {
            return;
        }
        let before = core::mem::take(&mut self.runs);
        let mut at = from;
        let fresh = |from, to| change(Run { from, to, attempts: 0, is_done: false });
        for run in before {
            self.push(Run { to: run.to.min(from), ..run });
            if at < run.from.min(to) {
                self.push(fresh(at, run.from.min(to)));
                at = run.from.min(to);
            }
            let inside = Run { from: run.from.max(from), to: run.to.min(to), ..run };
            if inside.from < inside.to {
                self.push(change(inside));
                at = inside.to;
            }
            if at < to && run.from >= to {
                self.push(fresh(at, to));
                at = to;
            }
            self.push(Run { from: run.from.max(to), ..run });
        }
        if at < to {
            self.push(fresh(at, to));
        }
        self.runs.truncate(MAX_RUNS);
    }

    /// Appends a run unless it is empty; one that continues the last becomes part of it.
    fn push(&mut self, run: Run) {
        if run.from >= run.to {
            return;
        }
        match self.runs.back_mut() {
            Some(last)
                if last.to == run.from && last.attempts == run.attempts && last.is_done == run.is_done =>
            {
                last.to = run.to;
            }
            _ => self.runs.push_back(run),
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a table that overflows fails its test")]
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
    fn a_failure_at_the_cursor_counts_on() {
        let mut past = Past::default();
        assert_eq!((past.failed(4), past.failed(5)), (1, 1));
        past.forget_below(5);
        assert_eq!((past.failed(4), past.failed(5)), (1, 2));
    }

    proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn runs_say_what_a_table_of_offsets_says(actions in vec_of(action(), 1..40)) {
                let mut past = Past::default();
                let mut table: BTreeMap<u64, (u32, bool)> = BTreeMap::new();
                let mut failures: BTreeMap<u64, u32> = BTreeMap::new();
                for action in actions {
                    match action {
                        Action::Delivered(from, to) => {
                            for offset in from..to {
                                let (attempts, is_done) = table.entry(offset).or_default();
                                *attempts += u32::from(!*is_done);
                            }
                            past.delivered(from, to);
                        }
                        Action::Done(offset) => {
                            table.entry(offset).or_default().1 = true;
                            past.done(offset);
                        }
                        Action::Failed(offset) => {
                            let count = failures.entry(offset).or_default();
                            *count += 1;
                            prop_assert_eq!(past.failed(offset), *count);
                        }
                        Action::StartOver => {
                            for (_, is_done) in table.values_mut() {
     *is_done = false;
    }
                            failures.clear();
                            past.start_over();
                        }
                        Action::ForgetBelow(cursor) => {
                            table.retain(|offset, _| *offset >= cursor);
                            failures.retain(|offset, _| *offset >= cursor);
                            past.forget_below(cursor);
                        }
                        Action::Forget(from, to) => {
                            table.retain(|offset, (_, is_done)| *is_done || !(from..to).contains(offset));
                            table.range_mut(from..to).for_each(|(_, (attempts, _))| *attempts = 0);
                            failures.retain(|offset, _| !(from..to).contains(offset));
                            past.forget(from, to);
                        }
                    }
                    let of = |offset| table.get(&offset).copied().unwrap_or_default();
                    for offset in 0..30u64 {
                        let (attempts, to) = past.attempts(offset);
                        prop_assert_eq!(attempts, of(offset).0);
                        prop_assert!(to > offset);
                        prop_assert!((offset..to.min(40)).all(|other| of(other).0 == attempts));
                        let not_done = (offset..100).find(|other| !of(*other).1);
                        prop_assert_eq!(Some(past.skip_done(offset)), not_done);
                    }
                    let done = |from, to| table.range(from..to).filter(|(_, (_, is_done))| *is_done).count() as u64;
                    prop_assert_eq!((past.count_done(0, 100), past.count_done(3, 9)), (done(0, 100), done(3, 9)));
                    let all: Vec<_> = past.runs.iter().collect();
                    prop_assert!(all.windows(2).all(|pair| pair[0].to <= pair[1].from && pair[0].from < pair[0].to));
                }
            }
        }
}

//! A broker's counters.

use std::collections::BTreeMap;

use zaichik_proto::{Counter, CounterValue, RefusalCode};

use super::ledger::Ledger;
use crate::stats::Stats;

/// The broker's own counters, refusals by code, and counters that the surrounding program reports.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) stats: Stats,
    refusals: BTreeMap<RefusalCode, u64>,
    reported: BTreeMap<Counter, u64>,
}

/// Adds to a counter, which stays at its maximum instead of wrapping.
pub(super) const fn bump(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

impl Counters {
    pub(super) fn refused(&mut self, code: RefusalCode) {
        bump(&mut self.stats.refused, 1);
        bump(self.refusals.entry(code).or_default(), 1);
    }

    /// Sets a counter of the surrounding program; any other counter does not change.
    pub(super) fn report(&mut self, counter: Counter, value: u64) {
        if is_reported(counter) {
            self.reported.insert(counter, value);
        }
    }

    /// Adds to a counter of the surrounding program; any other counter does not change.
    pub(super) fn count(&mut self, counter: Counter, more: u64) {
        if is_reported(counter) {
            bump(self.reported.entry(counter).or_default(), more);
        }
    }

    /// Every counter, in the order of their codes: the broker's own, the surrounding program's, and refusals by code.
    pub(super) fn list(&self, gauges: Gauges) -> impl Iterator<Item = CounterValue> {
        let reported = self.reported.iter().map(|(counter, value)| (*counter, *value));
        let refusals = self.refusals.iter().map(|(code, count)| (Counter::refusals(*code), *count));
        let changed = gauges.changed_rows.map(|rows| (Counter::StorageChangedRows, rows as u64));
        let all = own(&self.stats, gauges).into_iter().chain(changed).chain(reported).chain(refusals);
        all.map(|(counter, value)| CounterValue { counter, value })
    }
}

/// A broker's current amounts, as opposed to its running counters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gauges {
    /// Time since the broker's first call.
    pub(super) uptime_micros: u64,
    pub(super) connections: usize,
    pub(super) topics: usize,
    pub(super) subscriptions: usize,
    pub(super) durables: usize,
    pub(super) ledger: Ledger,
    pub(super) memory_budget: u64,
    /// `None` without a store.
    pub(super) changed_rows: Option<usize>,
}

fn own(stats: &Stats, gauges: Gauges) -> [(Counter, u64); 26] {
    let ledger = gauges.ledger;
    [
        (Counter::Uptime, gauges.uptime_micros),
        (Counter::Connections, gauges.connections as u64),
        (Counter::ConnectionsAccepted, stats.connections),
        (Counter::Topics, gauges.topics as u64),
        (Counter::Subscriptions, gauges.subscriptions as u64),
        (Counter::DurableSubscriptions, gauges.durables as u64),
        (Counter::RecordsIn, stats.records_accepted),
        (Counter::BytesIn, stats.bytes_accepted),
        (Counter::RecordsOut, stats.records_delivered),
        (Counter::BytesOut, stats.bytes_delivered),
        (Counter::Duplicates, stats.duplicates),
        (Counter::Repeated, stats.repeated),
        (Counter::Gaps, stats.gaps),
        (Counter::Superseded, stats.superseded),
        (Counter::Rewinds, stats.rewinds),
        (Counter::DeadLetters, stats.dead_letters),
        (Counter::DeadLettersRefused, stats.dead_letters_refused),
        (Counter::Takeovers, stats.takeovers),
        (Counter::Refused, stats.refused),
        (Counter::ClockStepsBack, stats.clock_steps_back),
        (Counter::MemoryTopics, ledger.topics),
        (Counter::MemoryRetired, ledger.retired),
        (Counter::MemorySubscriptions, ledger.subscriptions),
        (Counter::MemoryProducers, ledger.producers),
        (Counter::MemorySessions, ledger.sessions),
        (Counter::MemoryBudget, gauges.memory_budget),
    ]
}

/// Whether only the surrounding program knows a counter.
const fn is_reported(counter: Counter) -> bool {
    matches!(
        counter,
        Counter::WriteStalls
            | Counter::ProcessCpu
            | Counter::ProcessMemory
            | Counter::ProcessMemoryPeak
            | Counter::StorageCommits
            | Counter::StorageRowsCommitted
            | Counter::StorageBytesWritten
            | Counter::StorageNoSpace
            | Counter::StorageFull
            | Counter::StorageLastCommit
            | Counter::StorageLastErrorTime
            | Counter::StorageSegments
            | Counter::StorageBytes
            | Counter::StorageLiveBytes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_stays_at_its_maximum() {
        let mut counter = u64::MAX - 1;
        bump(&mut counter, 5);
        assert_eq!(counter, u64::MAX);
    }

    #[test]
    fn only_counters_of_the_program_can_be_reported() {
        let mut counters = Counters::default();
        counters.report(Counter::Topics, 9);
        counters.count(Counter::WriteStalls, 2);
        counters.count(Counter::WriteStalls, 3);
        counters.refused(RefusalCode::Busy);
        let listed: Vec<_> = counters.list(Gauges { topics: 1, ..Gauges::default() }).collect();
        let value = |counter| listed.iter().find(|one| one.counter == counter).map(|one| one.value);
        assert_eq!(value(Counter::Topics), Some(1), "the broker's own counter is not overwritten");
        assert_eq!(value(Counter::WriteStalls), Some(5));
        assert_eq!(value(Counter::refusals(RefusalCode::Busy)), Some(1));
    }
}

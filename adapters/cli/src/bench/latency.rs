//! Latencies: how they are kept, and what is told of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use zaichik_tokio::Timestamp;

use crate::failure::{Code, Failure};

/// The longest latency that is kept as it is; longer ones count as this one.
const LONGEST: Duration = Duration::from_hours(1);

/// Digits that are kept.
const DIGITS: u8 = 3;

/// Latencies in microseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is told of latencies, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
}

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    /// Never, with these limits.
    pub(crate) fn new() -> Result<Self, Failure> {
        let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        let histogram = Histogram::new_with_bounds(1, longest, DIGITS);
        histogram.map(Self).map_err(|error| Failure::new(Code::Other, error))
    }

    /// As many messages took from `since` until `now`.
    pub(crate) fn record(&mut self, since: Timestamp, now: Timestamp, messages: u64) {
        let micros = now.as_micros().saturating_sub(since.as_micros());
        self.0.saturating_record_n(micros, messages);
    }

    /// Those of `other` too.
    ///
    /// # Errors
    /// Never: both have the same limits.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.0.add(&other.0).map_err(|error| Failure::new(Code::Other, error))
    }

    /// `None` if there are none.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut latencies = Latencies::new().expect("the limits are fine");
        assert_eq!(latencies.percentiles(), None);
        latencies.record(at(100), at(110), 989);
        let mut more = Latencies::new().expect("the limits are fine");
        more.record(at(0), at(1_000), 10);
        more.record(at(5), at(4), 1);
        latencies.add(&more).expect("alike");
        let told = latencies.percentiles().expect("some");
        assert_eq!((told.count, told.p50_us, told.p90_us, told.p99_us), (1_000, 10, 10, 10));
        assert_eq!((told.p999_us, told.max_us), (1_000, 1_000));
        assert!((told.mean_us - 19.89).abs() < 0.01, "{}", told.mean_us);
    }

    #[test]
    fn what_took_longer_than_the_longest_counts_as_the_longest() {
        let mut latencies = Latencies::new().expect("the limits are fine");
        latencies.record(at(0), Timestamp::MAX, 1);
        let told = latencies.percentiles().expect("some");
        assert!(told.max_us >= 3_600_000_000, "{}", told.max_us);
    }
}

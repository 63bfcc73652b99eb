//! Latencies in microseconds, as reports show them.

use serde::Serialize;
use zaichik_measure::Latencies;
use zaichik_tokio::Timestamp;

/// The latency figures of a report, in microseconds.
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

/// Records that `messages` messages took from `since` until `now`.
pub(crate) fn record(latencies: &mut Latencies, since: Timestamp, now: Timestamp, messages: u64) {
    latencies.record(now.as_micros().saturating_sub(since.as_micros()), messages);
}

impl Percentiles {
    /// `None` without latencies.
    pub(crate) fn of(latencies: &Latencies) -> Option<Self> {
        (latencies.count() > 0).then(|| Self {
            count: latencies.count(),
            mean_us: latencies.mean(),
            p50_us: latencies.quantile(0.5),
            p90_us: latencies.quantile(0.9),
            p99_us: latencies.quantile(0.99),
            p999_us: latencies.quantile(0.999),
            max_us: latencies.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut latencies = Latencies::in_microseconds().expect("a valid bound");
        assert_eq!(Percentiles::of(&latencies), None);
        record(&mut latencies, Timestamp::from_micros(100), Timestamp::from_micros(110), 99);
        record(&mut latencies, Timestamp::ZERO, Timestamp::from_micros(1_000), 1);
        let shown = Percentiles::of(&latencies).expect("latencies");
        assert_eq!((shown.count, shown.p50_us, shown.p99_us, shown.p999_us), (100, 10, 10, 1_000));
        assert_eq!(shown.max_us, 1_000);
    }
}

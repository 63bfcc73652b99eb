//! Latency histograms.

use std::fmt;

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer latencies count as this one.
const LONGEST: Duration = Duration::from_hours(1);

/// Significant digits.
const DIGITS: u8 = 3;

/// Latencies up to an hour, to three digits, in microseconds or nanoseconds.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// The histogram cannot have these bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramError;

impl Latencies {
    /// An empty histogram in microseconds.
    ///
    /// # Errors
    /// None in practice.
    pub fn in_microseconds() -> Result<Self, HistogramError> {
        Self::new(LONGEST.as_micros())
    }

    /// An empty histogram in nanoseconds.
    ///
    /// # Errors
    /// None in practice.
    pub fn in_nanoseconds() -> Result<Self, HistogramError> {
        Self::new(LONGEST.as_nanos())
    }

    fn new(longest: u128) -> Result<Self, HistogramError> {
        let longest = u64::try_from(longest).map_err(|_| HistogramError)?;
        Histogram::new_with_bounds(1, longest, DIGITS).map(Self).map_err(|_| HistogramError)
    }

    /// Records the same latency for `messages` messages; one above an hour counts as an hour.
    pub fn record(&mut self, latency: u64, messages: u64) {
        self.0.saturating_record_n(latency, messages);
    }

    /// Adds the latencies of `other`.
    ///
    /// # Errors
    /// `other` has another unit, and holds a latency that this histogram cannot hold.
    pub fn add(&mut self, other: &Self) -> Result<(), HistogramError> {
        self.0.add(&other.0).map_err(|_| HistogramError)
    }

    /// The number of messages.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The mean; 0 without messages.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// The latency that this part of the messages do not exceed, 0.5 for the median; 0 without messages.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The longest latency; 0 without messages.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max()
    }
}

impl fmt::Display for HistogramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a latency histogram with unusable bounds")
    }
}

impl std::error::Error for HistogramError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_add_up() {
        let mut latencies = Latencies::in_microseconds().unwrap();
        assert_eq!((latencies.count(), latencies.quantile(0.5), latencies.max()), (0, 0, 0));
        latencies.record(10, 989);
        let mut more = Latencies::in_microseconds().unwrap();
        more.record(1_000, 10);
        more.record(0, 1);
        latencies.add(&more).unwrap();
        assert_eq!([0.5, 0.9, 0.99, 0.999].map(|quantile| latencies.quantile(quantile)), [10, 10, 10, 1_000]);
        assert_eq!((latencies.count(), latencies.max()), (1_000, 1_000));
        assert!((latencies.mean() - 19.89).abs() < 0.01, "{}", latencies.mean());
    }

    #[test]
    fn a_latency_above_an_hour_counts_as_an_hour() {
        for (latencies, hour) in
            [(Latencies::in_microseconds(), 3_600_000_000), (Latencies::in_nanoseconds(), 3_600_000_000_000)]
        {
            let mut latencies = latencies.unwrap();
            latencies.record(u64::MAX, 1);
            assert!((hour..hour + hour / 1_000).contains(&latencies.max()), "{}", latencies.max());
        }
    }
}

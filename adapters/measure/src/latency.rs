//! Latency histograms.

use std::fmt;

use hdrhistogram::Histogram;

/// Significant digits.
const DIGITS: u8 = 3;

/// Latencies to three digits, in the unit that the caller records: microseconds or nanoseconds.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// The histogram cannot have these bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramError;

impl Latencies {
    /// An empty histogram; a latency above `longest` counts as `longest`.
    ///
    /// # Errors
    /// `longest` is less than 2.
    pub fn new(longest: u64) -> Result<Self, HistogramError> {
        Histogram::new_with_bounds(1, longest, DIGITS).map(Self).map_err(|_| HistogramError)
    }

    /// Records the same latency for `messages` messages.
    pub fn record(&mut self, latency: u64, messages: u64) {
        self.0.saturating_record_n(latency, messages);
    }

    /// Adds the latencies of `other`.
    ///
    /// # Errors
    /// `other` holds a latency above this histogram's bound.
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

    const HOUR: u64 = 3_600_000_000;

    #[test]
    fn histograms_add_up() {
        let mut latencies = Latencies::new(HOUR).unwrap();
        assert_eq!((latencies.count(), latencies.quantile(0.5), latencies.max()), (0, 0, 0));
        latencies.record(10, 989);
        let mut more = Latencies::new(HOUR).unwrap();
        more.record(1_000, 10);
        more.record(0, 1);
        latencies.add(&more).unwrap();
        assert_eq!([0.5, 0.9, 0.99, 0.999].map(|quantile| latencies.quantile(quantile)), [10, 10, 10, 1_000]);
        assert_eq!((latencies.count(), latencies.max()), (1_000, 1_000));
        assert!((latencies.mean() - 19.89).abs() < 0.01, "{}", latencies.mean());
    }

    #[test]
    fn a_latency_above_the_bound_counts_as_the_bound() {
        let mut latencies = Latencies::new(HOUR).unwrap();
        latencies.record(u64::MAX, 1);
        assert!(latencies.max() >= HOUR, "{}", latencies.max());
        assert_eq!(Latencies::new(1).err(), Some(HistogramError));
    }
}

//! How often rejected clients are logged.

use std::time::Duration;

use zaichik_engine::Timestamp;

/// Minimum time between two warnings about rejected clients, so that guessing a token does not fill the log.
const INTERVAL: Duration = Duration::from_secs(1);

/// The clients rejected because of their token.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    last: Option<Timestamp>,
    unreported: u64,
}

impl Rejections {
    /// Counts a rejected client. Returns the number of earlier ones that no warning has reported if a warning is due,
    /// `None` if the last one was too recent.
    pub(crate) fn record(&mut self, now: Timestamp) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + INTERVAL) {
            self.unreported = self.unreported.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_warning_per_second_is_due_and_it_counts_the_others() {
        let mut rejections = Rejections::default();
        let expected = [
            (0, Some(0)),
            (1, None),
            (999_999, None),
            (1_000_000, Some(2)),
            (1_000_001, None),
            (5_000_000, Some(1)),
            (9_000_000, Some(0)),
        ];
        for (micros, due) in expected {
            assert_eq!(rejections.record(Timestamp::from_micros(micros)), due, "{micros}");
        }
    }
}

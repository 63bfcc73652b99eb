//! When messages are due at a fixed rate.

use std::time::Duration;

const NANOS: u64 = 1_000_000_000;

/// When each message of one publisher is due; several publishers take turns.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Messages per second of all publishers.
    rate: u64,
    publishers: u64,
    index: u64,
}

impl Schedule {
    /// The schedule of publisher `index` of `publishers`, which together publish `rate` messages per second; a `rate` or
    /// number of publishers of 0 counts as 1.
    #[must_use]
    pub fn new(rate: u64, publishers: u32, index: u32) -> Self {
        Self { rate: rate.max(1), publishers: u64::from(publishers.max(1)), index: u64::from(index) }
    }

    /// How long after the beginning the publisher's message `number` is due; the first one is number 0.
    #[must_use]
    pub fn due(&self, number: u64) -> Duration {
        let place =
            u128::from(number).saturating_mul(self.publishers.into()).saturating_add(self.index.into());
        let nanos = place.saturating_mul(NANOS.into()).checked_div(self.rate.into()).unwrap_or_default();
        let seconds = nanos.checked_div(NANOS.into()).unwrap_or_default();
        let rest = nanos.checked_rem(NANOS.into()).unwrap_or_default();
        Duration::new(u64::try_from(seconds).unwrap_or(u64::MAX), u32::try_from(rest).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_take_turns() {
        let due = |index, number| Schedule::new(1_000, 2, index).due(number).as_millis();
        assert_eq!([due(0, 0), due(1, 0), due(0, 1), due(1, 1)], [0, 1, 2, 3]);
    }

    #[test]
    fn a_schedule_does_not_drift() {
        let due = |number| Schedule::new(3, 1, 0).due(number).as_micros();
        assert_eq!(
            [due(1), due(2), due(3), due(3_000_000)],
            [333_333, 666_666, 1_000_000, 1_000_000_000_000]
        );
        assert_eq!(Schedule::new(0, 0, 0).due(u64::MAX), Duration::from_secs(u64::MAX));
    }
}

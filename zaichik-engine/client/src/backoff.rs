//! Delays that double up to a maximum, and differ between clients.

use core::time::Duration;

use zaichik_proto::{Refusal, micros};

/// Pseudo-random numbers from a seed that the caller chose: the same seed gives the same delays.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `max`.
    fn up_to(&mut self, max: u64) -> u64 {
        // SplitMix64: only the spread matters here, not the quality.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        mixed.checked_rem(max.saturating_add(1)).unwrap_or(0)
    }
}

/// A delay that doubles with each failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    min_micros: u64,
    max_micros: u64,
    failures: u32,
}

impl Backoff {
    /// Between two attempts to publish the same records: 10 ms doubling to 1 s.
    pub(crate) const PUBLISH: Self = Self { min_micros: 10_000, max_micros: 1_000_000, failures: 0 };

    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min_micros: micros(min).max(1), max_micros: micros(max), failures: 0 }
    }

    /// The next delay in microseconds, with up to half of it added as jitter, so it exceeds the maximum by at most
    /// half.
    pub(crate) fn next(&mut self, jitter: &mut Jitter) -> u64 {
        let factor = 1u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        self.failures = self.failures.saturating_add(1);
        let delay = self.min_micros.saturating_mul(factor).min(self.max_micros);
        delay.saturating_add(jitter.up_to(delay >> 1))
    }

    /// The next delay after a refusal, in microseconds; at least the delay that the broker asks for.
    pub(crate) fn next_after(&mut self, refusal: Refusal, jitter: &mut Jitter) -> u64 {
        // A day exceeds every deadline; the bound keeps a bogus number from stopping a subscription forever.
        self.next(jitter).max(refusal.retry_after_micros().min(86_400_000_000))
    }

    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_with_jitter_from_the_seed() {
        let delays = |seed| {
            let (mut backoff, mut jitter) = (Backoff::PUBLISH, Jitter::new(seed));
            (0..100).map(|_| backoff.next(&mut jitter)).collect::<Vec<_>>()
        };
        for (failures, delay) in delays(7).into_iter().enumerate() {
            let base = 10_000u64
                .saturating_mul(1u64.checked_shl(u32::try_from(failures).unwrap()).unwrap_or(u64::MAX));
            let base = base.min(1_000_000);
            assert!((base..=base + base / 2).contains(&delay), "{failures}: {delay}");
        }
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }
}

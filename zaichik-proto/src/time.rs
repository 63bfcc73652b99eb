//! Time as a number, which the driver of a state machine passes in.

use core::time::Duration;

use crate::options::micros;

/// A moment, in microseconds since the Unix epoch.
///
/// The state machines never read a clock. Within each of them time does not move backwards: a smaller `now` is treated
/// as the largest seen. Arithmetic saturates, so [`Timestamp::MAX`] means "never".
///
/// ```
/// use std::time::Duration;
/// use zaichik_proto::Timestamp;
/// let now = Timestamp::from_micros(1_000_000);
/// assert_eq!((now + Duration::from_secs(2)).as_micros(), 3_000_000);
/// assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);
    /// Never.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `micros` microseconds later.
    #[must_use]
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The time since `earlier`; zero if this is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.plus_micros(micros(duration))
    }
}

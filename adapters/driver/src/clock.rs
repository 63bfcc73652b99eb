//! The clock of the state machines.

use std::time::{Duration, Instant, SystemTime};

use zaichik_proto::Timestamp;

use crate::runtime::Runtime;
use crate::system_clock;

/// The time: the wall clock at the start, plus the time elapsed since.
///
/// The wall clock is read once, so later jumps have no effect; two clocks of one program may differ by the jumps
/// between their starts.
///
/// ```
/// use zaichik_driver::Clock;
/// let clock = Clock::start();
/// let (before, after) = (clock.now(), clock.now());
/// assert!(before <= after, "even if the wall clock jumps");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    now: fn() -> Instant,
    start: Instant,
    unix_at_start: Timestamp,
}

impl Clock {
    /// A clock of the operating system, for code without a runtime.
    #[must_use]
    pub fn start() -> Self {
        Self::starting(system_clock::monotonic, system_clock::wall_clock())
    }

    /// A clock of a runtime: it stops and jumps as the runtime's time does.
    #[must_use]
    pub fn of<R: Runtime>() -> Self {
        Self::starting(R::now, R::wall_clock())
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.unix_at_start + (self.now)().saturating_duration_since(self.start)
    }

    /// The runtime's instant of `timestamp`; at that instant the clock is at `timestamp` or later. `None` if it is too
    /// far away for the runtime, which counts as never.
    #[must_use]
    pub fn instant(&self, timestamp: Timestamp) -> Option<Instant> {
        self.start.checked_add(timestamp.since(self.unix_at_start))
    }

    fn starting(now: fn() -> Instant, wall_clock: SystemTime) -> Self {
        let unix = wall_clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { now, start: now(), unix_at_start: Timestamp::ZERO + unix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_converts_to_its_instant() {
        let clock = Clock::start();
        let at = clock.unix_at_start + Duration::from_micros(1_234_567);
        let instant = clock.instant(at).expect("near");
        assert_eq!(instant.duration_since(clock.start), Duration::from_micros(1_234_567));
        assert!(clock.now() >= clock.unix_at_start);
    }

    #[test]
    fn a_timestamp_before_the_start_is_the_start() {
        let clock = Clock::start();
        assert_eq!(clock.instant(Timestamp::ZERO), Some(clock.start));
    }
}

//! The one clock: what time it is, as the state machines want to be told.

use std::time::{Duration, Instant, SystemTime};

use zaichik_proto::Timestamp;

use crate::runtime::Runtime;
use crate::system_clock;

/// Tells the time: the wall clock as it stood at the start, plus what has passed since.
///
/// The wall clock is read once, so its jumps change nothing; two clocks of one program may differ by the jumps
/// between their starts.
///
/// ```
/// use zaichik_driver::Clock;
/// let clock = Clock::start();
/// let (before, after) = (clock.now(), clock.now());
/// assert!(before <= after, "whatever the wall clock does meanwhile");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    now: fn() -> Instant,
    start: Instant,
    unix_at_start: Timestamp,
}

impl Clock {
    /// A clock of the operating system, for what runs without a runtime.
    #[must_use]
    pub fn start() -> Self {
        Self::starting(system_clock::monotonic, system_clock::wall_clock())
    }

    /// A clock of a runtime: where that one's time stands still, or jumps, this one does too.
    #[must_use]
    pub fn of<R: Runtime>() -> Self {
        Self::starting(R::now, R::wall_clock())
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.unix_at_start + (self.now)().saturating_duration_since(self.start)
    }

    /// The runtime's moment for `timestamp`; the clock says at least `timestamp` when it comes. `None` for one
    /// too far away for the runtime, which is as good as never.
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
    fn a_moment_comes_back_as_itself() {
        let clock = Clock::start();
        let at = clock.unix_at_start + Duration::from_micros(1_234_567);
        let instant = clock.instant(at).expect("near");
        assert_eq!(instant.duration_since(clock.start), Duration::from_micros(1_234_567));
        assert!(clock.now() >= clock.unix_at_start);
    }

    #[test]
    fn the_past_is_the_start() {
        let clock = Clock::start();
        assert_eq!(clock.instant(Timestamp::ZERO), Some(clock.start));
    }
}

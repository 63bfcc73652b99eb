//! The one clock: what time it is, as the state machines want to be told.

use std::time::{Duration, Instant, SystemTime};

use zaichik_engine::Timestamp;

/// Tells the time: the wall clock as it stood at the start, plus what has passed since.
///
/// The wall clock is read once, so its jumps change nothing; two clocks of one program may differ by the jumps
/// between their starts.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    unix_at_start: Timestamp,
}

impl Clock {
    /// A clock that starts from the wall clock.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the adapters' one clock: everything else is told the time"
    )]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { start: Instant::now(), unix_at_start: Timestamp::ZERO + unix }
    }

    /// What time it is.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the adapters' one clock: everything else is told the time"
    )]
    pub fn now(&self) -> Timestamp {
        self.unix_at_start + self.start.elapsed()
    }

    /// The runtime's moment for `timestamp`; the clock says at least `timestamp` when it comes. `None` for one
    /// too far away for the runtime, which is as good as never.
    #[must_use]
    pub fn instant(&self, timestamp: Timestamp) -> Option<Instant> {
        self.start.checked_add(timestamp.since(self.unix_at_start))
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

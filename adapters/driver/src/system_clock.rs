//! The operating system's clocks. No other code of the adapters reads them.

use std::time::{Instant, SystemTime};

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the adapters' one clock: other code takes the time as an argument"
)]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// The wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the adapters' one clock: other code takes the time as an argument"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

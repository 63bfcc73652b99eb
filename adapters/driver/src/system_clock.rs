//! The operating system's clocks, which nothing else in the adapters reads.

use std::time::{Instant, SystemTime};

/// The operating system's clock that never goes back.
#[expect(clippy::disallowed_methods, reason = "the adapters' one clock: everything else is told the time")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// The operating system's clock that knows the date.
#[expect(clippy::disallowed_methods, reason = "the adapters' one clock: everything else is told the time")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

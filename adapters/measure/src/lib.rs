//! What the measuring tools share: `zaichik bench`, which measures through the client library, and `bench/`, which
//! compares brokers through plain sockets.
//!
//! Nothing here reads a clock or knows a broker; moments and durations are arguments.

mod latency;
mod machine;
pub mod payload;
mod schedule;

pub use latency::{HistogramError, Latencies};
pub use machine::{Machine, sleep_exactly};
pub use schedule::Schedule;

//! The Zaichik broker and client as pure state machines.

#[allow(dead_code, reason = "used by the machines")]
mod outbound;
mod time;

pub use outbound::Outbound;
pub use time::Timestamp;

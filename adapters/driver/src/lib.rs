//! The one loop between Zaichik's state machines and a byte stream, for any async runtime.

mod runtime;

pub use runtime::{Io, Listener, Runtime, Timer};

//! What Zaichik's broker commands have in common, on any runtime: options, limits of the machine, start lines,
//! signals, exit codes.
//!
//! A command brings its runtime, and how signals arrive there; the rest is [`Process`].

mod descriptors;
mod memory;
mod options;
mod process;
mod signals;

pub use options::Options;
pub use process::Process;
pub use signals::Signal;

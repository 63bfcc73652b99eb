//! What Zaichik's broker commands have in common, on any runtime: configuration, limits of the machine, start lines,
//! signals, exit codes.
//!
//! A command brings its runtime, and how signals arrive there; the rest is [`Process`] and [`Command`].

mod command;
mod config;
mod descriptors;
mod http;
mod log;
mod memory;
mod options;
mod plan;
mod process;
mod ready;
mod signals;
mod token;
mod usage;
mod usage_error;

pub use command::{Command, ConfigCommand};
pub use options::Options;
pub use process::Process;
pub use signals::Signal;
pub use usage_error::parse;

//! The parts that Zaichik's broker commands share, on any runtime: configuration, limits of the machine, start lines,
//! signals, exit codes.
//!
//! A command supplies its runtime and a stream of signals; [`Process`] and [`Command`] do the rest.

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

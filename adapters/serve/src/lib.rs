//! The parts that Zaichik's broker commands share, on any runtime: configuration, limits of the machine, start lines,
//! signals, exit codes.
//!
//! A command supplies its runtime and a stream of signals; [`Process`] and [`Command`] do the rest.

mod command;
mod config;
mod configured;
mod descriptors;
mod exit_code;
mod http;
mod log;
mod memory;
mod options;
mod plan;
#[doc(hidden)]
pub mod planted;
mod process;
mod ready;
mod run_error;
mod signals;
mod storage;
mod token;
mod topics;
mod usage;
mod usage_error;

pub use command::{Command, ConfigArgs, ConfigCommand, ConfigOutput};
pub use configured::ConfiguredBroker;
pub use options::Options;
pub use process::Process;
pub use signals::Signal;
pub use token::token_file_warning;
pub use usage_error::parse;

//! The subcommands that every broker command has.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

use crate::Options;
use crate::config::{Mistake, default_file};
use crate::plan::Plan;

/// Exit code for an invalid configuration.
pub(crate) const WRONG_CONFIGURATION: u8 = 2;

/// The subcommands that every broker command has.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker (the default without a command).
    Serve(Box<Options>),
    /// Check or print a broker's configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration as `serve` would, then exit: 0 if it is valid, 2 if not.
    Check(Box<Options>),
    /// Print the effective configuration as a file, each value with its origin.
    Print(Box<Options>),
    /// Print a configuration file with every setting at its default.
    Default,
}

impl ConfigCommand {
    /// Runs it; messages on stderr begin with `command`.
    #[must_use]
    pub fn run(&self, command: &str) -> ExitCode {
        match self {
            Self::Check(options) => check(command, options),
            Self::Print(options) => match Plan::make(options) {
                Ok(plan) => print(command, plan.config.effective_file()),
                Err(mistakes) => wrong(command, &mistakes),
            },
            Self::Default => print(command, default_file()),
        }
    }
}

/// Checks a configuration and prints the result.
pub(crate) fn check(command: &str, options: &Options) -> ExitCode {
    match Plan::make(options) {
        Ok(plan) => print(command, format_args!("the configuration is valid: {}\n", plan.config.sources())),
        Err(mistakes) => wrong(command, &mistakes),
    }
}

/// Prints each mistake in the configuration on a line of stderr.
pub(crate) fn wrong(command: &str, mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        fail(command, WRONG_CONFIGURATION, mistake);
    }
    ExitCode::from(WRONG_CONFIGURATION)
}

/// Prints the reason on stderr and returns the exit code.
pub(crate) fn fail(command: &str, code: u8, why: impl Display) -> ExitCode {
    // There is nowhere to report a failure to write to stderr.
    drop(writeln!(io::stderr(), "{command}: {why}"));
    ExitCode::from(code)
}

fn print(command: &str, text: impl Display) -> ExitCode {
    match write!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        // The reader stopped early, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(command, 1, format_args!("cannot write to stdout: {error}")),
    }
}

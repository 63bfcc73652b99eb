//! What a broker command can be told to do.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

use crate::Options;
use crate::config::{Mistake, default_file};
use crate::plan::Plan;

/// The configuration is wrong.
pub(crate) const WRONG_CONFIGURATION: u8 = 2;

/// The commands that all broker commands have.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker; what happens without a command.
    Serve(Box<Options>),
    /// Check or show a broker's configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What can be asked about a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check it as `serve` would, without serving: code 0 if it is in order, 2 if not.
    Check(Box<Options>),
    /// Print what holds as a file, each value with its origin.
    Print(Box<Options>),
    /// Print a file with every default.
    Default,
}

impl ConfigCommand {
    /// Does it, in a process called `command`.
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

/// Checks a configuration, and says that it is in order or what is wrong.
pub(crate) fn check(command: &str, options: &Options) -> ExitCode {
    match Plan::make(options) {
        Ok(plan) => {
            print(command, format_args!("the configuration is in order: {}\n", plan.config.sources()))
        }
        Err(mistakes) => wrong(command, &mistakes),
    }
}

/// Says what is wrong with the configuration, in a line each.
pub(crate) fn wrong(command: &str, mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        fail(command, WRONG_CONFIGURATION, mistake);
    }
    ExitCode::from(WRONG_CONFIGURATION)
}

/// Says why the process ends with this code.
pub(crate) fn fail(command: &str, code: u8, why: impl Display) -> ExitCode {
    // Nobody can be told that it can't be told.
    drop(writeln!(io::stderr(), "{command}: {why}"));
    ExitCode::from(code)
}

fn print(command: &str, text: impl Display) -> ExitCode {
    match write!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        // Who has read enough has what was asked for.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(command, 1, format_args!("cannot write to stdout: {error}")),
    }
}

//! The subcommands that every broker command has.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::Options;
use crate::config::{Mistake, default_file, default_json};
use crate::exit_code::{OTHER, WRONG_CONFIGURATION};
use crate::plan::Plan;

/// The subcommands that every broker command has.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker (the default without a command).
    #[command(visible_alias = "server")]
    Serve(Box<Options>),
    /// Check or print a broker's configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration as `serve` would, then exit: 0 if it is valid, 2 if not.
    Check(Box<ConfigArgs>),
    /// Print the effective configuration as a file, each value with its origin.
    Print(Box<ConfigArgs>),
    /// Print a configuration file with every setting at its default.
    Default(ConfigOutput),
}

/// A configuration, and how to report it.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    output: ConfigOutput,
}

/// How to report a configuration.
#[derive(Debug, Args)]
pub struct ConfigOutput {
    /// Print one line of JSON.
    #[arg(short = 'J', long)]
    json: bool,
}

impl ConfigCommand {
    /// Runs it; messages on stderr begin with `command`.
    #[must_use]
    pub fn run(&self, command: &str) -> ExitCode {
        match self {
            Self::Check(request) => check(command, &request.options, request.output.json),
            Self::Print(request) => match Plan::make(&request.options) {
                Ok(plan) if request.output.json => print(command, plan.config.effective_json()),
                Ok(plan) => print(command, plan.config.effective_file()),
                Err(mistakes) => wrong(command, &mistakes),
            },
            Self::Default(ConfigOutput { json: true }) => print(command, default_json()),
            Self::Default(_) => print(command, default_file()),
        }
    }
}

/// Checks a configuration and prints the result.
pub(crate) fn check(command: &str, options: &Options, json: bool) -> ExitCode {
    match Plan::make(options) {
        Ok(plan) => {
            if let Some(warning) = plan.token.and_then(|token| token.warning) {
                warn(command, warning);
            }
            let sources = plan.config.sources();
            if json {
                let valid = serde_json::json!({ "valid": true, "sources": sources });
                print(command, format_args!("{valid}\n"))
            } else {
                print(command, format_args!("the configuration is valid: {sources}\n"))
            }
        }
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
    warn(command, why);
    ExitCode::from(code)
}

fn warn(command: &str, what: impl Display) {
    // There is nowhere to report a failure to write to stderr.
    drop(writeln!(io::stderr(), "{command}: {what}"));
}

fn print(command: &str, text: impl Display) -> ExitCode {
    match write!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        // The reader stopped early, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(command, OTHER, format_args!("cannot write to stdout: {error}")),
    }
}

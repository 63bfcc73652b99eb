//! The command `zaichik`: runs a broker, on tokio, and is a client of one.

mod bench;
mod connect;
mod failure;
mod ping;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zaichik_serve::{Command as BrokerCommand, Options, Process};
use zaichik_tokio::Tokio;

use crate::bench::Bench;
use crate::failure::{Code, Failure};
use crate::ping::Ping;

/// What its messages begin with.
const COMMAND: &str = "zaichik";

/// A small message broker, and the tool to use one.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Broker(BrokerCommand),
    /// Ask a broker for a sign of life.
    Ping(Ping),
    /// Measure a broker with the client library, over the network.
    Bench(Bench),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve(&cli.serve),
        Some(Command::Broker(BrokerCommand::Serve(options))) => serve(&options),
        Some(Command::Broker(BrokerCommand::Config(config))) => config.run(COMMAND),
        Some(Command::Ping(ping)) => finish(block_on(ping.run())),
        Some(Command::Bench(bench)) => finish(bench.run()),
    }
}

fn serve(options: &Options) -> ExitCode {
    let process = match Process::start(COMMAND, options) {
        Ok(process) => process,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return process.without_runtime(&error),
    };
    let workers = runtime.metrics().num_workers();
    runtime.block_on(async { process.serve::<Tokio>(("tokio", workers), signals::arriving()).await })
}

/// Runs a client's command: one thread is enough for it.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Code::Other, format_args!("cannot start the runtime: {error}")))?;
    runtime.block_on(command)
}

fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

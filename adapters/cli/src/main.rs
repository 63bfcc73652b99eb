//! The command `zaichik`: runs a broker, on tokio.

mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zaichik_serve::{Options, Process};
use zaichik_tokio::Tokio;

/// A small message broker.
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
    /// Run a broker; what happens without a command.
    Serve(Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = match cli.command {
        Some(Command::Serve(options)) => options,
        None => cli.serve,
    };
    let process = Process::start("zaichik");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return process.without_runtime(&error),
    };
    let workers = runtime.metrics().num_workers();
    runtime
        .block_on(async { process.serve::<Tokio>(&options, ("tokio", workers), signals::arriving()).await })
}

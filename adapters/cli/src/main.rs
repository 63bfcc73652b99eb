//! The command `zaichik`: runs a broker.

mod descriptors;
mod memory;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A small message broker.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker; what happens without a command.
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    /// The port to listen on, on 127.0.0.1; 0 takes any free one.
    #[arg(short, long, env = "PORT", default_value_t = 8889)]
    port: u16,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = match cli.command {
        Some(Command::Serve(options)) => options,
        None => cli.serve,
    };
    serve::run(&options)
}

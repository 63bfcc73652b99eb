//! The command `zaichik-async-std`: runs a broker, on async-std.

use std::io;
use std::num::NonZero;
use std::process::ExitCode;

use async_signal::Signals;
use clap::Parser;
use futures::{Stream, StreamExt};
use zaichik_async_std::AsyncStd;
use zaichik_serve::{Command, Options, Process, Signal};

/// The prefix of its error messages.
const COMMAND: &str = "zaichik-async-std";

/// A small message broker, on async-std.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
#[command(after_help = "Without a command it runs a broker, with the options of `zaichik-async-std serve`.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Options,
}

fn main() -> ExitCode {
    let cli: Cli = zaichik_serve::parse(COMMAND);
    match cli.command {
        None => serve(&cli.serve),
        Some(Command::Serve(options)) => serve(&options),
        Some(Command::Config(config)) => config.run(COMMAND),
    }
}

fn serve(options: &Options) -> ExitCode {
    match Process::start(COMMAND, options) {
        Ok(process) => {
            async_std::task::block_on(process.serve::<AsyncStd>(("async-std", workers()), signals()))
        }
        Err(code) => code,
    }
}

/// SIGINT and SIGTERM as they arrive.
fn signals() -> io::Result<impl Stream<Item = Signal> + Send> {
    use async_signal::Signal::{Int, Term};
    let ending: &[_] = if cfg!(unix) { &[Int, Term] } else { &[Int] };
    let signals = Signals::new(ending)?;
    Ok(signals.filter_map(async |signal| {
        Some(if signal.ok()? == Int { Signal::Interrupt } else { Signal::Terminate })
    }))
}

/// The number of threads that async-std starts.
fn workers() -> usize {
    let wanted = std::env::var("ASYNC_STD_THREAD_COUNT").ok().and_then(|count| count.parse().ok());
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get)).max(1)
}

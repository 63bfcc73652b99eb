//! The command `zaichik`: a broker on tokio, and a client.

mod bench;
mod completion;
mod connect;
mod failure;
mod hints;
mod info;
mod json_message;
mod ping;
mod printable;
mod publish;
mod report;
mod rfc3339;
mod signals;
mod stdin;
mod store;
mod subscribe;
mod subscription;
mod topic;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use zaichik_serve::{Command as BrokerCommand, Options, Process};
use zaichik_tokio::Tokio;

use crate::bench::Bench;
use crate::completion::Completion;
use crate::failure::{Code, Failure};
use crate::info::Info;
use crate::ping::Ping;
use crate::publish::Publish;
use crate::store::Store;
use crate::subscribe::Subscribe;
use crate::subscription::Subscriptions;
use crate::topic::{Topic, TopicList};

/// The prefix of its error messages.
const COMMAND: &str = "zaichik";

/// Polls of tasks before a worker of the broker looks for new events of sockets. Busy connections take up to a
/// millisecond each, and a request that arrives must not wait for tokio's 61 of them.
const POLLS_PER_EVENTS: u32 = 8;

const AFTER_HELP: &str = "\
Without a command it runs a broker, with the options of `zaichik serve`.

Examples:
  zaichik                                          # a broker on 127.0.0.1:8889
  zaichik topic create orders --retention-ttl 1h   # in another terminal
  zaichik pub orders 'one tea'
  zaichik sub orders";

/// A small message broker and its client.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
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
    /// Publish messages to a topic.
    #[command(name = "pub", visible_alias = "publish")]
    Publish(Box<Publish>),
    /// Subscribe to topics.
    #[command(name = "sub", visible_alias = "subscribe")]
    Subscribe(Box<Subscribe>),
    /// Manage topics.
    #[command(visible_alias = "t")]
    Topic(Box<Topic>),
    /// List topics, as `topic ls` does.
    #[command(visible_alias = "list")]
    Ls(TopicList),
    /// Manage durable subscriptions.
    #[command(visible_alias = "subs")]
    Subscription(Subscriptions),
    /// Show the broker's version, limits and counters.
    #[command(visible_alias = "status")]
    Info(Info),
    /// Check that the broker responds.
    Ping(Ping),
    /// Measure a broker with the client library, over the network.
    Bench(Bench),
    /// Look at a storage directory that no broker uses, and repair it.
    Store(Store),
    /// Print a completion script for a shell.
    Completion(Completion),
}

fn main() -> ExitCode {
    let cli: Cli = zaichik_serve::parse(COMMAND);
    match cli.command {
        None => serve(&cli.serve),
        Some(Command::Broker(BrokerCommand::Serve(options))) => serve(&options),
        Some(Command::Broker(BrokerCommand::Config(config))) => config.run(COMMAND),
        Some(Command::Publish(publish)) => finish(block_on(publish.run())),
        Some(Command::Subscribe(subscribe)) => finish(block_on(subscribe.run())),
        Some(Command::Topic(topic)) => finish(block_on(topic.run())),
        Some(Command::Ls(list)) => finish(block_on(list.run())),
        Some(Command::Subscription(subscriptions)) => finish(block_on(subscriptions.run())),
        Some(Command::Info(info)) => finish(block_on(info.run())),
        Some(Command::Ping(ping)) => finish(block_on(ping.run())),
        Some(Command::Bench(bench)) => finish(bench.run()),
        Some(Command::Store(store)) => finish(store.run()),
        Some(Command::Completion(completion)) => finish(completion.run(&mut Cli::command())),
    }
}

fn serve(options: &Options) -> ExitCode {
    let process = match Process::start(COMMAND, options) {
        Ok(process) => process,
        Err(code) => return code,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.enable_all().event_interval(POLLS_PER_EVENTS).build() {
        Ok(runtime) => runtime,
        Err(error) => return process.runtime_failed(&error),
    };
    let workers = runtime.metrics().num_workers();
    runtime.block_on(async { process.serve::<Tokio>(("tokio", workers), signals::arriving()).await })
}

/// Runs a client command on one thread.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Code::Other, format_args!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(command);
    // Does not wait for a pending read of standard input.
    runtime.shutdown_background();
    outcome
}

fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every command with its subcommands.
    fn commands(command: &clap::Command) -> Vec<&clap::Command> {
        let inner = command.get_subcommands().flat_map(commands);
        [command].into_iter().chain(inner).collect()
    }

    #[test]
    fn a_short_flag_has_one_meaning_in_all_commands() {
        let mut meanings = BTreeMap::new();
        let mut root = Cli::command();
        root.build();
        for command in commands(&root) {
            for flag in command.get_arguments() {
                if let (Some(short), Some(long)) = (flag.get_short(), flag.get_long()) {
                    let known = *meanings.entry(short).or_insert_with(|| long.to_owned()) == long;
                    assert!(known, "-{short} of {} is not --{}", command.get_name(), meanings[&short]);
                }
            }
        }
        assert_eq!(meanings.get(&'J').map(String::as_str), Some("json"));
    }

    #[test]
    fn every_command_that_asks_a_broker_can_print_json() {
        let mut root = Cli::command();
        root.build();
        for command in commands(&root) {
            let asks = command.get_arguments().any(|flag| flag.get_long() == Some("server"));
            let has_json = command.get_arguments().any(|flag| flag.get_long() == Some("json"));
            assert!(has_json || !asks, "{}", command.get_name());
        }
    }
}

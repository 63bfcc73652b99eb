//! `zaichik bench`: measures a broker from the outside and verifies every message.

mod alarm;
mod echo;
mod environment;
mod keys;
mod latency;
mod member;
mod number;
mod options;
mod plan;
mod progress;
mod publisher;
mod report;
mod run;
mod run_state;
mod server;
mod subscriber;
mod tally;
mod text;
mod verdict;
mod verify;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::runtime::{Builder, Runtime};
use zaichik_measure::HistogramError;
use zaichik_tokio::{Client, ClientError};

use crate::failure::{Code, Failure};
use crate::printable::printable_json;
use options::{Ack, Common, Load, Publishing, Subscribing, Working};
use plan::{Amount, Plan};
use report::Report;

/// Messages to publish without `--msgs` and `--duration`.
const MESSAGES: u64 = 1_000_000;

/// Round trips without `--msgs` and `--duration`.
const ROUND_TRIPS: u64 = 20_000;

/// Messages per second of `latency`, and its duration, unless given.
const RATE: u64 = 1_000;
const TIME: Duration = Duration::from_secs(10);

/// Messages before the measured ones in `echo` and `latency`.
const WARM_UP: u64 = 1_000;

/// Measure a broker with the client library, over the network.
///
/// Every message carries its publisher, its number, a checksum and its time, and each subscriber verifies that every
/// message arrives once, in order and intact. If not, the command fails with code 7.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Publish only: messages per second that the broker accepts, and the latency of its answers.
    ///
    /// Subscribers may run elsewhere: `zaichik bench sub` verifies these messages. Without subscribers the broker accepts
    /// the messages and drops them. With --ack accepted a message counts once its answer arrives; with --ack none, a
    /// request at the end confirms that the broker has processed all messages.
    Pub {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        publishing: Publishing,
    },
    /// Subscribe only: verify the messages of `zaichik bench pub`, run elsewhere.
    ///
    /// Start it before the publishers: messages published earlier count as lost. It ends when --pubs publishers have
    /// finished. Latency starts at the publisher's clock, so between machines it is only as accurate as their clocks.
    Sub {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        subscribing: Subscribing,
        /// Stop when N publishers have finished.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
        pubs: u32,
        /// Stop when each subscriber has N measured messages.
        #[arg(long, value_name = "N", conflicts_with = "duration")]
        msgs: Option<u64>,
        /// Stop after DURATION.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
    },
    /// Publish and subscribe: throughput from publish to delivery, in messages per second.
    ///
    /// Publishers stay at most 4 MiB ahead of the slowest subscriber, so that the run does not reach the topic's limits.
    /// Without --rate, the latencies are those of a fully loaded broker and include the time in its queues.
    Pubsub {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        publishing: Publishing,
        #[command(flatten)]
        subscribing: Subscribing,
    },
    /// One queue whose messages are shared among members, each of which acknowledges every message that it gets.
    ///
    /// Publishers stay at most 4 MiB ahead of the acknowledgements. It fails unless each message is acknowledged exactly once and,
    /// with --by-key, messages of one key come one at a time, in order. Messages that are handed out again are counted.
    /// The subscription is removed after the run.
    Workers {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        publishing: Publishing,
        #[command(flatten)]
        working: Working,
    },
    /// Round trips, one message at a time on one connection (closed loop).
    ///
    /// Each message is sent when the previous one has come back, so this is the latency of an idle broker and client.
    Echo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        /// The answer to wait for in addition to the message itself.
        #[arg(long, value_enum, default_value_t = Ack::Accepted)]
        ack: Ack,
        /// Maximum uncommitted messages; a commit is sent after each half window. 0: no commits.
        #[arg(long, value_name = "N", default_value_t = 256)]
        window: u32,
    },
    /// One-way latency at a fixed rate (open loop). Default: 1,000 messages per second for 10 s.
    ///
    /// Messages are due at fixed moments, and each latency starts when the message is due: when a broker or client falls
    /// behind, every message that it delays counts as late (no coordinated omission).
    Latency {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        publishing: Publishing,
        #[command(flatten)]
        subscribing: Subscribing,
    },
}

impl Bench {
    /// Measures and prints the results.
    ///
    /// # Errors
    /// The broker is unreachable or refuses, or verification failed.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let (common, plan) = self.measurement.plan()?;
        let shows = !common.no_progress && io::stderr().is_terminal();
        if !common.json && !common.csv {
            print(&format!("{plan}\n"))?;
        }
        let is_echo = plan.command == "echo";
        let runtime = runtime(is_echo)?;
        let report = runtime.block_on(async {
            if is_echo {
                echo::run(&plan, &common.server, shows).await
            } else {
                run::run(&plan, &common.server, shows).await
            }
        });
        // A publisher's thread may still be waiting for an answer that never arrives.
        runtime.shutdown_background();
        let report = report?;
        print(&render(&report, common)?)?;
        report.check()
    }
}

impl Measurement {
    fn plan(&self) -> Result<(&Common, Plan), Failure> {
        let plan = match self {
            Self::Pub { common, load, publishing } => Plan::new("pub", common)?.with_publishers(
                publishing,
                load,
                (Amount::Messages(MESSAGES), 0),
            )?,
            Self::Sub { common, subscribing, pubs, msgs, duration } => {
                let plan = Plan::new("sub", common)?.with_subscribers(subscribing);
                Plan { pubs: *pubs, msgs: *msgs, duration: *duration, ..plan }
            }
            Self::Pubsub { common, load, publishing, subscribing } => Plan::new("pubsub", common)?
                .with_publishers(publishing, load, (Amount::Messages(MESSAGES), 0))?
                .with_subscribers(subscribing),
            Self::Workers { common, load, publishing, working } => Plan::new("workers", common)?
                .with_publishers(publishing, load, (Amount::Messages(MESSAGES), 0))?
                .with_members(working),
            Self::Echo { common, load, ack, window } => {
                let amount = (Amount::Messages(ROUND_TRIPS), WARM_UP);
                let plan = Plan::new("echo", common)?.with_load(load, amount);
                Plan { pubs: 1, subs: 1, ack: Some(*ack), window: Some(*window), ..plan }
            }
            Self::Latency { common, load, publishing, subscribing } => {
                let publishing = Publishing { rate: publishing.rate.or(Some(RATE)), ..publishing.clone() };
                Plan::new("latency", common)?
                    .with_publishers(&publishing, load, (Amount::Time(TIME), WARM_UP))?
                    .with_subscribers(subscribing)
            }
        };
        Ok((self.common(), plan))
    }

    const fn common(&self) -> &Common {
        match self {
            Self::Pub { common, .. }
            | Self::Sub { common, .. }
            | Self::Pubsub { common, .. }
            | Self::Workers { common, .. }
            | Self::Echo { common, .. }
            | Self::Latency { common, .. } => common,
        }
    }
}

/// A runtime on all cores, or on this thread for one message at a time.
fn runtime(is_single: bool) -> Result<Runtime, Failure> {
    let mut builder = if is_single { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::new(Code::Other, format_args!("cannot start the runtime: {error}")))
}

fn render(report: &Report, common: &Common) -> Result<String, Failure> {
    if common.json {
        return Ok(printable_json(&report.json()?) + "\n");
    }
    Ok(if common.csv { report.csv() } else { text::summary(report) })
}

/// Writes to standard output. A closed pipe does not fail the measurement.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::of_output(&error)),
        _ => Ok(()),
    }
}

impl From<HistogramError> for Failure {
    fn from(error: HistogramError) -> Self {
        Self::new(Code::Other, error)
    }
}

/// Why a request failed; a broken connection explains more than a missing answer.
async fn request_failure(client: &Client, error: ClientError) -> Failure {
    match client.ping().await {
        Err(ended @ (ClientError::Ended(_) | ClientError::Connect(_))) => ended.into(),
        _ => error.into(),
    }
}

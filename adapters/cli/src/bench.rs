//! `zaichik bench`: how fast a broker is, from the outside, and whether everything arrives.

mod alarm;
mod echo;
mod environment;
mod latency;
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
mod text;
mod verdict;
mod verify;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::runtime::{Builder, Runtime};
use zaichik_measure::HistogramError;
use zaichik_tokio::{Client, ClientError};

use crate::failure::{Code, Failure};
use options::{Ack, Common, Load, Publishing, Subscribing};
use plan::{Amount, Plan};
use report::Report;

/// Messages to publish if nobody says how many or for how long.
const MESSAGES: u64 = 1_000_000;

/// Round trips if nobody says how many or for how long.
const ROUND_TRIPS: u64 = 20_000;

/// Messages a second of `latency`, and for how long.
const RATE: u64 = 1_000;
const TIME: Duration = Duration::from_secs(10);

/// Messages before those that count, where latency is what is measured.
const WARM_UP: u64 = 1_000;

/// Measure a broker with the client library, over the network.
///
/// What counts is what was delivered and verified: each message carries its publisher, its number, a checksum and its
/// time, and each subscriber checks that everything comes, once, in order and intact. Anything else ends with code 7.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Publish only: how many messages a second the broker takes, and how long its answers take.
    ///
    /// Subscribers may be elsewhere: `zaichik bench sub` verifies what this publishes. Without any the broker accepts the
    /// messages and drops them. With --ack accepted a message counts when its answer is here; with none when the broker
    /// has taken it, which one question at the end finds out.
    Pub {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        publishing: Publishing,
    },
    /// Subscribe only: verify what `zaichik bench pub` publishes elsewhere.
    ///
    /// Start it first: what was published before counts as lost. It ends when as many publishers as --pubs says have said
    /// that nothing more comes. Latency counts from the publisher's clock, so between machines it is as good as their clocks.
    Sub {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        subscribing: Subscribing,
        /// Publishers whose end to wait for.
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
        pubs: u32,
        /// Stop when each subscriber has so many messages that count.
        #[arg(long, value_name = "COUNT", conflicts_with = "duration")]
        msgs: Option<u64>,
        /// Stop after this long.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
    },
    /// Publish and subscribe: how many messages a second get through, from publish to delivery.
    ///
    /// Publishers stay at most 4 MiB ahead of the slowest subscriber, so that the topic's limits do not decide. Without
    /// --rate the latencies are those of a broker under full load, with its queues.
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
    /// Round trips of one message at a time, on one connection: a closed loop.
    ///
    /// The next message leaves when the one before it has come back, so this is the latency of an idle broker and client.
    Echo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        /// The answer to wait for, besides the message itself.
        #[arg(long, value_enum, default_value_t = Ack::Accepted)]
        ack: Ack,
        /// Most messages delivered and not committed; commits go out after each half of it. 0: no commits.
        #[arg(long, value_name = "COUNT", default_value_t = 256)]
        window: u32,
    },
    /// One-way latency at a fixed rate: an open loop. 1,000 messages a second for 10 s, if not told otherwise.
    ///
    /// Messages are due at fixed moments, and latency counts from there: a broker or client that falls behind makes all
    /// messages late that it holds up, not only the one that it was busy with (no coordinated omission).
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
    /// Measures, and tells.
    ///
    /// # Errors
    /// The broker is gone or refuses, or what came is not what was published.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let (common, plan) = self.measurement.plan()?;
        let shows = !common.no_progress && io::stderr().is_terminal();
        if !common.json && !common.csv {
            print(&format!("{plan}\n"));
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
        // A publisher's thread may still wait for an answer that does not come.
        runtime.shutdown_background();
        let report = report?;
        print(&render(&report, common)?);
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
            | Self::Echo { common, .. }
            | Self::Latency { common, .. } => common,
        }
    }
}

/// All cores, or for one message at a time the thread that is there already.
fn runtime(is_single: bool) -> Result<Runtime, Failure> {
    let mut builder = if is_single { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::new(Code::Other, format_args!("cannot start the runtime: {error}")))
}

fn render(report: &Report, common: &Common) -> Result<String, Failure> {
    if common.json {
        return Ok(report.json()? + "\n");
    }
    Ok(if common.csv { report.csv() } else { text::summary(report) })
}

/// Writes to standard output. Nobody may read it any more, which is no failure of the measurement.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Tells people something that is no result.
fn notice(line: &str) {
    // Nobody can be told that it can't be told.
    drop(writeln!(io::stderr(), "zaichik: {line}"));
}

impl From<HistogramError> for Failure {
    fn from(error: HistogramError) -> Self {
        Self::new(Code::Other, error)
    }
}

/// Why a request failed: if the connection broke, that says more than that the answer did not come.
async fn request_failure(client: &Client, error: ClientError) -> Failure {
    match client.ping().await {
        Err(ended @ (ClientError::Ended(_) | ClientError::Connect(_))) => ended.into(),
        _ => error.into(),
    }
}

//! `zaichik ping`: whether a broker responds, and how fast.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use zaichik_serve::ConfiguredBroker;

use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};
use crate::printable::printable_json;
use crate::report::OutputArgs;

/// Check that the broker responds.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Number of pings to send.
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    count: u32,
    /// Time between two pings.
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Ping the broker that the environment and the configuration file describe, with its token: for health
    /// checks.
    #[arg(long, conflicts_with = "server")]
    configured: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// An answer, as JSON.
#[derive(Debug, Serialize)]
struct Pong<'a> {
    address: &'a str,
    seq: u32,
    time_us: u128,
}

impl Ping {
    #[expect(clippy::disallowed_methods, reason = "it measures time")]
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        if self.configured {
            let broker = ConfiguredBroker::find().map_err(|mistakes| Failure::new(Code::Usage, mistakes))?;
            self.server = self.server.at(broker);
        }
        let address = self.server.address()?;
        let client = self.server.connect("zaichik ping").await?;
        for seq in 1..=self.count {
            let begin = Instant::now();
            client.ping().await?;
            let time = begin.elapsed();
            let line = if self.output.is_json() {
                let pong = Pong { address: &address, seq, time_us: time.as_micros() };
                let json = serde_json::to_string(&pong);
                printable_json(&json.map_err(|error| Failure::new(Code::Other, error))?)
            } else {
                format!("pong from {address} seq={seq} time={time:.3?}")
            };
            match writeln!(io::stdout(), "{line}") {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Failure::of_output(&error)),
            }
            if seq < self.count {
                tokio::time::sleep(self.interval).await;
            }
        }
        client.close().await.map_err(|error| Failure::new(Code::Other, error))
    }
}

//! `zaichik ping`: whether a broker responds, and how fast.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;

use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};

/// Check that the broker responds.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Number of pings to send.
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    count: u32,
    /// Time between two pings.
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    interval: Duration,
    #[command(flatten)]
    server: ServerArgs,
}

impl Ping {
    #[expect(clippy::disallowed_methods, reason = "it measures time")]
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let address = self.server.address()?;
        let client = self.server.connect("zaichik ping").await?;
        for number in 1..=self.count {
            let begin = Instant::now();
            client.ping().await?;
            let line = format!("pong from {address} seq={number} time={:.3?}", begin.elapsed());
            if writeln!(io::stdout(), "{line}").is_err() {
                return Ok(());
            }
            if number < self.count {
                tokio::time::sleep(self.interval).await;
            }
        }
        client.close().await.map_err(|error| Failure::new(Code::Other, error))
    }
}

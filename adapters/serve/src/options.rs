//! What can be said about a broker on the command line or in the environment.

use clap::Args;

/// How to run a broker.
#[derive(Debug, Args)]
pub struct Options {
    /// The port to listen on, on 127.0.0.1; 0 takes any free one.
    #[arg(short, long, env = "PORT", default_value_t = 8889)]
    pub port: u16,
    /// How long a connection spins for more bytes before it sleeps, such as 50us: shorter round trips for processor time.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub busy_poll: std::time::Duration,
}

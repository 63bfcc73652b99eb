//! What can be said about a broker on the command line or in the environment.

use clap::Args;

/// How to run a broker.
#[derive(Debug, Args)]
pub struct Options {
    /// The port to listen on, on 127.0.0.1; 0 takes any free one.
    #[arg(short, long, env = "PORT", default_value_t = 8889)]
    pub port: u16,
}

//! What can be said on the command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use crate::contender::Contender;
use crate::relay::Copying;
use crate::workload::{self, Workload};

/// Zaichik beside other brokers and beside a relay that only copies.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// What to be, if not the harness.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// How to measure.
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What to be, if not the harness.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The relay, which the harness starts.
    #[command(hide = true)]
    Relay {
        /// The port of 127.0.0.1; 0 takes any free one, which is printed.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// How it copies.
        #[command(flatten)]
        copying: Copying,
    },
}

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds, of which the medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Workloads to run, or groups of them: fan, latency, guarantees, flat, footprint; all without this
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Contenders to run; `relay` is all relays; all that are installed without this
    #[arg(long, value_delimiter = ',')]
    pub(crate) contenders: Vec<String>,
    /// Factor of the messages of a run
    #[arg(long, default_value_t = 1.0)]
    pub(crate) messages_scale: f64,
    /// One round with few messages: shows that everything works, its figures mean nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// The broker on tokio; beside this program without this
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik: Option<PathBuf>,
    /// The broker on async-std; beside this program without this
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik_async_std: Option<PathBuf>,
    /// Write everything that was measured to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a plot to an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Print Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Say which workloads and contenders there are
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    /// The workloads that are asked for.
    pub(crate) fn workloads(&self) -> Result<Vec<&'static Workload>> {
        let is_requested =
            |workload: &Workload, name: &String| workload.name == name || workload.kind.group() == name;
        let unknown =
            self.only.iter().find(|name| !workload::ALL.iter().any(|known| is_requested(known, name)));
        if let Some(name) = unknown {
            bail!("there is no workload {name:?}; --list says which there are");
        }
        let is_wanted = |workload: &&Workload| {
            self.only.is_empty() || self.only.iter().any(|name| is_requested(workload, name))
        };
        Ok(workload::ALL.iter().filter(is_wanted).collect())
    }

    /// The contenders that are asked for, and whether they are asked for by name.
    pub(crate) fn contenders(&self) -> Result<(Vec<Contender>, bool)> {
        if self.contenders.is_empty() {
            return Ok((Contender::ALL.to_vec(), false));
        }
        if let Some(name) = self.contenders.iter().find(|name| Contender::named(name).is_empty()) {
            bail!("there is no contender {name:?}; --list says which there are");
        }
        let named: Vec<Contender> = self.contenders.iter().flat_map(|name| Contender::named(name)).collect();
        Ok((Contender::ALL.into_iter().filter(|contender| named.contains(contender)).collect(), true))
    }

    /// Rounds to run.
    pub(crate) const fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Cli::parse_from([&["bench"], arguments].concat()).options
    }

    #[test]
    fn workloads_are_named_alone_or_by_group() {
        let names = |options: Options| -> Vec<_> {
            options.workloads().unwrap().into_iter().map(|workload| workload.name).collect()
        };
        assert_eq!(names(options(&["--only", "1to1,latency"])), ["1to1", "echo", "rate"]);
        assert_eq!(names(options(&[])).len(), workload::ALL.len());
        assert!(options(&["--only", "2to2"]).workloads().is_err());
    }

    #[test]
    fn contenders_come_in_the_order_of_the_tables() {
        let (contenders, by_name) = options(&["--contenders", "nats,zaichik"]).contenders().unwrap();
        assert_eq!(contenders, [Contender::Zaichik, Contender::Nats]);
        assert!(by_name);
        assert!(options(&["--contenders", "rabbit"]).contenders().is_err());
    }
}

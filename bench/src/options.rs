//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use crate::contender::Contender;
use crate::relay::Copying;
use crate::workload::{self, Workload};

/// Compare Zaichik with other brokers and with a relay that only copies bytes.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// What to run instead of the harness.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// How to measure.
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What to run instead of the harness.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Attack the broker commands, and measure their memory and an honest client beside each attack.
    Attacks(AttackOptions),
    /// Compare publishing to a storage directory with the disk itself and with other servers that sync for each answer.
    Storage(StorageOptions),
    /// The relay; the harness starts it.
    #[command(hide = true)]
    Relay {
        /// The port on 127.0.0.1; 0 chooses a free one, which is printed.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// How it copies.
        #[command(flatten)]
        copying: Copying,
    },
}

/// Which attacks to run.
#[derive(Debug, clap::Args)]
pub(crate) struct AttackOptions {
    /// Attacks to run, by name [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Memory budgets of the broker, in MiB
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256, 1_024])]
    pub(crate) budgets: Vec<u64>,
    /// Broker commands to attack: zaichik, zaichik-async-std [default: both]
    #[arg(long, value_delimiter = ',')]
    pub(crate) contenders: Vec<String>,
    /// How long each attack is measured once it is prepared
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// The broker on tokio [default: zaichik in this program's folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik: Option<PathBuf>,
    /// The broker on async-std [default: zaichik-async-std in this program's folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik_async_std: Option<PathBuf>,
    /// List attacks
    #[arg(long)]
    pub(crate) list: bool,
}

/// How to measure storage.
#[derive(Debug, clap::Args)]
pub(crate) struct StorageOptions {
    /// Number of rounds; tables show their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Workloads to run: durable, consume, one, cold, beside, reopen [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Contenders of `durable` and `one`, such as zaichik-8 [default: all that are installed]
    #[arg(long, value_delimiter = ',')]
    pub(crate) contenders: Vec<String>,
    /// How long each run takes, in seconds
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// Gigabytes of a directory that is opened again, or read
    #[arg(long, default_value_t = 1.0)]
    pub(crate) gigabytes: f64,
    /// A folder on the disk to measure [default: that of temporary files]
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// The broker on tokio [default: zaichik in this program's folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik: Option<PathBuf>,
    /// The broker on async-std [default: zaichik-async-std in this program's folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik_async_std: Option<PathBuf>,
    /// Write all measurements to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Number of rounds; tables show their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Workloads or groups to run: fan, latency, guarantees, workers, flat, footprint [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Contenders to run; `relay` means every relay [default: all that are installed]
    #[arg(long, value_delimiter = ',')]
    pub(crate) contenders: Vec<String>,
    /// Factor for the number of messages of a run
    #[arg(long, default_value_t = 1.0)]
    pub(crate) messages_scale: f64,
    /// One round with few messages: a check that everything works, with meaningless figures
    #[arg(long)]
    pub(crate) quick: bool,
    /// The broker on tokio [default: zaichik in this program's folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik: Option<PathBuf>,
    /// The broker on async-std [default: zaichik-async-std in this program's folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) zaichik_async_std: Option<PathBuf>,
    /// Write all measurements to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a plot to an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Print Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// List workloads and contenders
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    /// The requested workloads.
    pub(crate) fn workloads(&self) -> Result<Vec<&'static Workload>> {
        let is_requested =
            |workload: &Workload, name: &String| workload.name == name || workload.kind.group() == name;
        let unknown =
            self.only.iter().find(|name| !workload::ALL.iter().any(|known| is_requested(known, name)));
        if let Some(name) = unknown {
            bail!("unknown workload {name:?}; --list shows all workloads");
        }
        let is_wanted = |workload: &&Workload| {
            self.only.is_empty() || self.only.iter().any(|name| is_requested(workload, name))
        };
        Ok(workload::ALL.iter().filter(is_wanted).collect())
    }

    /// The requested contenders, and whether they were requested by name.
    pub(crate) fn contenders(&self) -> Result<(Vec<Contender>, bool)> {
        if self.contenders.is_empty() {
            return Ok((Contender::ALL.to_vec(), false));
        }
        if let Some(name) = self.contenders.iter().find(|name| Contender::named(name).is_empty()) {
            bail!("unknown contender {name:?}; --list shows all contenders");
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
    fn workloads_are_selected_by_name_or_group() {
        let names = |options: Options| -> Vec<_> {
            options.workloads().unwrap().into_iter().map(|workload| workload.name).collect()
        };
        assert_eq!(names(options(&["--only", "1to1,latency"])), ["1to1", "echo", "rate"]);
        assert_eq!(names(options(&[])).len(), workload::ALL.len());
        assert!(options(&["--only", "2to2"]).workloads().is_err());
    }

    #[test]
    fn contenders_are_in_the_order_of_the_tables() {
        let (contenders, by_name) = options(&["--contenders", "nats,zaichik"]).contenders().unwrap();
        assert_eq!(contenders, [Contender::Zaichik, Contender::Nats]);
        assert!(by_name);
        assert!(options(&["--contenders", "rabbit"]).contenders().is_err());
    }
}

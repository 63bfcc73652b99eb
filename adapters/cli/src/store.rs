//! `zaichik store`: looks at a storage directory that no broker uses, or copies one that a broker uses.

mod backup;
mod check;
mod directory;
mod dump;
mod info;
mod loss;
mod problem;
mod repair;
mod survey;

use clap::{Args, Subcommand};

use self::backup::Backup;
use self::check::Check;
use self::dump::Dump;
use self::info::Info;
use self::repair::Repair;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  zaichik store info /var/lib/zaichik             # what a broker would find there
  zaichik store check /var/lib/zaichik            # read every byte, compare every checksum
  zaichik store dump /var/lib/zaichik --topic orders > orders.jsonl
  zaichik store backup /var/lib/zaichik /mnt/backup/monday
  zaichik store repair /var/lib/zaichik --truncate

The broker of the directory must not run, except for backup: ask a running one with `zaichik topic ls` and `zaichik info`. \
info, check, dump and backup change nothing in the directory. While the first three read it, no broker can start with it.

Exit code: 0 if all is well, 2 if there is no such directory or nothing is stored in it, 8 if it is damaged, 9 if another \
program or version wrote it, 74 if the system cannot read it, 75 if a broker or another command uses it.";

/// Look at a storage directory that no broker uses, and repair it; back up one that a broker uses.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Store {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Show what a directory holds: topics, subscriptions, sizes.
    Info(Info),
    /// Read all of a directory and check that a broker can start with it: exit code 0 if it can, 8 if it is damaged.
    Check(Check),
    /// Print the messages of a directory as lines of JSON, even if a broker cannot start with it.
    Dump(Dump),
    /// Copy a directory, also while its broker runs.
    Backup(Backup),
    /// Give up what is damaged, so that a broker can start with the rest.
    Repair(Repair),
}

impl Store {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match &self.command {
            StoreCommand::Info(info) => info.run(),
            StoreCommand::Check(check) => check.run(),
            StoreCommand::Dump(dump) => dump.run(),
            StoreCommand::Backup(backup) => backup.run(),
            StoreCommand::Repair(repair) => repair.run(),
        }
    }
}

//! `zaichik store backup`: copies a storage directory, also while its broker runs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use zaichik_store_journal::{BackupError, Files, OpenError, Report, StoreError, backup};

use super::check::{random, restore};
use super::directory::Directory;
use super::survey::Survey;
use crate::failure::{Code, Failure};
use crate::printable::printable_line;
use crate::report::{self, OutputArgs};
use crate::rfc3339;

const AFTER_HELP: &str = "\
The copy is what one of the last commits left. It is on the disk when the command ends, every byte of it has been read back and \
compared, and a broker can start with it. The broker of DIR goes on meanwhile. Files that it removes take space until they are copied.

Start a broker with a copy of the backup, or with the backup itself, to restore it: zaichik --data TARGET. Clients may know more \
than the backup has, so each broker that is started with it is another instance: clients report a restart, durable \
subscriptions continue at the cursors of the backup, and no producer is remembered.

A command that is interrupted leaves a directory with which no broker starts; remove it.

Exit code: 0 if the backup is complete, 1 if it cannot be written, 2 if there is no such directory, nothing is stored in it, or \
TARGET is not empty, 8 if DIR is damaged, 9 if another program or version wrote it, 74 if the system cannot read it.";

/// Copy a directory, also while its broker runs.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Backup {
    #[command(flatten)]
    directory: Directory,
    /// Directory for the copy: it is empty, or does not exist yet.
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// A backup, as JSON.
#[derive(Debug, Serialize)]
struct Outcome {
    dir: String,
    target: String,
    last_commit: u64,
    /// When the last commit was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<String>,
    topics: usize,
    messages: u64,
    segments: usize,
    segment_bytes: u64,
}

impl Backup {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut source = self.directory.beside()?;
        open_many_files();
        let hash_key = random()?;
        let mut target = self.target()?;
        let copied = backup(&mut source, &mut target).map_err(|error| self.failure(error))?;
        drop(source);
        let Some(report) = copied else {
            drop(target);
            return Err(self.directory.has_no_store());
        };
        // The checksums are compared; what the rows say is left.
        let survey = restore(&mut target, hash_key).map_err(|problem| self.directory.failure(&problem))?;
        self.print(&survey, &report)
    }

    /// Opens the place for the copy, and locks it.
    fn target(&self) -> Result<Files, Failure> {
        let target = self.target.display();
        let refused = |error: io::Error| {
            Failure::new(Code::Other, format_args!("cannot use {target} for the copy: {error}"))
        };
        let is_foreign =
            |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name() != "lost+found");
        let entries = match fs::read_dir(&self.target) {
            Ok(entries) => entries.map(is_foreign).collect::<Result<Vec<_>, _>>().map_err(refused)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(refused(error)),
        };
        if entries.contains(&true) {
            return Err(Failure::new(
                Code::Usage,
                format_args!("{target} is not empty; name a new directory for the copy, or an empty one"),
            ));
        }
        Files::open(&self.target).map_err(|error| {
            if let OpenError::Store(StoreError::Failed(error)) = error {
                return refused(error);
            }
            Failure::new(Code::Other, error)
        })
    }

    fn failure(&self, error: BackupError) -> Failure {
        let target = self.target.display();
        match error {
            BackupError::Source(error) => self.directory.failure(&error.into()),
            BackupError::Target(error) => Failure::new(
                Code::Other,
                format_args!("cannot write {target}: {error}; remove it, and try again where there is space"),
            ),
            BackupError::Copy(error) => Failure::new(
                Code::Other,
                format_args!(
                    "{target} is not what was written there: {error}; remove it, and use another disk"
                ),
            ),
            BackupError::Busy | _ => {
                Failure::new(Code::Other, format_args!("{}: {error}", self.directory.path()))
            }
        }
    }

    fn print(&self, survey: &Survey, report: &Report) -> Result<(), Failure> {
        let outcome = Outcome {
            dir: self.directory.path(),
            target: self.target.display().to_string(),
            last_commit: report.sequence,
            latest: survey.meta.map(|meta| rfc3339::format(meta.now)),
            topics: survey.topics.len(),
            messages: survey.messages(),
            segments: report.segments,
            segment_bytes: report.bytes,
        };
        if self.output.is_json() {
            return report::json(&outcome);
        }
        report::print(&format!(
            "{} is a backup of {} at {}; topics: {}, messages: {}, segments: {}, {}",
            printable_line(&outcome.target),
            printable_line(&outcome.dir),
            outcome.latest.as_deref().unwrap_or("its first commit"),
            outcome.topics,
            outcome.messages,
            outcome.segments,
            report::size(outcome.segment_bytes)
        ))
    }
}

/// Every segment stays open until it is copied.
#[cfg(unix)]
fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If it is refused, and too low, the copy says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(not(unix))]
const fn open_many_files() {}

//! `zaichik store info`: what a storage directory holds.

use clap::Args;
use serde::Serialize;
use zaichik_store_journal::{Disk, OpenError, Report, StoreError};

use super::directory::Directory;
use super::survey::{Survey, TopicSurvey};
use crate::failure::Failure;
use crate::printable::printable_line;
use crate::report::{self, OutputArgs};
use crate::rfc3339;

/// Show what a directory holds.
#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    directory: Directory,
    #[command(flatten)]
    output: OutputArgs,
}

/// A directory, as JSON.
#[derive(Debug, Serialize)]
struct DirectoryReport {
    dir: String,
    /// Hexadecimal.
    store: String,
    /// Hexadecimal; null if it is lost, or no broker has stored anything yet.
    instance: Option<String>,
    /// Whether nothing was found that is damaged; `store check` is thorough.
    sound: bool,
    /// Whether the last commits may be missing, so that a broker would start as another instance.
    lacks_commits: bool,
    /// Whether that is because it is a copy that `store backup` made.
    backup: bool,
    last_commit: u64,
    latest: Option<String>,
    segments: usize,
    segment_bytes: u64,
    disk_bytes: u64,
    live_bytes: u64,
    messages: u64,
    subscriptions: u64,
    producers: u64,
    topics: Vec<TopicReport>,
}

/// A topic, as JSON.
#[derive(Debug, Serialize)]
struct TopicReport {
    topic: String,
    messages: u64,
    bytes: u64,
    first: u64,
    end: u64,
    /// Null if it has no message.
    oldest: Option<String>,
    subscriptions: u64,
}

impl Info {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut files = self.directory.read_only()?;
        let mut problems = Vec::new();
        let survey = Survey::take(&mut files, |problem| problems.push(problem));
        let survey = survey.map_err(|error| self.directory.failure(&error.into()))?;
        let (survey, report) = survey.ok_or_else(|| self.directory.has_no_store())?;
        let disk_bytes = disk_bytes(&mut files).map_err(|error| self.directory.failure(&error.into()))?;
        let shown =
            DirectoryReport::new(self.directory.path(), &survey, &report, disk_bytes, problems.is_empty());
        if self.output.is_json() {
            report::json(&shown)?;
        } else {
            shown.print()?;
        }
        self.directory.sound(&problems)
    }
}

/// The bytes of all files.
fn disk_bytes(disk: &mut impl Disk) -> Result<u64, OpenError> {
    let files = disk.files().map_err(StoreError::Failed)?;
    Ok(files.iter().fold(0, |sum, (_, len)| sum.saturating_add(*len)))
}

impl DirectoryReport {
    fn new(dir: String, survey: &Survey, report: &Report, disk_bytes: u64, sound: bool) -> Self {
        Self {
            dir,
            store: format!("{:032x}", report.store),
            instance: survey.meta.map(|meta| format!("{:032x}", meta.instance)),
            sound,
            lacks_commits: report.lacks_commits,
            backup: report.is_backup,
            last_commit: report.sequence,
            latest: survey.latest.map(rfc3339::format),
            segments: report.segments,
            segment_bytes: report.bytes,
            disk_bytes,
            live_bytes: report.live_bytes,
            messages: survey.messages(),
            subscriptions: survey.subscriptions,
            producers: survey.producers,
            topics: survey.topics.iter().map(|(number, topic)| TopicReport::new(*number, topic)).collect(),
        }
    }

    fn print(&self) -> Result<(), Failure> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let state = match (self.sound, self.lacks_commits) {
            (true, false) => "no damage found: a broker would recover all of this",
            (true, true) if self.backup => "a backup: a broker would start with it as another instance",
            (true, true) => "the last commits may be missing: a broker would start as another instance",
            (false, _) => "damaged: a broker would not start",
        };
        let mut pairs = vec![
            ("directory", printable_line(&self.dir)),
            ("store", self.store.clone()),
            ("instance", or_none(&self.instance)),
            ("state", state.to_owned()),
            ("last commit", self.last_commit.to_string()),
            ("latest time", or_none(&self.latest)),
            ("segments", self.segments.to_string()),
        ];
        let sizes =
            [("in segments", self.segment_bytes), ("on disk", self.disk_bytes), ("live", self.live_bytes)];
        pairs.extend(sizes.map(|(name, bytes)| (name, report::size(bytes))));
        let counts = [
            ("topics", self.topics.len() as u64),
            ("messages", self.messages),
            ("durable subscriptions", self.subscriptions),
            ("producers", self.producers),
        ];
        pairs.extend(counts.map(|(name, count)| (name, count.to_string())));
        report::pairs(pairs)?;
        let rows = self.topics.iter().map(|topic| {
            let mut row = vec![printable_line(&topic.topic), or_none(&topic.oldest)];
            let numbers = [topic.messages, topic.bytes, topic.first, topic.end, topic.subscriptions];
            row.extend(numbers.map(|number| number.to_string()));
            row
        });
        let header = ["TOPIC", "OLDEST MESSAGE", "MESSAGES", "BYTES", "FIRST", "END", "SUBSCRIPTIONS"];
        report::columns(&header, 2, rows.collect())
    }
}

impl TopicReport {
    fn new(number: u32, topic: &TopicSurvey) -> Self {
        Self {
            topic: topic.name(number),
            messages: topic.messages,
            bytes: topic.bytes,
            first: topic.first(),
            end: topic.end,
            oldest: topic.oldest.map(rfc3339::format),
            subscriptions: topic.subscriptions,
        }
    }
}

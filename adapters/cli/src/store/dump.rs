//! `zaichik store dump`: the messages of a storage directory.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use clap::Args;
use zaichik_engine::store::{RecordsRow, Row};
use zaichik_store_journal::{OpenError, StoreError, salvage};
use zaichik_tokio::Timestamp;

use super::directory::Directory;
use super::problem::Problem;
use super::survey::nameless;
use crate::failure::{Code, Failure, notice};
use crate::json_message::JsonMessage;

/// The most problems that are told one by one.
const MAX_TOLD: u64 = 20;

const AFTER_HELP: &str = "\
The lines are those of `zaichik sub --json`; attempt is 0. They include messages that have expired or were superseded and \
are still stored. Where the name of a topic is lost, it is its number after a $, with which no name begins.

It goes on behind damage, and says on standard error where messages are missing. Exit code: as for the other commands; 8 \
if anything is damaged, with all printed that can be read.";

/// Print the messages of a directory as lines of JSON, even if a broker cannot start with it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Dump {
    #[command(flatten)]
    directory: Directory,
    /// Topic whose messages to print; may be repeated. All topics by default.
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
}

/// Prints what it is shown.
struct Dumper<'a> {
    wanted: &'a [String],
    out: BufWriter<StdoutLock<'static>>,
    topics: BTreeMap<u32, Topic>,
    problems: u64,
    /// The exit code for the first of them.
    code: Option<Code>,
    messages: u64,
}

/// What is known of a topic.
struct Topic {
    name: String,
    /// The first offset whose message is not gone.
    first: u64,
    /// Where the next row begins.
    next: u64,
}

/// Why it ends before its end.
enum Stop {
    /// It is read no further, as `head` does.
    Closed,
    Output(io::Error),
    Directory(OpenError),
}

impl Dump {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut files = self.directory.read_only()?;
        let out = BufWriter::new(io::stdout().lock());
        let mut dumper = Dumper {
            wanted: &self.topics,
            out,
            topics: BTreeMap::new(),
            problems: 0,
            code: None,
            messages: 0,
        };
        let report = salvage(&mut files, |found| dumper.take(found));
        let report = report.and_then(|report| dumper.out.flush().map_err(Stop::from).map(|()| report));
        match report {
            Ok(Some(_)) => self.conclude(&dumper),
            Ok(None) => Err(self.directory.has_no_store()),
            Err(Stop::Closed) => Ok(()),
            Err(Stop::Output(error)) => Err(Failure::of_output(&error)),
            Err(Stop::Directory(error)) => Err(self.directory.failure(&error.into())),
        }
    }

    fn conclude(&self, dumper: &Dumper<'_>) -> Result<(), Failure> {
        let dir = self.directory.path();
        if let Some(code) = dumper.code {
            let (problems, messages) = (dumper.problems, dumper.messages);
            let message = format_args!(
                "{dir} cannot be read as a whole; problems found: {problems}, messages printed: {messages}"
            );
            return Err(Failure::new(code, message));
        }
        let is_known = |name: &&String| dumper.topics.values().any(|topic| topic.name == **name);
        match self.topics.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => {
                let message =
                    format_args!("there is no topic {name:?} in {dir}; zaichik store info lists them");
                Err(Failure::new(Code::Other, message))
            }
        }
    }
}

impl Dumper<'_> {
    fn take(&mut self, found: Result<(&[u8], &[u8]), StoreError>) -> Result<(), Stop> {
        match found.map(|(key, value)| Row::decode(key, value)) {
            Ok(Ok(Row::Topic(row))) => {
                let topic = Topic { name: row.name.into(), first: row.first, next: row.rows_from };
                self.topics.insert(row.topic, topic);
            }
            Ok(Ok(Row::Records(row))) => self.records(&row)?,
            // No messages.
            Ok(Ok(
                Row::Meta(_)
                | Row::Cursor(_)
                | Row::Producer(_)
                | Row::Answer(_)
                | Row::Marks(_)
                | Row::Keys(_)
                | Row::Group(_),
            )) => {}
            Ok(Err(error)) => self.tell(&error.into()),
            Err(error) => self.tell(&error.into()),
        }
        Ok(())
    }

    fn records(&mut self, row: &RecordsRow) -> Result<(), Stop> {
        let unknown = || Topic { name: nameless(row.topic), first: 0, next: row.start };
        let topic = self.topics.entry(row.topic).or_insert_with(unknown);
        let (next, end) = (topic.next, row.end());
        topic.next = next.max(end);
        if !self.wanted.is_empty() && !self.wanted.contains(&topic.name) {
            return Ok(());
        }
        // Damage may have left a row that a later one has replaced.
        let first = next.max(topic.first);
        if first < row.start {
            let to = row.start.saturating_sub(1);
            notice(format_args!("topic {:?}: offsets {first} to {to} are missing", topic.name));
        }
        for (offset, record) in row.records().filter(|(offset, _)| *offset >= first) {
            let timestamp = Timestamp::from_micros(record.timestamp());
            let shown = JsonMessage::new(&topic.name, offset, timestamp, 0)
                .key(record.key())
                .headers(record.headers().iter())
                .body(Some(record.body()).filter(|_| !record.is_tombstone()));
            self.out.write_all(shown.line().unwrap_or_default().as_bytes())?;
            self.messages = self.messages.saturating_add(1);
        }
        Ok(())
    }

    fn tell(&mut self, problem: &Problem) {
        self.problems = self.problems.saturating_add(1);
        self.code = self.code.or_else(|| Some(problem.code()));
        if self.problems <= MAX_TOLD {
            notice(problem);
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        Self::Directory(error)
    }
}

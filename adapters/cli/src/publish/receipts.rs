//! Telling what became of published messages.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;
use zaichik_tokio::PublishReceipt;

/// What to tell about messages that are stored.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Telling {
    /// A line of JSON on standard output for each message that is stored.
    #[arg(short = 'J', long)]
    json: bool,
    /// Say on standard error how many messages were stored, also when it is not a terminal.
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Say nothing about success.
    #[arg(short, long)]
    quiet: bool,
}

/// What is known about the messages so far.
#[derive(Debug)]
pub(super) struct Receipts<'a> {
    telling: &'a Telling,
    topic: &'a str,
    stored: u64,
    unacknowledged: u64,
    duplicates: u64,
    /// The first and the last offset.
    offsets: Option<(u64, u64)>,
    created: bool,
}

/// A stored message, as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    topic: &'a str,
    /// Its place in the input, from 1.
    number: u64,
    offset: Option<u64>,
    duplicate: bool,
}

impl Telling {
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    fn has_summary(&self) -> bool {
        self.verbose || (!self.quiet && io::stderr().is_terminal())
    }
}

impl<'a> Receipts<'a> {
    pub(super) const fn new(telling: &'a Telling, topic: &'a str) -> Self {
        Self { telling, topic, stored: 0, unacknowledged: 0, duplicates: 0, offsets: None, created: false }
    }

    /// A message left that gets no answer.
    pub(super) const fn sent(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_add(1);
    }

    /// Messages are stored, of which the first has that number in the input.
    pub(super) fn stored(&mut self, first: u64, receipt: &PublishReceipt) {
        self.created |= receipt.created;
        for record in 0..receipt.count {
            let (offset, duplicate) = (receipt.offset(record), receipt.is_duplicate(record));
            self.stored = self.stored.saturating_add(1);
            if duplicate {
                self.duplicates = self.duplicates.saturating_add(1);
            } else if let Some(offset) = offset {
                let first = self.offsets.map_or(offset, |(first, _)| first);
                self.offsets = Some((first, offset));
            }
            if self.telling.json {
                let number = first.saturating_add(u64::from(record));
                line(&Line { topic: self.topic, number, offset, duplicate });
            }
        }
    }

    /// How many messages are stored.
    pub(super) const fn count(&self) -> u64 {
        self.stored
    }

    /// All went well.
    pub(super) fn finish(&self) {
        if self.telling.has_summary() {
            // Whether anybody hears it changes nothing.
            drop(writeln!(io::stderr(), "{}", self.summary()));
        }
    }

    fn summary(&self) -> String {
        let topic = self.topic;
        if self.unacknowledged > 0 {
            return format!("sent {} to {topic}, without acknowledgement", messages(self.unacknowledged));
        }
        let offsets = match self.offsets {
            Some((first, last)) if first == last => format!(", offset {first}"),
            Some((first, last)) => format!(", offsets {first} to {last}"),
            None => String::new(),
        };
        let known = match self.duplicates {
            0 => String::new(),
            count => format!("; {count} known already by key"),
        };
        let created = if self.created { "; the topic is new, with the broker's defaults" } else { "" };
        format!("published {} to {topic}{offsets}{known}{created}", messages(self.stored))
    }
}

fn line(line: &Line<'_>) {
    if let Ok(mut text) = serde_json::to_string(line) {
        text.push('\n');
        // Messages are published whether or not anybody reads the receipts.
        drop(io::stdout().write_all(text.as_bytes()));
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

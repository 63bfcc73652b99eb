//! Reports which messages are stored.

use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::Args;
use serde::Serialize;
use zaichik_tokio::PublishReceipt;

use crate::failure::{Failure, notice};
use crate::printable::{printable_json, printable_line};

/// What to print about stored messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct ReceiptArgs {
    /// Print a line of JSON on standard output for each stored message.
    #[arg(short = 'J', long)]
    json: bool,
    /// Print a summary on standard error even if it is not a terminal.
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Print no summary.
    #[arg(short, long)]
    quiet: bool,
}

/// The receipts so far.
#[derive(Debug)]
pub(super) struct Receipts<'a> {
    args: &'a ReceiptArgs,
    topic: &'a str,
    stored: u64,
    unacknowledged: u64,
    duplicates: u64,
    /// Messages that an earlier attempt had stored, in this run of the command or in another one.
    repeated: u64,
    /// Messages of the input that earlier commands published under its name.
    published_before: u64,
    /// The first and the last offset of messages that were not duplicates.
    offsets: Option<(u64, u64)>,
    created: bool,
    /// Why no more lines of JSON are written.
    unwritten: Option<io::Error>,
}

/// A stored message, as JSON.
#[derive(Debug, Serialize)]
struct StoredMessage<'a> {
    topic: &'a str,
    /// Its position in the input, from 1.
    number: u64,
    /// Unknown if an earlier command stored it.
    offset: Option<u64>,
    duplicate: bool,
    /// Whether an earlier attempt or an earlier command had stored it.
    repeated: bool,
}

impl ReceiptArgs {
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    pub(super) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn has_summary(&self) -> bool {
        self.verbose || (!self.quiet && io::stderr().is_terminal())
    }
}

impl<'a> Receipts<'a> {
    pub(super) const fn new(args: &'a ReceiptArgs, topic: &'a str) -> Self {
        Self {
            args,
            topic,
            stored: 0,
            unacknowledged: 0,
            duplicates: 0,
            repeated: 0,
            published_before: 0,
            offsets: None,
            created: false,
            unwritten: None,
        }
    }

    /// Records a message that was sent without acknowledgement.
    pub(super) const fn sent(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_add(1);
    }

    /// Records stored messages, the first of which has number `first` in the input, and prints them as JSON if asked.
    pub(super) fn stored(&mut self, first: u64, receipt: &PublishReceipt) {
        // The topic was created by the attempt that created it.
        let repeated = receipt.is_repeated();
        self.created |= receipt.created && !repeated;
        if repeated {
            self.repeated = self.repeated.saturating_add(u64::from(receipt.count));
        }
        for record in 0..receipt.count {
            let (offset, duplicate) = (receipt.offset(record), receipt.is_duplicate(record));
            self.stored = self.stored.saturating_add(1);
            if duplicate {
                self.duplicates = self.duplicates.saturating_add(1);
            } else if let Some(offset) = offset {
                let first = self.offsets.map_or(offset, |(first, _)| first);
                self.offsets = Some((first, offset));
            }
            if self.args.json && self.unwritten.is_none() {
                let number = first.saturating_add(u64::from(record));
                let message = StoredMessage { topic: self.topic, number, offset, duplicate, repeated };
                // Publishing continues without its receipts.
                self.unwritten = print_json(&message).err();
            }
        }
    }

    /// Records messages at the beginning of the input that earlier commands published under its name: says so, and prints
    /// them as JSON if asked.
    pub(super) fn published_before(&mut self, name: &str, count: u64) {
        self.published_before = count;
        if count > 0 && !self.args.quiet {
            let these = if count == 1 { "this one is" } else { "these are" };
            notice(format_args!(
                "{} had been published to topic {:?} under the name {name:?}; {these} not published again",
                messages(count),
                self.topic
            ));
        }
        for number in 1..=count {
            if !self.args.json || self.unwritten.is_some() {
                break;
            }
            let topic = self.topic;
            let message = StoredMessage { topic, number, offset: None, duplicate: false, repeated: true };
            self.unwritten = print_json(&message).err();
        }
    }

    /// The number of stored messages.
    pub(super) const fn count(&self) -> u64 {
        self.stored
    }

    /// Prints the summary of a command that succeeded, unless it is turned off.
    ///
    /// # Errors
    /// The receipts could not be written; a closed pipe is not an error.
    pub(super) fn finish(self) -> Result<(), Failure> {
        if self.args.has_summary() {
            // The messages are stored, whether or not the summary can be written.
            drop(writeln!(io::stderr(), "{}", self.summary()));
        }
        match self.unwritten {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::of_output(&error).with_context("the messages are stored, but ", ""))
            }
            _ => Ok(()),
        }
    }

    fn summary(&self) -> String {
        let topic = printable_line(self.topic);
        if self.unacknowledged > 0 {
            return format!("sent {} to {topic}, without acknowledgement", messages(self.unacknowledged));
        }
        let offsets = match self.offsets {
            Some((first, last)) if first == last => format!(", offset {first}"),
            Some((first, last)) => format!(", offsets {first} to {last}"),
            None => String::new(),
        };
        let duplicates = match self.duplicates {
            0 => String::new(),
            1 => "; 1 was a duplicate by key".to_owned(),
            count => format!("; {count} were duplicates by key"),
        };
        let repeated = match self.repeated {
            0 => String::new(),
            1 => "; 1 had been stored by an earlier attempt".to_owned(),
            count => format!("; {count} had been stored by an earlier attempt"),
        };
        let before = match self.published_before {
            0 => String::new(),
            count => format!("; {} had been published before", messages(count)),
        };
        let created = if self.created { "; created the topic with the broker's defaults" } else { "" };
        format!(
            "published {} to {topic}{offsets}{duplicates}{repeated}{before}{created}",
            messages(self.stored)
        )
    }
}

fn print_json(message: &StoredMessage<'_>) -> io::Result<()> {
    let mut line = printable_json(&serde_json::to_string(message)?);
    line.push('\n');
    io::stdout().write_all(line.as_bytes())
}

/// A number of messages in words.
pub(super) fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

//! The arguments of `zaichik pub`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::input::InputArgs;
use super::progress::PROGRESS_TOPIC;
use super::receipts::ReceiptArgs;
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};

/// Maximum messages in a transaction: the protocol's maximum records in one batch.
pub(super) const MAX_TRANSACTION: usize = 65_536;

const PUBLISHING: &str = "Publishing";

const EXAMPLES: &str = "\
Examples:
  zaichik pub orders 'one coffee'
  zaichik pub orders -k user-7 -H trace:a1b2 'one coffee'
  zaichik pub orders -f invoice.pdf
  seq 1000 | zaichik pub numbers -l
  zaichik pub prices -K = --txn < prices.txt      # lines like EUR=1.08, all of them or none
  zaichik pub prices -n -k EUR                    # delete a key
  zaichik pub ticks --count 10 --sleep 1s --template 'tick {{ n }} at {{ ts }}'
  zaichik pub orders -l --producer import-42 < orders.txt    # run again: each line once

Exit code: 0 if the broker has every message, 4 if an answer did not arrive in time, 5 if the broker refused a
message.";

/// Publish messages to a topic.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// Topic to publish to; created with the broker's defaults if it does not exist.
    pub(super) topic: String,
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Pause between two messages.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "txn", help_heading = PUBLISHING)]
    pub(super) sleep: Option<Duration>,
    /// When a message counts as published: none does not wait for the broker, accepted waits until the broker has it,
    /// durable until it is on stable storage (a broker without storage refuses that).
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "accepted", help_heading = PUBLISHING)]
    pub(super) ack: Ack,
    /// Maximum time to wait for an answer, retries included.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration, help_heading = PUBLISHING)]
    pub(super) timeout: Duration,
    /// Publish the whole input as one transaction: either all of it is stored or nothing.
    #[arg(long, help_heading = PUBLISHING)]
    pub(super) txn: bool,
    /// Name of this input, so that the command can be run again: messages published under it are not published again.
    ///
    /// The broker stores with the messages how many there are and a hash of them, in topic zaichik.producers; a broker
    /// without storage forgets them when it ends. A command whose input begins with them publishes the rest; another input, or another topic, is refused. A
    /// command takes over the name from one that still publishes under it, which then ends. To use a name for another
    /// input: zaichik pub zaichik.producers -n -k NAME
    #[arg(long, value_name = "NAME", help_heading = PUBLISHING)]
    pub(super) producer: Option<String>,
    #[command(flatten)]
    pub(super) receipts: ReceiptArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Ack {
    None,
    Accepted,
    Durable,
}

impl Publish {
    /// # Errors
    /// Options that contradict each other.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.producer.is_some() && self.topic == PROGRESS_TOPIC {
            return Err(Failure::new(
                Code::Usage,
                format_args!(
                    "topic {PROGRESS_TOPIC:?} has the progress of --producer; publish to it without a name"
                ),
            ));
        }
        if self.ack != Ack::None {
            return Ok(());
        }
        let need_answers = [
            (self.txn, "--txn"),
            (self.producer.is_some(), "--producer"),
            (self.receipts.is_json(), "--json"),
        ];
        match need_answers.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, flag)) => Err(Failure::new(
                Code::Usage,
                format_args!("{flag} needs the broker's answers; omit --ack none"),
            )),
            None => Ok(()),
        }
    }
}

//! `zaichik pub`: messages from the command line, a file or a pipe into a topic.

mod input;
mod receipts;
mod template;

use std::collections::VecDeque;
use std::hash::Hasher;
use std::pin::Pin;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::{Stream, StreamExt};
use siphasher::sip128::{Hasher128, SipHasher24};
use tokio::time::Instant;
use zaichik_serve::Signal;
use zaichik_tokio::{
    AckLevel, Client, ClientError, Outgoing, ProducerIdentity, PublishOptions, PublishReceipt, Publishing,
    RequestError,
};

use self::input::{Input, InputArgs};
use self::receipts::{Receipts, Telling};
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};
use crate::signals;

/// Most messages of a transaction; the broker takes no more records in one step.
const MAX_TRANSACTION: usize = 65_536;

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
  zaichik pub orders -l --producer import-42 < orders.txt    # up to 1,024 lines may be run again: each is stored once

Ends with 0 when the broker has every message, 4 when an answer did not come in time, 5 when it says no.";

/// Publish messages to a topic.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// The topic; one that does not exist is created with the broker's defaults.
    topic: String,
    #[command(flatten)]
    input: InputArgs,
    /// The time between two messages.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "txn", help_heading = PUBLISHING)]
    sleep: Option<Duration>,
    /// What to wait for: nothing, that the broker has the message, or that it has it on disk.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "accepted", help_heading = PUBLISHING)]
    ack: Ack,
    /// How long to wait for an answer, and to try again what the broker refuses for the moment.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration, help_heading = PUBLISHING)]
    timeout: Duration,
    /// The whole input in one step: all of it is stored or nothing.
    #[arg(long, help_heading = PUBLISHING)]
    txn: bool,
    /// A name for the input: published again under it, what is stored already is not stored twice.
    ///
    /// Messages are numbered under the name by their place in the input. The broker remembers the last 1,024 of them,
    /// for 10 minutes. Two commands must not use one name at the same time.
    #[arg(long, value_name = "ID", help_heading = PUBLISHING)]
    producer: Option<String>,
    #[command(flatten)]
    telling: Telling,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ack {
    None,
    Accepted,
    Durable,
}

/// A command under way.
struct Run<'a> {
    args: &'a Publish,
    client: &'a Client,
    signals: Pin<Box<dyn Stream<Item = Signal>>>,
    /// Somebody asked to stop: nothing more is read.
    is_stopping: bool,
    under_way: UnderWay,
    receipts: Receipts<'a>,
    /// What went wrong first, and with which message.
    failure: Option<(u64, ClientError)>,
}

/// Messages that have no answer yet, in order; the client bounds how many there can be.
struct UnderWay {
    sent: VecDeque<Sent>,
    /// How long each may go without an answer, if the client does not see to it.
    patience: Option<Duration>,
}

struct Sent {
    /// The number of the first message in the input.
    first: u64,
    at: Instant,
    publishing: Publishing,
}

/// What became of the messages of which the first has that number; `None` if that was not heard in time.
type Answered = (u64, Option<Result<PublishReceipt, ClientError>>);

impl Publish {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        self.check()?;
        let producer = self.producer.as_deref().map(|name| ProducerIdentity::new(producer_id(name)));
        let client = self.server.connect_with("zaichik pub", |builder| match producer {
            Some(producer) => builder.producer(Some(producer)),
            None => builder,
        });
        let client = client.await?;
        let mut input = self.input.open().await?;
        let mut run = Run {
            args: self,
            client: &client,
            signals: Box::pin(signals::arriving().map_err(|error| Failure::new(Code::Other, error))?),
            is_stopping: false,
            under_way: UnderWay {
                sent: VecDeque::new(),
                patience: self.producer.as_ref().map(|_| self.timeout),
            },
            receipts: Receipts::new(&self.telling, &self.topic),
            failure: None,
        };
        let read = if self.txn { run.transaction(&mut input).await } else { run.stream(&mut input).await };
        // What was read before the input failed is on its way.
        run.finish(&input).await.and(read)?;
        client.close().await?;
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        if self.ack != Ack::None {
            return Ok(());
        }
        let wants = [
            (self.txn, "--txn"),
            (self.producer.is_some(), "--producer"),
            (self.telling.is_json(), "--json"),
        ];
        match wants.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, flag)) => Err(Failure::new(
                Code::Usage,
                format_args!("{flag} needs the broker's answers; leave --ack none out"),
            )),
            None => Ok(()),
        }
    }

    fn options(&self) -> PublishOptions {
        let ack = match self.ack {
            Ack::None => AckLevel::None,
            Ack::Accepted => AckLevel::Accepted,
            Ack::Durable => AckLevel::Durable,
        };
        // A message that is given up leaves its number to the next one. With numbers that are to mean the same when the
        // input comes again none is given up: the command ends instead.
        let deadline = if self.producer.is_some() { Duration::MAX } else { self.timeout };
        PublishOptions::new().ack(ack).deadline(deadline)
    }
}

impl Run<'_> {
    /// Publishes messages as they come, with many of them under way.
    async fn stream(&mut self, input: &mut Input<'_>) -> Result<(), Failure> {
        let mut pause = None;
        while self.failure.is_none() && !self.is_stopping {
            tokio::select! {
                biased;
                _ = self.signals.next() => self.is_stopping = true,
                answered = self.under_way.next(), if !self.under_way.sent.is_empty() => self.answered(answered)?,
                message = async {
                    if let Some(pause) = &mut pause {
                        pause.await;
                    }
                    input.next().await
                } => {
                    let Some(message) = message? else { break };
                    self.send(input.taken(), &[message]).await?;
                    pause = self.args.sleep.map(|sleep| Box::pin(tokio::time::sleep(sleep)));
                }
            }
        }
        Ok(())
    }

    /// Publishes everything in one step.
    async fn transaction(&mut self, input: &mut Input<'_>) -> Result<(), Failure> {
        let mut messages = Vec::new();
        loop {
            let message = tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(()),
                message = input.next() => message?,
            };
            let Some(message) = message else { break };
            messages.push(message);
            if messages.len() > MAX_TRANSACTION {
                return Err(Failure::new(
                    Code::Refused,
                    format_args!(
                        "the input has more than {MAX_TRANSACTION} messages, too many for one transaction"
                    ),
                ));
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.send(1, &messages).await
    }

    /// Publishes messages in one step, and waits for answers as long as there is no room.
    async fn send(&mut self, first: u64, messages: &[Outgoing]) -> Result<(), Failure> {
        if self.args.ack == Ack::None {
            self.send_unacknowledged(first, messages).await;
            return Ok(());
        }
        while self.failure.is_none() {
            match self.client.publish_nowait_with(&self.args.topic, messages, self.args.options()) {
                Ok(publishing) => {
                    self.under_way.sent.push_back(Sent { first, at: Instant::now(), publishing });
                    break;
                }
                Err(ClientError::Request(RequestError::Full)) if !self.under_way.sent.is_empty() => {
                    self.wait().await?;
                }
                Err(error) => self.failed(first, error),
            }
        }
        Ok(())
    }

    async fn send_unacknowledged(&mut self, first: u64, messages: &[Outgoing]) {
        for message in messages {
            let sending = self.client.publish_unacknowledged(&self.args.topic, message.clone());
            match tokio::time::timeout(self.args.timeout, sending).await {
                Ok(Ok(())) => self.receipts.sent(),
                Ok(Err(error)) => self.failed(first, error),
                Err(_) => {
                    let topic = self.args.topic.as_str().into();
                    self.failed(first, RequestError::NotSent { topic }.into());
                }
            }
        }
    }

    /// Waits for the next answer; who asks to stop twice does not wait.
    async fn wait(&mut self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            _ = self.signals.next() => {
                if self.is_stopping {
                    return Err(self.given_up("the command was stopped"));
                }
                self.is_stopping = true;
                Ok(())
            }
            answered = self.under_way.next() => self.answered(answered),
        }
    }

    fn answered(&mut self, (first, answer): Answered) -> Result<(), Failure> {
        match answer {
            Some(Ok(receipt)) => self.receipts.stored(first, &receipt),
            Some(Err(error)) => self.failed(first, error),
            None => return Err(self.given_up("no answer came in time")),
        }
        Ok(())
    }

    fn failed(&mut self, number: u64, error: ClientError) {
        self.failure.get_or_insert((number, error));
    }

    /// Messages that have no answer are not waited for any longer.
    fn given_up(&self, why: &str) -> Failure {
        let (stored, topic) = (self.receipts.count(), &self.args.topic);
        let advice = if self.args.producer.is_some() {
            "run the same command again to store them once"
        } else {
            "look before publishing them again"
        };
        Failure::new(
            Code::TimedOut,
            format_args!(
                "topic {topic:?}: {why}; stored: {stored} messages, of the others it is unknown; {advice}"
            ),
        )
    }

    /// Waits for the answers that are missing, and tells what became of it all.
    async fn finish(mut self, input: &Input<'_>) -> Result<(), Failure> {
        while !self.under_way.sent.is_empty() {
            self.wait().await?;
        }
        if self.args.ack == Ack::None && self.failure.is_none() {
            // The broker has seen everything before it.
            self.client.ping().await?;
            if let Some((count, refusal)) = self.client.take_refused() {
                return Err(Failure::new(
                    Code::Refused,
                    format_args!("{count} of {} messages were refused; {refusal}", input.taken()),
                ));
            }
        }
        let Some((number, error)) = self.failure else {
            self.receipts.finish();
            return Ok(());
        };
        let name = if self.args.txn { String::new() } else { input.name(number) };
        let stored = self.receipts.count();
        let rest = match (stored, self.args.ack) {
            (0, _) | (_, Ack::None) => String::new(),
            (stored, _) => format!("; stored: {stored} of {} messages read", input.taken()),
        };
        Err(Failure::from(error).with_context(&name, &rest))
    }
}

impl UnderWay {
    /// The next answer; nothing is lost if the future is dropped before it is ready. Never, if nothing is under way.
    async fn next(&mut self) -> Answered {
        let Some(Sent { first, at, publishing }) = self.sent.front_mut() else {
            return std::future::pending().await;
        };
        let first = *first;
        let answer = match self.patience {
            None => Some(publishing.await),
            Some(patience) => {
                tokio::time::timeout(patience.saturating_sub(at.elapsed()), publishing).await.ok()
            }
        };
        if answer.is_some() {
            self.sent.pop_front();
        }
        (first, answer)
    }
}

/// A number for a producer's name: the same on every machine, and in every version.
fn producer_id(name: &str) -> u128 {
    let mut hasher = SipHasher24::new_with_keys(0x7a61_6963_6869_6b20, 0x7072_6f64_7563_6572);
    hasher.write(name.as_bytes());
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_s_number_never_changes() {
        assert_eq!(producer_id("import-42"), 31_220_177_165_384_081_027_385_370_208_466_788_023);
        assert_ne!(producer_id("import-42"), producer_id("import-43"));
    }
}

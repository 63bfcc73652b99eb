//! `zaichik pub`: publishes messages from the command line, a file or a pipe.

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
    Client, ClientError, Outgoing, PendingReceipt, ProducerIdentity, PublishReceipt, RequestError,
};

use self::input::{Input, InputArgs};
use self::receipts::{ReceiptArgs, Receipts};
use crate::connect::ServerArgs;
use crate::failure::{Code, Failure, notice};
use crate::{hints, signals};

/// Maximum messages in a transaction: the protocol's maximum records in one batch.
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
  zaichik pub orders -l --producer import-42 < orders.txt    # can be run again for up to 1,024 lines: each is stored once

Exit code: 0 if the broker has every message, 4 if an answer did not arrive in time, 5 if the broker refused a
message.";

/// Publish messages to a topic.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// Topic to publish to; created with the broker's defaults if it does not exist.
    topic: String,
    #[command(flatten)]
    input: InputArgs,
    /// Pause between two messages.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "txn", help_heading = PUBLISHING)]
    sleep: Option<Duration>,
    /// When a message counts as published: none does not wait for the broker, accepted waits until the broker has it.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "accepted", help_heading = PUBLISHING)]
    ack: Ack,
    /// Maximum time to wait for an answer, retries included.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration, help_heading = PUBLISHING)]
    timeout: Duration,
    /// Publish the whole input as one transaction: either all of it is stored or nothing.
    #[arg(long, help_heading = PUBLISHING)]
    txn: bool,
    /// Name of this input, for a safe retry: messages that are already stored under it are not stored again.
    ///
    /// A message is identified by the name and its position in the input. The broker remembers the last 1,024 messages
    /// of a name, for 10 minutes. Two commands must not use one name at the same time.
    #[arg(long, value_name = "ID", help_heading = PUBLISHING)]
    producer: Option<String>,
    #[command(flatten)]
    receipts: ReceiptArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ack {
    None,
    Accepted,
    /// On disk: for brokers with storage. Not offered, because this version has none and its broker refuses it.
    #[value(hide = true)]
    Durable,
}

/// A running `pub` command.
struct PublishRun<'a> {
    args: &'a Publish,
    client: &'a Client,
    signals: Pin<Box<dyn Stream<Item = Signal>>>,
    /// A signal has arrived: no more input is read.
    is_stopping: bool,
    in_flight: InFlight,
    receipts: Receipts<'a>,
    /// The first error, and the number of its message.
    failure: Option<(u64, ClientError)>,
}

/// Requests without an answer, in order; the client limits their number.
struct InFlight {
    requests: VecDeque<PublishRequest>,
    /// Maximum time to wait for each answer, if the client has no deadline.
    answer_timeout: Option<Duration>,
}

struct PublishRequest {
    /// The number of its first message in the input, from 1.
    first: u64,
    sent_at: Instant,
    receipt: PendingReceipt,
}

/// The number of the first message of a request, and the answer; `None` if it did not arrive in time.
type Answer = (u64, Option<Result<PublishReceipt, ClientError>>);

impl Publish {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        self.check()?;
        if let Some(hint) = hints::wildcard(&self.topic).filter(|_| !self.receipts.is_quiet()) {
            notice(hint);
        }
        let producer = self.producer.as_deref().map(|name| ProducerIdentity::new(producer_id(name)));
        let client = self.server.connect_with("zaichik pub", |builder| match producer {
            Some(producer) => builder.producer(Some(producer)),
            None => builder,
        });
        let client = client.await?;
        let mut input = self.input.open().await?;
        let mut run = PublishRun {
            args: self,
            client: &client,
            signals: Box::pin(signals::arriving().map_err(|error| Failure::new(Code::Other, error))?),
            is_stopping: false,
            in_flight: InFlight {
                requests: VecDeque::new(),
                answer_timeout: self.producer.as_ref().map(|_| self.timeout),
            },
            receipts: Receipts::new(&self.receipts, &self.topic),
            failure: None,
        };
        let read = if self.txn { run.transaction(&mut input).await } else { run.stream(&mut input).await };
        // Messages that were read before an error of the input are already in flight.
        run.finish(&input).await.and(read)?;
        client.close().await?;
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
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

    /// Messages as one request, with the options of the command line.
    fn request(
        &self,
        client: &Client,
        messages: impl IntoIterator<Item = Outgoing>,
    ) -> zaichik_tokio::Publish<'_> {
        // A message that misses its deadline leaves its sequence number to the next one. Under a producer's name the
        // numbers must be the same when the input is published again, so there is no deadline: the command ends.
        let deadline = if self.producer.is_some() { Duration::MAX } else { self.timeout };
        let request = client.publish_all(&self.topic, messages).deadline(deadline);
        if self.ack == Ack::Durable { request.durable() } else { request }
    }
}

impl PublishRun<'_> {
    /// Publishes messages as they are read, with many of them in flight.
    async fn stream(&mut self, input: &mut Input<'_>) -> Result<(), Failure> {
        let mut pause = None;
        while self.failure.is_none() && !self.is_stopping {
            tokio::select! {
                biased;
                _ = self.signals.next() => self.is_stopping = true,
                answer = self.in_flight.next(), if !self.in_flight.requests.is_empty() => self.answered(answer)?,
                message = async {
                    if let Some(pause) = &mut pause {
                        pause.await;
                    }
                    input.next().await
                } => {
                    let Some(message) = message? else { break };
                    self.send(input.messages_read(), [message]).await?;
                    pause = self.args.sleep.map(|sleep| Box::pin(tokio::time::sleep(sleep)));
                }
            }
        }
        Ok(())
    }

    /// Publishes the whole input as one transaction.
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
                        "the input has more than {MAX_TRANSACTION} messages, the maximum for one transaction; split it"
                    ),
                ));
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.send(1, messages).await
    }

    /// Publishes messages in one request; waits for answers while too many requests are in flight.
    async fn send(
        &mut self,
        first: u64,
        messages: impl IntoIterator<Item = Outgoing>,
    ) -> Result<(), Failure> {
        if self.args.ack == Ack::None {
            self.send_unacknowledged(first, messages).await;
            return Ok(());
        }
        let request = self.args.request(self.client, messages);
        while self.failure.is_none() {
            match request.enqueue() {
                Ok(receipt) => {
                    let sent_at = Instant::now();
                    self.in_flight.requests.push_back(PublishRequest { first, sent_at, receipt });
                    break;
                }
                Err(ClientError::Request(RequestError::Full)) if !self.in_flight.requests.is_empty() => {
                    self.wait().await?;
                }
                Err(error) => self.failed(first, error),
            }
        }
        Ok(())
    }

    async fn send_unacknowledged(&mut self, first: u64, messages: impl IntoIterator<Item = Outgoing>) {
        for message in messages {
            let sending = self.client.publish(&self.args.topic, message).no_ack();
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

    /// Waits for the next answer, or for a signal. The second signal is an error.
    async fn wait(&mut self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            _ = self.signals.next() => {
                if self.is_stopping {
                    return Err(self.unknown_outcome("the command was stopped"));
                }
                self.is_stopping = true;
                Ok(())
            }
            answer = self.in_flight.next() => self.answered(answer),
        }
    }

    fn answered(&mut self, (first, answer): Answer) -> Result<(), Failure> {
        match answer {
            Some(Ok(receipt)) => self.receipts.stored(first, &receipt),
            Some(Err(error)) => self.failed(first, error),
            None => return Err(self.unknown_outcome("no answer arrived in time")),
        }
        Ok(())
    }

    fn failed(&mut self, number: u64, error: ClientError) {
        self.failure.get_or_insert((number, error));
    }

    /// The error of a command that stops waiting for answers.
    fn unknown_outcome(&self, why: &str) -> Failure {
        let (stored, topic) = (self.receipts.count(), &self.args.topic);
        let advice = if self.args.producer.is_some() {
            "run the same command again to store them once"
        } else {
            "check the topic before publishing them again"
        };
        Failure::new(
            Code::TimedOut,
            format_args!(
                "topic {topic:?}: {why}; messages known to be stored: {stored}; the others may be stored or not; {advice}"
            ),
        )
    }

    /// Waits for the remaining answers, and reports the outcome.
    async fn finish(mut self, input: &Input<'_>) -> Result<(), Failure> {
        while !self.in_flight.requests.is_empty() {
            self.wait().await?;
        }
        if self.args.ack == Ack::None && self.failure.is_none() {
            // The answer shows that the broker has handled all messages.
            self.client.ping().await?;
            if let Some((count, refusal)) = self.client.take_refused() {
                return Err(Failure::new(
                    Code::Refused,
                    format_args!("{count} of {} messages were refused; {refusal}", input.messages_read()),
                ));
            }
        }
        let Some((number, error)) = self.failure else {
            self.receipts.finish()?;
            if input.messages_read() > 0
                && !self.args.receipts.is_quiet()
                && let Some(hint) = hints::kept_for_nobody(self.client, &self.args.topic).await
            {
                notice(hint);
            }
            return Ok(());
        };
        let prefix = if self.args.txn { String::new() } else { input.error_prefix(number) };
        let stored = self.receipts.count();
        let rest = match (stored, self.args.ack) {
            (0, _) | (_, Ack::None) => String::new(),
            (stored, _) => format!("; stored: {stored} of {} messages read", input.messages_read()),
        };
        Err(Failure::from(error).with_context(&prefix, &rest))
    }
}

impl InFlight {
    /// Waits for the next answer; never completes if no request is in flight. No answer is lost if the future is
    /// dropped.
    async fn next(&mut self) -> Answer {
        let Some(PublishRequest { first, sent_at, receipt }) = self.requests.front_mut() else {
            return std::future::pending().await;
        };
        let first = *first;
        let answer = match self.answer_timeout {
            None => Some(receipt.await),
            Some(timeout) => {
                tokio::time::timeout(timeout.saturating_sub(sent_at.elapsed()), receipt).await.ok()
            }
        };
        if answer.is_some() {
            self.requests.pop_front();
        }
        (first, answer)
    }
}

/// The producer id for a name: the same on every machine and in every version.
fn producer_id(name: &str) -> u128 {
    let mut hasher = SipHasher24::new_with_keys(0x7a61_6963_6869_6b20, 0x7072_6f64_7563_6572);
    hasher.write(name.as_bytes());
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_id_never_changes() {
        assert_eq!(producer_id("import-42"), 31_220_177_165_384_081_027_385_370_208_466_788_023);
        assert_ne!(producer_id("import-42"), producer_id("import-43"));
    }
}

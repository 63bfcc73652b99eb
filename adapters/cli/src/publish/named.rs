//! Publishes under a name: each batch has messages and, in the same step, the progress of the name.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, sleep, sleep_until};
use zaichik_serve::Signal;
use zaichik_serve::planted::{Defect, is_planted};
use zaichik_tokio::{BatchReceipt, ClientError, ErrorClass, Outgoing, RefusalCode, RequestError};

use super::args::{Ack, MAX_TRANSACTION, Publish};
use super::fingerprint::Fingerprint;
use super::identity::{Identity, refused, restarted};
use super::input::Input;
use super::outcome::conclude;
use super::progress::{PROGRESS_TOPIC, Progress};
use super::receipts::{Receipts, messages};
use crate::failure::{Code, Failure};

/// Maximum messages in a batch, unless the whole input is one transaction.
const MAX_BATCH: usize = 1_000;

/// Maximum bytes in a batch of more than one message: far below the least limit of a broker.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// How often a command that has nothing to publish makes the broker remember it.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// How long the broker certainly remembers a producer, and so refuses an older one.
const MEMORY: Duration = Duration::from_mins(9);

/// A message, and the fingerprint of the input up to it.
type Read = (Outgoing, Fingerprint);

/// Messages that follow each other in the input.
#[derive(Default)]
struct Batch {
    /// The number of messages before it.
    before: u64,
    messages: Vec<Read>,
    bytes: usize,
}

/// A batch without an answer.
struct Sent {
    batch: Batch,
    at: Instant,
    answer: BoxFuture<'static, Result<BatchReceipt, ClientError>>,
}

/// A running `pub --producer`.
pub(super) struct NamedRun<'a> {
    args: &'a Publish,
    identity: Identity,
    signals: Pin<Box<dyn Stream<Item = Signal>>>,
    /// A signal has arrived: no more input is read.
    is_stopping: bool,
    /// Messages that were read and not sent.
    next: Batch,
    in_flight: Option<Sent>,
    /// When the latest request that was answered was sent: at least since then the broker remembers this command.
    known_at: Instant,
    receipts: Receipts<'a>,
    /// The first error, and the number of its message if it is about one.
    failure: Option<(Option<u64>, Failure)>,
}

impl<'a> NamedRun<'a> {
    pub(super) fn new(
        args: &'a Publish,
        identity: Identity,
        signals: Pin<Box<dyn Stream<Item = Signal>>>,
        receipts: Receipts<'a>,
    ) -> Self {
        Self {
            args,
            identity,
            signals,
            is_stopping: false,
            next: Batch::default(),
            in_flight: None,
            known_at: Instant::now(),
            receipts,
            failure: None,
        }
    }

    /// Publishes what the input has beyond the messages that were published before.
    ///
    /// # Errors
    /// The input or the topic is not that of the name, the input cannot be read, a message was refused, or it is unknown
    /// whether the last ones were stored.
    pub(super) async fn run(mut self, input: &mut Input<'_>) -> Result<(), Failure> {
        if !self.skip(input).await? {
            return Ok(());
        }
        self.next.before = input.messages_read();
        let read = if self.args.txn { self.transaction(input).await } else { self.stream(input).await };
        // Messages that were read before an error of the input are published.
        while self.failure.is_none() && (self.in_flight.is_some() || !self.next.messages.is_empty()) {
            self.send_next()?;
            self.settle().await?;
        }
        let Self { args, identity, receipts, failure, .. } = self;
        conclude(args, &identity.client, receipts, failure, input).await.and(read)
    }

    /// Reads the messages that were published before; `false` if a signal arrived meanwhile.
    async fn skip(&mut self, input: &mut Input<'_>) -> Result<bool, Failure> {
        let Some(progress) = self.identity.progress.take() else {
            return Ok(true);
        };
        let (name, topic) = (&self.identity.name, &self.args.topic);
        if progress.topic != *topic {
            return Err(Failure::new(
                Code::Refused,
                format_args!(
                    "the name {name:?} belongs to an input of topic {:?}, so nothing is published to topic {topic:?}; \
                     use another name for --producer",
                    progress.topic
                ),
            ));
        }
        if progress.instance != self.identity.instance {
            return Err(restarted(name));
        }
        while input.messages_read() < progress.messages {
            let message = tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(false),
                message = input.next() => message?,
            };
            if message.is_none() {
                return Err(Failure::new(
                    Code::Refused,
                    format_args!(
                        "the input has {}, but {} had been published to topic {topic:?} under the name {name:?}, so \
                         it is another input; use another name for --producer",
                        messages(input.messages_read()),
                        progress.messages
                    ),
                ));
            }
        }
        let is_same = input.fingerprint().map(ToString::to_string).as_ref() == Some(&progress.fingerprint);
        if !is_same && !is_planted(Defect::OtherInput) {
            return Err(Failure::new(
                Code::Refused,
                format_args!(
                    "the input does not begin with the {} that had been published to topic {topic:?} under the \
                     name {name:?}; use another name for --producer, or the same keys, headers and lines",
                    messages(progress.messages)
                ),
            ));
        }
        self.receipts.published_before(name, progress.messages);
        Ok(true)
    }

    /// Publishes messages as they are read: those that arrive while a batch is in flight are the next one.
    async fn stream(&mut self, input: &mut Input<'_>) -> Result<(), Failure> {
        let mut pause = None;
        while self.failure.is_none() && !self.is_stopping {
            let is_idle = self.in_flight.is_none();
            tokio::select! {
                biased;
                _ = self.signals.next() => self.is_stopping = true,
                answer = answer(&mut self.in_flight), if !is_idle => self.answered(answer).await?,
                message = async {
                    if let Some(until) = pause {
                        sleep_until(until).await;
                    }
                    input.next().await
                }, if self.next.has_room() => {
                    let Some(message) = message? else { break };
                    self.next.push(message, input);
                    pause = self.args.sleep.and_then(|sleep| Instant::now().checked_add(sleep));
                }
                // Nothing more can be read now.
                () = std::future::ready(()), if is_idle && !self.next.messages.is_empty() => self.send_next()?,
                () = sleep(KEEP_ALIVE), if is_idle => self.send_next()?,
            }
        }
        Ok(())
    }

    /// Reads the whole input as one transaction.
    async fn transaction(&mut self, input: &mut Input<'_>) -> Result<(), Failure> {
        // One record of the batch is the progress.
        const MAX: usize = MAX_TRANSACTION - 1;
        let mut batch = std::mem::take(&mut self.next);
        loop {
            let message = tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(()),
                message = input.next() => message?,
            };
            let Some(message) = message else { break };
            batch.push(message, input);
            if batch.messages.len() > MAX {
                return Err(Failure::new(
                    Code::Refused,
                    format_args!(
                        "the input has more than {MAX} messages to publish, the maximum for one transaction with a name; \
                         split it"
                    ),
                ));
            }
        }
        self.next = batch;
        Ok(())
    }

    /// Sends the messages that wait, or none, which makes the broker remember this command, unless others are in flight.
    fn send_next(&mut self) -> Result<(), Failure> {
        if self.in_flight.is_none() {
            let before = self.next.end();
            let batch = std::mem::replace(&mut self.next, Batch { before, ..Batch::default() });
            self.send(batch)?;
        }
        Ok(())
    }

    fn send(&mut self, batch: Batch) -> Result<(), Failure> {
        self.identity.check_instance()?;
        let Some(known_for) = MEMORY.checked_sub(self.known_at.elapsed()) else {
            return Err(self.unknown_outcome("the broker did not hear this command for too long"));
        };
        let transaction = self.identity.client.transaction().deadline(self.args.timeout.min(known_for));
        let transaction = if self.args.ack == Ack::Durable { transaction.durable() } else { transaction };
        let transaction = match batch.messages.last() {
            None => transaction,
            Some((_, fingerprint)) => {
                let Identity { name, instance, .. } = &self.identity;
                let progress = Progress::new(&self.args.topic, batch.end(), fingerprint, instance);
                let messages = batch.messages.iter().map(|(message, _)| message.clone());
                let transaction = transaction.publish_all(&self.args.topic, messages);
                transaction.publish(PROGRESS_TOPIC, progress.record(name)?)
            }
        };
        self.in_flight = Some(Sent { batch, at: Instant::now(), answer: transaction.send().boxed() });
        Ok(())
    }

    /// Waits for the answer to the batch in flight. The second signal is an error.
    async fn settle(&mut self) -> Result<(), Failure> {
        while self.in_flight.is_some() {
            tokio::select! {
                biased;
                _ = self.signals.next() => {
                    if self.is_stopping {
                        return Err(self.unknown_outcome("the command was stopped"));
                    }
                    self.is_stopping = true;
                }
                answer = answer(&mut self.in_flight) => Box::pin(self.answered(answer)).await?,
            }
        }
        Ok(())
    }

    async fn answered(
        &mut self,
        (sent, result): (Sent, Result<BatchReceipt, ClientError>),
    ) -> Result<(), Failure> {
        let Sent { batch, at, .. } = sent;
        match result {
            Ok(receipt) => {
                self.known_at = at;
                if let Some(published) = receipt.publishes.first() {
                    self.receipts.stored(batch.before.saturating_add(1), published);
                }
                self.identity.check_instance()
            }
            Err(error) if batch.messages.is_empty() && error.class() != ErrorClass::Fatal => {
                // There is nothing to lose, and another attempt follows.
                Ok(())
            }
            Err(error) if batch.messages.len() > 1 && !self.args.txn && is_about_messages(&error) => {
                self.one_by_one(batch).await
            }
            Err(ClientError::Request(RequestError::Unknown { .. } | RequestError::NotSent { .. })) => {
                Err(self.unknown_outcome("no answer arrived in time"))
            }
            Err(error) => {
                let number = is_about_messages(&error).then_some(batch.before.saturating_add(1));
                let failure = refused(&self.identity.name, without_operation(error));
                self.failure.get_or_insert((number, failure));
                Ok(())
            }
        }
    }

    /// Publishes the messages of a batch that was refused up to the one that is at fault.
    async fn one_by_one(&mut self, batch: Batch) -> Result<(), Failure> {
        let mut before = batch.before;
        for message in batch.messages {
            self.send(Batch { before, messages: vec![message], bytes: 0 })?;
            self.settle().await?;
            if self.failure.is_some() {
                break;
            }
            before = before.saturating_add(1);
        }
        Ok(())
    }

    /// The error of a command that stops waiting for answers.
    fn unknown_outcome(&self, why: &str) -> Failure {
        let (stored, topic) = (self.receipts.count(), &self.args.topic);
        Failure::new(
            Code::TimedOut,
            format_args!(
                "topic {topic:?}: {why}; messages known to be stored: {stored}; run the same command again to publish \
                 the others"
            ),
        )
    }
}

impl Batch {
    fn has_room(&self) -> bool {
        self.messages.len() < MAX_BATCH && self.bytes < MAX_BATCH_BYTES
    }

    fn push(&mut self, message: Outgoing, input: &Input<'_>) {
        let Some(fingerprint) = input.fingerprint() else { return };
        self.bytes = self.bytes.saturating_add(input.message_bytes());
        self.messages.push((message, fingerprint.clone()));
    }

    /// The number of messages up to its last one.
    fn end(&self) -> u64 {
        self.before.saturating_add(self.messages.len() as u64)
    }
}

/// Waits for the answer to the batch in flight, and takes it out. Nothing is lost if the future is dropped.
async fn answer(in_flight: &mut Option<Sent>) -> (Sent, Result<BatchReceipt, ClientError>) {
    let Some(sent) = in_flight else { return pending().await };
    let result = (&mut sent.answer).await;
    match in_flight.take() {
        Some(sent) => (sent, result),
        None => pending().await,
    }
}

/// Whether a batch was refused for a reason that one of its messages may be the cause of.
fn is_about_messages(error: &ClientError) -> bool {
    let is_full = matches!(error, ClientError::Request(RequestError::Refused { refusal, .. })
        if matches!(refusal.code, RefusalCode::TopicFull | RefusalCode::KeysFull));
    is_full || error.class() == ErrorClass::Refused
}

/// The error of a message without the number of its operation in the batch.
fn without_operation(error: ClientError) -> ClientError {
    if let ClientError::Request(RequestError::InBatch { operation: 0, error }) = error {
        return (*error).into();
    }
    error
}

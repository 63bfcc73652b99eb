//! `zaichik pub`: publishes messages from the command line, a file or a pipe.

mod args;
mod fingerprint;
mod identity;
mod input;
mod named;
mod outcome;
mod progress;
mod receipts;
mod template;

use std::collections::VecDeque;
use std::pin::Pin;

use futures::{Stream, StreamExt};
use zaichik_serve::Signal;
use zaichik_tokio::{Client, ClientError, Outgoing, PendingReceipt, PublishReceipt, RequestError};

pub(crate) use self::args::Publish;
use self::args::{Ack, MAX_TRANSACTION};
use self::identity::Identity;
use self::input::Input;
use self::named::NamedRun;
use self::outcome::conclude;
use self::receipts::Receipts;
use crate::failure::{Code, Failure, notice};
use crate::{hints, signals};

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
#[derive(Default)]
struct InFlight {
    requests: VecDeque<PublishRequest>,
}

struct PublishRequest {
    /// The number of its first message in the input, from 1.
    first: u64,
    receipt: PendingReceipt,
}

/// The number of the first message of a request, and the answer.
type Answer = (u64, Result<PublishReceipt, ClientError>);

impl Publish {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        self.check()?;
        if let Some(hint) = hints::wildcard(&self.topic).filter(|_| !self.receipts.is_quiet()) {
            notice(hint);
        }
        let receipts = Receipts::new(&self.receipts, &self.topic);
        let signals = || -> Result<Pin<Box<dyn Stream<Item = Signal>>>, Failure> {
            Ok(Box::pin(signals::arriving().map_err(|error| Failure::new(Code::Other, error))?))
        };
        if let Some(name) = &self.producer {
            let identity = Identity::take_over(name, &self.server).await?;
            let mut input = self.input.open(true).await?;
            return NamedRun::new(self, identity, signals()?, receipts).run(&mut input).await;
        }
        let client = self.server.connect("zaichik pub").await?;
        let mut input = self.input.open(false).await?;
        let mut run = PublishRun {
            args: self,
            client: &client,
            signals: signals()?,
            is_stopping: false,
            in_flight: InFlight::default(),
            receipts,
            failure: None,
        };
        let read = if self.txn { run.transaction(&mut input).await } else { run.stream(&mut input).await };
        // Messages that were read before an error of the input are already in flight.
        run.finish(&input).await.and(read)?;
        client.close().await?;
        Ok(())
    }

    /// Messages as one request, with the options of the command line.
    fn request(
        &self,
        client: &Client,
        messages: impl IntoIterator<Item = Outgoing>,
    ) -> zaichik_tokio::Publish<'_> {
        let request = client.publish_all(&self.topic, messages).deadline(self.timeout);
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
                answer = self.in_flight.next(), if !self.in_flight.requests.is_empty() => self.answered(answer),
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
                    self.in_flight.requests.push_back(PublishRequest { first, receipt });
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
                    return Err(self.unknown_outcome());
                }
                self.is_stopping = true;
                Ok(())
            }
            answer = self.in_flight.next() => {
                self.answered(answer);
                Ok(())
            }
        }
    }

    fn answered(&mut self, (first, answer): Answer) {
        match answer {
            Ok(receipt) => self.receipts.stored(first, &receipt),
            Err(error) => self.failed(first, error),
        }
    }

    fn failed(&mut self, number: u64, error: ClientError) {
        self.failure.get_or_insert((number, error));
    }

    /// The error of a command that is stopped before all answers have arrived.
    fn unknown_outcome(&self) -> Failure {
        let (stored, topic) = (self.receipts.count(), &self.args.topic);
        Failure::new(
            Code::TimedOut,
            format_args!(
                "topic {topic:?}: the command was stopped; messages known to be stored: {stored}; the others may be \
                 stored or not; check the topic before publishing them again"
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
        let failure = self.failure.map(|(number, error)| (Some(number), error.into()));
        conclude(self.args, self.client, self.receipts, failure, input).await
    }
}

impl InFlight {
    /// Waits for the next answer; never completes if no request is in flight. No answer is lost if the future is
    /// dropped.
    async fn next(&mut self) -> Answer {
        let Some(PublishRequest { first, receipt }) = self.requests.front_mut() else {
            return std::future::pending().await;
        };
        let answer = (*first, receipt.await);
        self.requests.pop_front();
        answer
    }
}

//! Runs `zaichik sub`: prints messages as they arrive, and commits them after they are written.

use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::Sleep;
use zaichik_serve::Signal;
use zaichik_tokio::{Client, ClientError, Delivery, Event, Refusal, RequestError};

use super::args::{Subscribe, WINDOW};
use super::closed::output_closed;
use super::commits::{CommitEvent, CommitMode, Commits, FailedCommit};
use super::connection::ConnectionWatch;
use super::show::MessageWriter;
use super::sources::{Source, SourceEvent, Sources};
use crate::failure::{Code, Failure};

/// Maximum bytes of output before it is written; a single message may exceed it.
const OUTPUT: usize = 64 << 10;

/// Maximum time to complete a write after a signal.
const GRACE: Duration = Duration::from_secs(1);

/// A running `sub` command.
pub(super) struct SubscribeRun<'a> {
    args: &'a Subscribe,
    connection: ConnectionWatch<'a>,
    sources: Sources,
    commits: Commits,
    writer: MessageWriter<'a>,
    signals: Pin<Box<dyn Stream<Item = Signal>>>,
    /// Ready when nobody reads the output any more.
    closed: Pin<Box<dyn Future<Output = ()>>>,
    /// The messages in `output`, with their sources.
    batch: Vec<(usize, Delivery)>,
    output: Vec<u8>,
}

/// Why the command ends.
pub(super) enum EndReason {
    /// A signal.
    Stopped,
    /// The end of standard input in manual mode, or a closed output.
    ReaderGone,
    /// It has printed all requested messages.
    Done,
    /// No message arrived within `--wait`.
    WaitExpired,
}

impl<'a> SubscribeRun<'a> {
    pub(super) fn new(
        args: &'a Subscribe,
        client: &'a Client,
        mut commits: Commits,
        sources: Vec<Source>,
        signals: Pin<Box<dyn Stream<Item = Signal>>>,
    ) -> Self {
        let sources = Sources::new(sources, args.exit_at_end);
        (0..sources.len()).for_each(|topic| commits.add(&sources.name(topic)));
        Self {
            args,
            connection: ConnectionWatch::new(client),
            sources,
            commits,
            writer: args.show.writer(args.verbose),
            signals,
            closed: Box::pin(output_closed()),
            batch: Vec::new(),
            output: Vec::new(),
        }
    }

    /// The number of messages printed.
    pub(super) const fn shown(&self) -> u64 {
        self.writer.count()
    }

    /// Waits for the answers to all commits.
    ///
    /// # Errors
    /// As for [`Commits::settle`].
    pub(super) async fn settle(&mut self) -> Result<(), FailedCommit> {
        self.commits.settle().await
    }

    /// As for [`Commits::fail_the_only_one`].
    pub(super) async fn fail_the_only_one(&mut self) -> Result<(), ClientError> {
        self.commits.fail_the_only_one().await
    }

    /// As for [`Commits::committed`].
    pub(super) fn committed(&self) -> Vec<(String, u64)> {
        self.commits.committed()
    }

    /// Prints messages until the command ends.
    ///
    /// # Errors
    /// A subscription ended, messages are missing with `--fail-on-gap`, the output cannot be written, or standard input
    /// cannot be read or has an invalid line.
    pub(super) async fn read(&mut self) -> Result<EndReason, Failure> {
        let mut idle = self.idle();
        loop {
            let is_done =
                self.sources.are_done() || self.args.count.is_some_and(|count| self.writer.count() >= count);
            if is_done && !self.commits.awaits_requests() {
                return Ok(EndReason::Done);
            }
            tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(EndReason::Stopped),
                () = &mut self.closed => return Ok(EndReason::ReaderGone),
                is_open = self.connection.changed() => {
                    let change = if is_open { "connected again" } else { "connection lost, trying again" };
                    self.args.notify(change);
                }
                event = self.commits.next() => match event {
                    // If a commit failed, its messages are redelivered, and the subscription reports that.
                    CommitEvent::Answered => {}
                    CommitEvent::Request(Ok(Some(line))) => self.commits.request(&line)?,
                    CommitEvent::Request(Ok(None)) => return Ok(EndReason::ReaderGone),
                    CommitEvent::Request(Err(error)) => {
                        return Err(Failure::new(
                            Code::Other,
                            format_args!("cannot read the offsets to commit from standard input: {error}"),
                        ));
                    }
                },
                event = self.sources.next(), if !is_done => {
                    let collected = self.collect(event);
                    if !self.batch.is_empty() {
                        idle = self.idle();
                    }
                    if let Some(end) = self.write().await? {
                        return Ok(end);
                    }
                    collected?;
                }
                () = async {
                    match &mut idle {
                        Some(idle) => idle.await,
                        None => std::future::pending().await,
                    }
                } => return Ok(EndReason::WaitExpired),
            }
        }
    }

    fn idle(&self) -> Option<Pin<Box<Sleep>>> {
        self.args.wait.map(|wait| Box::pin(tokio::time::sleep(wait)))
    }

    /// Handles an event and those that are already available, until the output is full.
    fn collect(&mut self, event: Result<SourceEvent, ClientError>) -> Result<(), Failure> {
        self.handle(event?)?;
        while !self.is_full()
            && let Some(event) = self.sources.next().now_or_never()
        {
            self.handle(event?)?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let one = self.args.commit == CommitMode::Each;
        self.output.len() >= OUTPUT
            || self.batch.len() >= if one { 1 } else { WINDOW as usize }
            || self.sources.are_done()
            || self.args.count.is_some_and(|count| self.writer.count() >= count)
    }

    /// Appends a message to the output, or reports another event on stderr.
    fn handle(&mut self, event: SourceEvent) -> Result<(), Failure> {
        match event {
            SourceEvent::Topic(topic, event) => self.handle_topic(topic, event),
            SourceEvent::Matched(topic) => {
                self.commits.add(&topic);
                if self.args.reports_subscriptions() {
                    self.args.notify(format_args!("topic {topic:?} is matched"));
                }
                Ok(())
            }
            SourceEvent::NotMatched(topic, refusal, others) => self.not_matched(&topic, refusal, others),
            SourceEvent::Refused(topic, refusal) => {
                Err(ClientError::from(RequestError::Refused { topic, refusal }).into())
            }
            SourceEvent::Ended => Ok(()),
        }
    }

    /// Reports that messages of topics are missing because a limit keeps a pattern from them.
    fn not_matched(&self, topic: &str, refusal: Refusal, others: u32) -> Result<(), Failure> {
        let more = match others {
            0 => String::new(),
            others => format!(", and for {others} more topics"),
        };
        let missing = format!("topic {topic:?} is matched, but nothing of it is received: {refusal}{more}");
        if self.args.fail_on_gap {
            return Err(Failure::new(Code::Gap, missing));
        }
        self.args.notify(missing);
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "events of later versions are ignored")]
    fn handle_topic(&mut self, source: usize, event: Event<Delivery>) -> Result<(), Failure> {
        if !self.sources.advance(source, &event) {
            return Ok(());
        }
        let topic = self.sources.name(source);
        let event = match event.into_message() {
            Ok(message) => {
                self.writer.write(&message, &mut self.output);
                self.batch.push((source, message));
                return Ok(());
            }
            Err(event) => event,
        };
        match event {
            Event::Reconnected { .. } => self.commits.rewound(source),
            Event::Restarted { .. } => self.commits.restarted(source),
            Event::Fenced => return Err(ClientError::Fenced { topic }.into()),
            Event::Refused(refusal) => {
                return Err(ClientError::from(RequestError::Refused { topic, refusal }).into());
            }
            _ => {}
        }
        if !event.is_loss() {
            if matches!(event, Event::Reconnected { .. }) {
                self.args.notify(format_args!("topic {topic:?}: reconnected; no messages are lost"));
            }
            return Ok(());
        }
        let lost = ClientError::Lost { topic, event };
        if self.args.fail_on_gap {
            return Err(Failure::new(Code::Gap, lost));
        }
        self.args.notify(lost);
        Ok(())
    }

    /// Writes the output, then lets its messages be committed.
    async fn write(&mut self) -> Result<Option<EndReason>, Failure> {
        if self.batch.is_empty() {
            return Ok(None);
        }
        let mut stdout = tokio::io::stdout();
        let writing = async {
            stdout.write_all(&self.output).await?;
            stdout.flush().await
        };
        let mut writing = std::pin::pin!(writing);
        let mut is_stopping = false;
        let written = tokio::select! {
            biased;
            written = &mut writing => written,
            _ = self.signals.next() => {
                is_stopping = true;
                // The write may already be complete, without the result having arrived here.
                match tokio::time::timeout(GRACE, writing).await {
                    Ok(written) => written,
                    Err(_) => return Ok(Some(EndReason::Stopped)),
                }
            }
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Some(EndReason::ReaderGone)),
            Err(error) => return Err(Failure::of_output(&error)),
        }
        self.output.clear();
        self.commits.written(std::mem::take(&mut self.batch));
        if is_stopping {
            return Ok(Some(EndReason::Stopped));
        }
        if self.args.commit == CommitMode::Each {
            tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(Some(EndReason::Stopped)),
                // If it failed, the message is redelivered; if the command ends before, the end reports it.
                _ = self.commits.settle() => {}
            }
        }
        Ok(None)
    }
}

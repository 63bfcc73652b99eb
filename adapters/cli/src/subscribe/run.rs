//! Runs `zaichik sub`: prints messages as they arrive, and commits them after they are written.

use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::Sleep;
use zaichik_serve::Signal;
use zaichik_tokio::{ClientError, Delivery, Event, RequestError, Subscription};

use super::args::{Subscribe, WINDOW};
use super::commits::{CommitEvent, CommitMode, Commits};
use super::show::MessageWriter;
use super::sources::{SourceEvent, Sources};
use crate::failure::{Code, Failure};

/// Maximum bytes of output before it is written; a single message may exceed it.
const OUTPUT: usize = 64 << 10;

/// Maximum time to complete a write after a signal.
const GRACE: Duration = Duration::from_secs(1);

/// A running `sub` command.
pub(super) struct SubscribeRun<'a> {
    args: &'a Subscribe,
    sources: Sources,
    commits: Commits,
    writer: MessageWriter<'a>,
    signals: Pin<Box<dyn Stream<Item = Signal>>>,
    /// The messages in `output`, with their sources.
    batch: Vec<(usize, Delivery)>,
    output: Vec<u8>,
}

/// Why the command ends.
pub(super) enum EndReason {
    /// A signal, the end of standard input in manual mode, or a closed output.
    Stopped,
    /// It has printed all requested messages.
    Done,
    /// No message arrived within `--wait`.
    WaitExpired,
}

impl<'a> SubscribeRun<'a> {
    pub(super) fn new(
        args: &'a Subscribe,
        subscriptions: Vec<Subscription>,
        signals: Pin<Box<dyn Stream<Item = Signal>>>,
    ) -> Self {
        let mode = if args.window == Some(0) { CommitMode::Never } else { args.commit };
        Self {
            args,
            sources: Sources::new(subscriptions, args.exit_at_end),
            commits: Commits::new(mode, &args.topics),
            writer: args.show.writer(args.verbose),
            signals,
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
    /// The first commit that failed.
    pub(super) async fn settle(&mut self) -> Result<(), ClientError> {
        self.commits.settle().await
    }

    /// Prints messages until the command ends.
    ///
    /// # Errors
    /// A subscription ended, messages are missing with `--fail-on-gap`, the output cannot be written, or a line of
    /// standard input is invalid.
    pub(super) async fn read(&mut self) -> Result<EndReason, Failure> {
        let mut idle = self.idle();
        loop {
            if self.sources.are_done() || self.args.count.is_some_and(|count| self.writer.count() >= count) {
                return Ok(EndReason::Done);
            }
            tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(EndReason::Stopped),
                event = self.commits.next() => match event {
                    // If a commit failed, its messages are redelivered, and the subscription reports that.
                    CommitEvent::Answered => {}
                    CommitEvent::Request(Some(line)) => self.commits.request(&line)?,
                    CommitEvent::Request(None) => return Ok(EndReason::Stopped),
                },
                (source, event) = self.sources.next() => {
                    let collected = self.collect(source, event);
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
    fn collect(&mut self, source: usize, event: SourceEvent) -> Result<(), Failure> {
        self.handle(source, event)?;
        while !self.is_full()
            && let Some((source, event)) = self.sources.next().now_or_never()
        {
            self.handle(source, event)?;
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
    #[expect(clippy::wildcard_enum_match_arm, reason = "events of later versions are ignored")]
    fn handle(&mut self, source: usize, event: SourceEvent) -> Result<(), Failure> {
        let Some(event) = event.transpose()? else {
            return Ok(());
        };
        if !self.sources.advance(source, &event) {
            return Ok(());
        }
        let topic = self.args.topics.get(source).map_or("", String::as_str);
        let event = match event.into_message() {
            Ok(message) => {
                self.writer.write(&message, &mut self.output);
                self.batch.push((source, message));
                return Ok(());
            }
            Err(event) => event,
        };
        match event {
            Event::Reconnected { .. } | Event::Restarted { .. } => self.commits.rewound(source),
            Event::Fenced => return Err(ClientError::Fenced { topic: topic.into() }.into()),
            Event::Refused(refusal) => {
                let topic = topic.into();
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
        let lost = ClientError::Lost { topic: topic.into(), event };
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
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Some(EndReason::Stopped)),
            Err(error) => {
                return Err(Failure::new(Code::Other, format_args!("cannot write the output: {error}")));
            }
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
                _ = self.commits.settle() => {}
            }
        }
        Ok(None)
    }
}

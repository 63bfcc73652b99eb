//! Reading: messages go out as they come, and count as done when they are written.

use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::Sleep;
use zaichik_serve::Signal;
use zaichik_tokio::{ClientError, Delivery, Incoming, RequestError, Subscription};

use super::commits::{CommitMode, Commits, News};
use super::show::Show;
use super::sources::{Event, Sources};
use super::{Subscribe, WINDOW};
use crate::failure::{Code, Failure};

/// How much output is written at once, in bytes, if as much is there; one message may exceed it.
const OUTPUT: usize = 64 << 10;

/// How long a write may take when somebody asks to stop.
const GRACE: Duration = Duration::from_secs(1);

/// A command under way.
pub(super) struct Run<'a> {
    args: &'a Subscribe,
    sources: Sources,
    commits: Commits,
    show: Show<'a>,
    signals: Pin<Box<dyn Stream<Item = Signal>>>,
    /// Messages to be written together.
    batch: Vec<(usize, Delivery)>,
    output: Vec<u8>,
}

/// Why reading ends.
pub(super) enum End {
    /// Somebody asked to stop, or there is nobody left to write for.
    Stopped,
    /// All that was wanted is there.
    Done,
    /// Nothing came for as long as was to be waited.
    Silence,
}

impl<'a> Run<'a> {
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
            show: args.show.show(args.verbose),
            signals,
            batch: Vec::new(),
            output: Vec::new(),
        }
    }

    /// How many messages were shown.
    pub(super) const fn shown(&self) -> u64 {
        self.show.count()
    }

    /// Waits until all commits are answered.
    ///
    /// # Errors
    /// The first of them that failed.
    pub(super) async fn settle(&mut self) -> Result<(), ClientError> {
        self.commits.settle().await
    }

    /// Shows messages until it is to end.
    ///
    /// # Errors
    /// A subscription has ended, messages are missing that must not, the output does not take them, or standard input
    /// can't be obeyed.
    pub(super) async fn read(&mut self) -> Result<End, Failure> {
        let mut idle = self.idle();
        loop {
            if self.sources.are_done() || self.args.count.is_some_and(|count| self.show.count() >= count) {
                return Ok(End::Done);
            }
            tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(End::Stopped),
                news = self.commits.next() => match news {
                    // What can't be committed comes again, which the subscription tells.
                    News::Answered => {}
                    News::Order(Some(order)) => self.commits.obey(&order)?,
                    News::Order(None) => return Ok(End::Stopped),
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
                } => return Ok(End::Silence),
            }
        }
    }

    fn idle(&self) -> Option<Pin<Box<Sleep>>> {
        self.args.wait.map(|wait| Box::pin(tokio::time::sleep(wait)))
    }

    /// Takes an event, and what else is there, into the output.
    fn collect(&mut self, source: usize, event: Event) -> Result<(), Failure> {
        self.take(source, event)?;
        while !self.is_full()
            && let Some((source, event)) = self.sources.next().now_or_never()
        {
            self.take(source, event)?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let one = self.args.commit == CommitMode::Each;
        self.output.len() >= OUTPUT
            || self.batch.len() >= if one { 1 } else { WINDOW as usize }
            || self.sources.are_done()
            || self.args.count.is_some_and(|count| self.show.count() >= count)
    }

    /// Takes an event into the output, or says what stands in a message's place.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what later versions tell is not known here")]
    fn take(&mut self, source: usize, event: Event) -> Result<(), Failure> {
        let Some(incoming) = event.transpose()? else {
            return Ok(());
        };
        if !self.sources.saw(source, &incoming) {
            return Ok(());
        }
        let topic = self.args.topics.get(source).map_or("", String::as_str);
        let lost = match incoming {
            Incoming::Message(message) => {
                self.show.write(&message, &mut self.output);
                self.batch.push((source, message));
                return Ok(());
            }
            Incoming::Gap { from, to, reason } => {
                ClientError::Gap { topic: topic.into(), from, to, reason: Some(reason) }
            }
            Incoming::Reconnected { from, start } if from >= start => {
                self.commits.rewound(source);
                self.args.say(format_args!("topic {topic:?}: connected again; nothing is lost"));
                return Ok(());
            }
            Incoming::Reconnected { from, start: to } => {
                self.commits.rewound(source);
                ClientError::Gap { topic: topic.into(), from, to, reason: None }
            }
            Incoming::Restarted { start } => {
                self.commits.rewound(source);
                ClientError::Restarted { topic: topic.into(), start }
            }
            Incoming::Fenced => return Err(ClientError::Fenced { topic: topic.into() }.into()),
            Incoming::Refused(refusal) => {
                let topic = topic.into();
                return Err(ClientError::from(RequestError::Refused { topic, refusal }).into());
            }
            _ => return Ok(()),
        };
        if self.args.fail_on_gap {
            return Err(Failure::new(Code::Gap, lost));
        }
        self.args.say(lost);
        Ok(())
    }

    /// Writes what was collected; what is written may be committed.
    async fn write(&mut self) -> Result<Option<End>, Failure> {
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
                // It may be written already, and not known here yet.
                match tokio::time::timeout(GRACE, writing).await {
                    Ok(written) => written,
                    Err(_) => return Ok(Some(End::Stopped)),
                }
            }
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Some(End::Stopped)),
            Err(error) => {
                return Err(Failure::new(Code::Other, format_args!("cannot write the output: {error}")));
            }
        }
        self.output.clear();
        self.commits.written(std::mem::take(&mut self.batch));
        if is_stopping {
            return Ok(Some(End::Stopped));
        }
        if self.args.commit == CommitMode::Each {
            tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(Some(End::Stopped)),
                _ = self.commits.settle() => {}
            }
        }
        Ok(None)
    }
}

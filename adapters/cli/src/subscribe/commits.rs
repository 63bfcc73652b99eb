//! Commits messages: automatically, or as standard input requests.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use clap::ValueEnum;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use zaichik_tokio::{ClientError, Delivery};

use crate::failure::{Code, Failure};

/// When messages are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CommitMode {
    /// Commit messages after they are written, in batches.
    Auto,
    /// Commit each message before the next one is written.
    Each,
    /// Commit nothing; a durable subscription then receives at most its window.
    Never,
    /// Commit as standard input says: an offset, or a topic and an offset, on each line.
    Manual,
}

/// Commits in flight, and messages that are written but not committed; the windows limit both.
pub(super) struct Commits {
    mode: CommitMode,
    in_flight: FuturesUnordered<Commit>,
    /// One per topic.
    topics: Vec<Uncommitted>,
    /// Standard input, in manual mode.
    requests: Option<Lines<BufReader<Stdin>>>,
}

/// What happens next to commits.
pub(super) enum CommitEvent {
    /// A commit is answered.
    Answered,
    /// A line of standard input, or its end.
    Request(Option<String>),
}

type Commit = Pin<Box<dyn Future<Output = Result<(), ClientError>>>>;

/// The messages of a topic that are written but not committed.
struct Uncommitted {
    topic: String,
    /// In the order of their offsets.
    messages: VecDeque<Delivery>,
    /// The highest offset that was ever written, plus 1.
    end: u64,
}

impl Commits {
    pub(super) fn new(mode: CommitMode, topics: &[String]) -> Self {
        let none = |topic: &String| Uncommitted { topic: topic.clone(), messages: VecDeque::new(), end: 0 };
        Self {
            mode,
            in_flight: FuturesUnordered::new(),
            topics: topics.iter().map(none).collect(),
            requests: (mode == CommitMode::Manual).then(|| BufReader::new(tokio::io::stdin()).lines()),
        }
    }

    /// Records messages that were written, in this order, and commits them unless the mode is manual.
    pub(super) fn written(&mut self, messages: Vec<(usize, Delivery)>) {
        if self.mode == CommitMode::Never {
            return;
        }
        for (source, delivery) in messages {
            if let Some(topic) = self.topics.get_mut(source) {
                topic.end = topic.end.max(delivery.offset.saturating_add(1));
                // The subscription was moved back: the messages from this one on are redelivered.
                if topic.messages.back().is_some_and(|last| last.offset >= delivery.offset) {
                    topic.messages.clear();
                }
                topic.messages.push_back(delivery);
            }
        }
        if self.mode != CommitMode::Manual {
            for topic in &mut self.topics {
                if let Some(last) = topic.messages.pop_back() {
                    topic.messages.clear();
                    self.in_flight.push(commit(last));
                }
            }
        }
    }

    /// Forgets the uncommitted messages of a source, because they are redelivered.
    pub(super) fn rewound(&mut self, source: usize) {
        if let Some(topic) = self.topics.get_mut(source) {
            topic.messages.clear();
        }
    }

    /// Waits for the next event; never completes if no commit is in flight and the mode is not manual. No event is lost
    /// if the future is dropped.
    pub(super) async fn next(&mut self) -> CommitEvent {
        let Self { in_flight, requests, .. } = self;
        tokio::select! {
            biased;
            Some(_) = in_flight.next() => CommitEvent::Answered,
            line = async {
                match requests {
                    Some(requests) => requests.next_line().await.ok().flatten(),
                    None => std::future::pending().await,
                }
            } => CommitEvent::Request(line),
        }
    }

    /// Waits for the answers to all commits.
    ///
    /// # Errors
    /// The first commit that failed.
    pub(super) async fn settle(&mut self) -> Result<(), ClientError> {
        let mut settled = Ok(());
        while let Some(answer) = self.in_flight.next().await {
            settled = settled.and(answer);
        }
        settled
    }

    /// Commits what a line of standard input requests.
    ///
    /// # Errors
    /// The line is not a valid request.
    pub(super) fn request(&mut self, line: &str) -> Result<(), Failure> {
        let line = line.trim();
        let invalid = |why: &str| {
            Failure::new(Code::Usage, format_args!("cannot commit {line:?} from standard input: {why}"))
        };
        let (topic, offset) = match line.rsplit_once(char::is_whitespace) {
            Some((topic, offset)) => (Some(topic.trim_end()), offset),
            None => (None, line),
        };
        let offset: u64 = offset.parse().map_err(|_| invalid("use an offset, or a topic and an offset"))?;
        let topic = match topic {
            Some(name) => self.topics.iter_mut().find(|topic| topic.topic == name),
            None if self.topics.len() > 1 => {
                return Err(invalid("there are several topics; put the topic before the offset"));
            }
            None => self.topics.first_mut(),
        };
        let topic = topic.ok_or_else(|| invalid("this command is not subscribed to that topic"))?;
        if offset >= topic.end {
            return Err(invalid("that message was not printed yet"));
        }
        // Messages that are committed already, or will be redelivered after a broken connection, are not in the queue.
        let mut last = None;
        while let Some(delivery) = topic.messages.pop_front_if(|delivery| delivery.offset <= offset) {
            last = Some(delivery);
        }
        if let Some(last) = last {
            self.in_flight.push(commit(last));
        }
        Ok(())
    }
}

fn commit(delivery: Delivery) -> Commit {
    Box::pin(async move { delivery.commit().await })
}

//! Commits messages: automatically, or as standard input requests.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use clap::ValueEnum;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use zaichik_serve::planted::{Defect, is_planted};
use zaichik_tokio::{ClientError, Delivery};

use crate::failure::{Code, Failure};
use crate::stdin;

/// When messages are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CommitMode {
    /// Commit messages after they are written, in batches.
    Auto,
    /// Commit each message before the next one is written.
    Each,
    /// Commit nothing; a durable subscription then receives at most its window.
    Never,
    /// Commit as standard input says: an offset, or a topic and an offset, on each line. The command ends with its input,
    /// or when it has printed all it should and each message is committed.
    Manual,
}

/// Commits in flight, and messages that are written but not committed; the windows limit both.
pub(super) struct Commits {
    mode: CommitMode,
    /// Whether the subscriptions are shared, so that each message is acknowledged alone.
    is_shared: bool,
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
    Request(io::Result<Option<String>>),
}

/// A commit that failed, and that no later one of its topic made up for.
#[derive(Debug)]
pub(super) struct FailedCommit {
    pub(super) topic: String,
    pub(super) offset: u64,
    pub(super) error: ClientError,
}

type Commit = Pin<Box<dyn Future<Output = Answer>>>;

/// The answer to a commit.
struct Answer {
    /// The index of the topic.
    source: usize,
    offset: u64,
    /// Whether it is about this message only, and not about all before it.
    is_alone: bool,
    result: Result<(), ClientError>,
}

/// The messages of a topic that are written but not committed.
struct Uncommitted {
    topic: String,
    /// In the order of their offsets.
    messages: VecDeque<Delivery>,
    /// The highest offset that was ever written, plus 1.
    end: u64,
    /// The highest offset whose commit succeeded.
    committed: Option<u64>,
    /// The highest offset above it whose commit failed.
    failed: Option<(u64, ClientError)>,
}

impl Commits {
    /// Commits for the messages of topics that are yet to be [added](Self::add); in manual mode it reads standard input.
    ///
    /// # Errors
    /// Standard input is closed.
    pub(super) fn new(mode: CommitMode, is_shared: bool) -> Result<Self, Failure> {
        let requests = match mode {
            CommitMode::Manual => Some(BufReader::new(stdin::open()?).lines()),
            CommitMode::Auto | CommitMode::Each | CommitMode::Never => None,
        };
        Ok(Self { mode, is_shared, in_flight: FuturesUnordered::new(), topics: Vec::new(), requests })
    }

    /// The next index is that of this topic.
    pub(super) fn add(&mut self, topic: &str) {
        self.topics.push(Uncommitted::new(topic));
    }

    /// Whether standard input may still request commits of messages that were written.
    pub(super) fn awaits_requests(&self) -> bool {
        self.mode == CommitMode::Manual && self.topics.iter().any(|topic| !topic.messages.is_empty())
    }

    /// Records messages that were written, in this order, and commits them unless the mode is manual.
    pub(super) fn written(&mut self, messages: Vec<(usize, Delivery)>) {
        if self.mode == CommitMode::Never {
            return;
        }
        if self.is_shared {
            self.in_flight.extend(messages.into_iter().map(|(source, delivery)| ack(source, delivery)));
            return;
        }
        for (source, delivery) in messages {
            if let Some(topic) = self.topics.get_mut(source) {
                topic.end = topic.end.max(delivery.offset.saturating_add(1));
                if topic.committed >= Some(delivery.offset) {
                    // Somebody has moved the subscription back.
                    topic.committed = delivery.offset.checked_sub(1);
                }
                // The subscription was moved back: the messages from this one on are redelivered.
                if topic.messages.back().is_some_and(|last| last.offset >= delivery.offset) {
                    topic.messages.clear();
                }
                topic.messages.push_back(delivery);
            }
        }
        if self.mode != CommitMode::Manual {
            for (source, topic) in self.topics.iter_mut().enumerate() {
                if let Some(last) = topic.messages.pop_back() {
                    topic.messages.clear();
                    self.in_flight.push(commit(source, last));
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

    /// Forgets everything about a source, because its topic begins again in another broker.
    pub(super) fn restarted(&mut self, source: usize) {
        if let Some(topic) = self.topics.get_mut(source) {
            *topic = Uncommitted::new(&topic.topic);
        }
    }

    /// Waits for the next event; never completes if no commit is in flight and the mode is not manual. No event is lost
    /// if the future is dropped.
    pub(super) async fn next(&mut self) -> CommitEvent {
        let Self { in_flight, requests, topics, .. } = self;
        tokio::select! {
            biased;
            Some(answer) = in_flight.next() => {
                answer.record(topics);
                CommitEvent::Answered
            }
            line = async {
                match requests {
                    Some(requests) => requests.next_line().await,
                    None => std::future::pending().await,
                }
            } => CommitEvent::Request(line),
        }
    }

    /// Waits for the answers to all commits.
    ///
    /// # Errors
    /// The commit of a topic's last messages failed; those of earlier ones do not matter.
    pub(super) async fn settle(&mut self) -> Result<(), FailedCommit> {
        if is_planted(Defect::CommitsNotAwaited) {
            return Ok(());
        }
        while let Some(answer) = self.in_flight.next().await {
            answer.record(&mut self.topics);
        }
        let failed = self.topics.iter().find_map(|topic| Some((topic, topic.failed.as_ref()?)));
        failed.map_or(Ok(()), |(topic, (offset, error))| {
            Err(FailedCommit { topic: topic.topic.clone(), offset: *offset, error: error.clone() })
        })
    }

    /// Nacks the message of each topic that is the only one written but not committed, so that it counts as failed: its
    /// reader ended without a commit of it. Of several, nobody knows which one the reader failed at.
    ///
    /// # Errors
    /// As for [`Delivery::nack`].
    pub(super) async fn fail_the_only_one(&mut self) -> Result<(), ClientError> {
        for topic in &mut self.topics {
            if let Some(only) = topic.messages.pop_front()
                && topic.messages.is_empty()
            {
                only.nack(Duration::ZERO).await?;
            }
        }
        Ok(())
    }

    /// The topics with a committed message, and the offset of the last one.
    pub(super) fn committed(&self) -> Vec<(String, u64)> {
        self.topics.iter().filter_map(|topic| Some((topic.topic.clone(), topic.committed?))).collect()
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
        let mut topics = self.topics.iter_mut().enumerate();
        let topic = match topic {
            Some(name) => topics.find(|(_, topic)| topic.topic == name),
            None if topics.len() > 1 => {
                return Err(invalid("there are several topics; put the topic before the offset"));
            }
            None => topics.next(),
        };
        let (source, topic) = topic.ok_or_else(|| invalid("this command is not subscribed to that topic"))?;
        if offset >= topic.end {
            return Err(invalid("that message was not printed yet"));
        }
        // Messages that are committed already, or will be redelivered after a broken connection, are not in the queue.
        let mut last = None;
        while let Some(delivery) = topic.messages.pop_front_if(|delivery| delivery.offset <= offset) {
            last = Some(delivery);
        }
        if let Some(last) = last {
            self.in_flight.push(commit(source, last));
        }
        Ok(())
    }
}

impl Uncommitted {
    fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), messages: VecDeque::new(), end: 0, committed: None, failed: None }
    }
}

impl Answer {
    fn record(self, topics: &mut [Uncommitted]) {
        let Self { source, offset, is_alone, result } = self;
        let Some(topic) = topics.get_mut(source) else {
            return;
        };
        match result {
            // It may have been redelivered here.
            Ok(()) if is_alone => drop(topic.failed.take_if(|(failed, _)| *failed == offset)),
            Err(error) if is_alone => {
                topic.failed.get_or_insert((offset, error));
            }
            Ok(()) => {
                topic.committed = topic.committed.max(Some(offset));
                topic.failed.take_if(|(failed, _)| *failed <= offset);
            }
            Err(error) if topic.committed < Some(offset) => {
                let is_higher = topic.failed.as_ref().is_none_or(|(failed, _)| *failed <= offset);
                if is_higher {
                    topic.failed = Some((offset, error));
                }
            }
            Err(_) => {}
        }
    }
}

fn commit(source: usize, delivery: Delivery) -> Commit {
    Box::pin(async move {
        Answer { source, offset: delivery.offset, is_alone: false, result: delivery.commit().await }
    })
}

fn ack(source: usize, delivery: Delivery) -> Commit {
    Box::pin(async move {
        Answer { source, offset: delivery.offset, is_alone: true, result: delivery.ack().await }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The topic, the offset, and whether the commit succeeded.
    type Step = (usize, u64, bool);

    #[test]
    fn a_failed_commit_counts_until_a_later_one_of_its_topic_succeeds() {
        let lost = || Err(ClientError::Abandoned);
        // The answers to commits, and what has failed by topic.
        let cases: [(&[Step], [Option<u64>; 2]); 9] = [
            (&[], [None, None]),
            (&[(0, 5, true)], [None, None]),
            (&[(0, 5, false)], [Some(5), None]),
            (&[(0, 5, false), (0, 7, true)], [None, None]),
            (&[(0, 5, false), (0, 5, true)], [None, None]),
            (&[(0, 5, false), (0, 4, true)], [Some(5), None]),
            (&[(0, 7, true), (0, 5, false)], [None, None]),
            (&[(0, 5, false), (0, 9, false), (0, 7, true)], [Some(9), None]),
            (&[(0, 5, false), (1, 9, true), (1, 11, false)], [Some(5), Some(11)]),
        ];
        for (answers, expected) in cases {
            let mut topics = ["t", "u"].map(Uncommitted::new);
            for (source, offset, is_committed) in answers.iter().copied() {
                let result = if is_committed { Ok(()) } else { lost() };
                Answer { source, offset, is_alone: false, result }.record(&mut topics);
            }
            assert_eq!(topics.map(|topic| topic.failed.map(|(offset, _)| offset)), expected, "{answers:?}");
        }
    }
}

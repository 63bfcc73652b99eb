//! When messages count as done.

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
    /// Messages that were written, as many at once as were written at once.
    Auto,
    /// Every message by itself, before the next one is written.
    Each,
    /// Nothing; a durable subscription then gets no more than its window.
    Never,
    /// What standard input says: an offset, or a topic and an offset, on each line.
    Manual,
}

/// Commits under way, and messages that wait for theirs; the windows bound both.
pub(super) struct Commits {
    mode: CommitMode,
    under_way: FuturesUnordered<Commit>,
    /// Messages of each source that were written and wait for standard input, in order.
    shown: Vec<Shown>,
    orders: Option<Lines<BufReader<Stdin>>>,
}

/// What there is to know about commits.
pub(super) enum News {
    /// One of them is answered.
    Answered,
    /// Standard input has a line, or has ended.
    Order(Option<String>),
}

type Commit = Pin<Box<dyn Future<Output = Result<(), ClientError>>>>;

struct Shown {
    topic: String,
    waiting: VecDeque<Delivery>,
    /// The first offset that was never shown.
    end: u64,
}

impl Commits {
    pub(super) fn new(mode: CommitMode, topics: &[String]) -> Self {
        let shown = |topic: &String| Shown { topic: topic.clone(), waiting: VecDeque::new(), end: 0 };
        Self {
            mode,
            under_way: FuturesUnordered::new(),
            shown: topics.iter().map(shown).collect(),
            orders: (mode == CommitMode::Manual).then(|| BufReader::new(tokio::io::stdin()).lines()),
        }
    }

    /// Messages were written, in this order.
    pub(super) fn written(&mut self, messages: Vec<(usize, Delivery)>) {
        if self.mode == CommitMode::Never {
            return;
        }
        for (source, delivery) in messages {
            if let Some(shown) = self.shown.get_mut(source) {
                shown.end = shown.end.max(delivery.offset.saturating_add(1));
                // Somebody moved the subscription back: what was shown after this one comes again.
                if shown.waiting.back().is_some_and(|last| last.offset >= delivery.offset) {
                    shown.waiting.clear();
                }
                shown.waiting.push_back(delivery);
            }
        }
        if self.mode != CommitMode::Manual {
            for shown in &mut self.shown {
                if let Some(last) = shown.waiting.pop_back() {
                    shown.waiting.clear();
                    self.under_way.push(commit(last));
                }
            }
        }
    }

    /// What was shown of a source comes again.
    pub(super) fn rewound(&mut self, source: usize) {
        if let Some(shown) = self.shown.get_mut(source) {
            shown.waiting.clear();
        }
    }

    /// What comes next; never anything, if no commit is under way and standard input has no say. Nothing is lost if the
    /// future is dropped.
    pub(super) async fn next(&mut self) -> News {
        let Self { under_way, orders, .. } = self;
        tokio::select! {
            biased;
            Some(_) = under_way.next() => News::Answered,
            order = async {
                match orders {
                    Some(orders) => orders.next_line().await.ok().flatten(),
                    None => std::future::pending().await,
                }
            } => News::Order(order),
        }
    }

    /// Waits for all answers.
    pub(super) async fn settle(&mut self) -> Result<(), ClientError> {
        let mut settled = Ok(());
        while let Some(answer) = self.under_way.next().await {
            settled = settled.and(answer);
        }
        settled
    }

    /// Does what a line of standard input says.
    ///
    /// # Errors
    /// The line makes no sense.
    pub(super) fn obey(&mut self, order: &str) -> Result<(), Failure> {
        let order = order.trim();
        let wrong = |why: &str| {
            Failure::new(
                Code::Usage,
                format_args!("cannot commit what standard input says, {order:?}: {why}"),
            )
        };
        let (topic, offset) = match order.rsplit_once(char::is_whitespace) {
            Some((topic, offset)) => (Some(topic.trim_end()), offset),
            None => (None, order),
        };
        let offset: u64 = offset.parse().map_err(|_| wrong("it has no offset"))?;
        let shown = match topic {
            Some(topic) => self.shown.iter_mut().find(|shown| shown.topic == topic),
            None if self.shown.len() > 1 => {
                return Err(wrong("there are several topics; put its name before"));
            }
            None => self.shown.first_mut(),
        };
        let shown = shown.ok_or_else(|| wrong("that topic is not read here"))?;
        if offset >= shown.end {
            return Err(wrong("that message was not shown yet"));
        }
        // What was committed before, or comes again after a broken connection, needs nothing.
        let mut last = None;
        while let Some(delivery) = shown.waiting.pop_front_if(|delivery| delivery.offset <= offset) {
            last = Some(delivery);
        }
        if let Some(last) = last {
            self.under_way.push(commit(last));
        }
        Ok(())
    }
}

fn commit(delivery: Delivery) -> Commit {
    Box::pin(async move { delivery.commit().await })
}

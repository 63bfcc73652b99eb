//! The topics that are read, and what comes next from any of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use zaichik_tokio::{ClientError, Incoming, Subscription};

/// What comes from a source; `None` when it has ended.
pub(super) type Event = Option<Result<Incoming, ClientError>>;

/// One topic that is read.
pub(super) struct Source {
    subscription: Subscription,
    /// The topic's end when the subscription began.
    end: u64,
    /// The first offset that is not seen yet.
    next: u64,
    /// Nothing more is wanted from it.
    is_done: bool,
}

/// The topics that are read: each gets its turn.
pub(super) struct Sources {
    all: Vec<Source>,
    /// Whose turn it is.
    turn: usize,
    /// Whether each is done at the end that its topic had.
    until_end: bool,
}

impl Sources {
    pub(super) fn new(subscriptions: Vec<Subscription>, until_end: bool) -> Self {
        let sources = subscriptions.into_iter().map(|subscription| {
            let (next, end) = (subscription.start(), subscription.end());
            Source { subscription, end, next, is_done: until_end && next >= end }
        });
        Self { all: sources.collect(), turn: 0, until_end }
    }

    /// Whether nothing more is wanted.
    pub(super) fn are_done(&self) -> bool {
        self.all.iter().all(|source| source.is_done)
    }

    /// What comes next, and from which source; nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> (usize, Event) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Notes what came; `false` if it is beyond what is wanted.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else changes the place")]
    pub(super) fn saw(&mut self, source: usize, incoming: &Incoming) -> bool {
        let Some(source) = self.all.get_mut(source) else {
            return false;
        };
        let is_wanted = match *incoming {
            Incoming::Message(ref message) => {
                source.next = message.offset.saturating_add(1);
                !self.until_end || message.offset < source.end
            }
            Incoming::Gap { to: next, .. } | Incoming::Reconnected { start: next, .. } => {
                source.next = next;
                true
            }
            Incoming::Restarted { .. } => {
                // The end that the topic had is gone with its messages.
                source.next = source.end;
                true
            }
            _ => true,
        };
        source.is_done |= self.until_end && source.next >= source.end;
        is_wanted
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Event)> {
        let count = self.all.len();
        for step in 0..count {
            let index = self.turn.saturating_add(step).checked_rem(count).unwrap_or(0);
            let Some(source) = self.all.get_mut(index).filter(|source| !source.is_done) else {
                continue;
            };
            if let Poll::Ready(event) = Pin::new(&mut source.subscription).poll_next(cx) {
                source.is_done |= event.is_none();
                self.turn = index.saturating_add(1);
                return Poll::Ready((index, event));
            }
        }
        Poll::Pending
    }
}

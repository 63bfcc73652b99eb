//! Reads several subscriptions in turn.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use zaichik_tokio::{ClientError, Delivery, Event, Subscription};

/// An event of a source; `None` when it has ended.
pub(super) type SourceEvent = Option<Result<Event<Delivery>, ClientError>>;

/// One subscription.
pub(super) struct Source {
    subscription: Subscription,
    /// The topic's end when the subscription began.
    end: u64,
    /// The next offset to receive.
    next: u64,
    /// Whether it has ended or has reached the end to stop at.
    is_done: bool,
}

/// The subscriptions, read in turn.
pub(super) struct Sources {
    all: Vec<Source>,
    /// The index of the source to read next.
    turn: usize,
    /// Whether to stop each source where its topic ended when the subscription began.
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

    /// Whether all sources are done.
    pub(super) fn are_done(&self) -> bool {
        self.all.iter().all(|source| source.is_done)
    }

    /// The next event, with the index of its source. No event is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> (usize, SourceEvent) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Moves a source past an event; `false` if the event is a message beyond the end to stop at.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other events do not change the position")]
    pub(super) fn advance(&mut self, source: usize, event: &Event<Delivery>) -> bool {
        let Some(source) = self.all.get_mut(source) else {
            return false;
        };
        let is_wanted = match *event {
            Event::Message(ref message) => {
                source.next = message.offset.saturating_add(1);
                !self.until_end || message.offset < source.end
            }
            Event::Gap { to: next, .. } | Event::Reconnected { start: next, .. } => {
                source.next = next;
                true
            }
            Event::Restarted { .. } => {
                // The messages up to that end are lost with the old broker, so the source is done.
                source.next = source.end;
                true
            }
            _ => true,
        };
        source.is_done |= self.until_end && source.next >= source.end;
        is_wanted
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(usize, SourceEvent)> {
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

//! Reads several subscriptions in turn, to topics and to patterns of them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use zaichik_tokio::{ClientError, Delivery, Event, PatternEvent, PatternSubscription, Refusal, Subscription};

/// A subscription that an argument of the command asks for.
pub(super) enum Source {
    Topic(Subscription),
    Pattern(PatternSubscription),
}

/// What a source has to say.
pub(super) enum SourceEvent {
    /// Something of a topic, by its index.
    Topic(usize, Event<Delivery>),
    /// A pattern covers this topic from now on.
    Matched(Arc<str>),
    /// A pattern does not cover this topic, and so many others.
    NotMatched(Arc<str>, Refusal, u32),
    /// The broker refused this pattern after a reconnect.
    Refused(Arc<str>, Refusal),
    /// A source has ended.
    Ended,
}

/// One topic.
struct Topic {
    name: Arc<str>,
    /// The topic's end when the subscription began.
    end: u64,
    /// The next offset to receive.
    next: u64,
    /// Whether it has ended or has reached the end to stop at.
    is_done: bool,
}

/// A source, and its topics.
struct Reading {
    source: Source,
    /// The index of each of its topics; those of a pattern by name.
    topics: BTreeMap<Arc<str>, usize>,
    /// Topics that existed when the pattern was subscribed to and are not reported yet.
    awaited: u32,
    has_ended: bool,
}

/// The subscriptions, read in turn.
pub(super) struct Sources {
    all: Vec<Reading>,
    topics: Vec<Topic>,
    /// The index of the source to read next.
    turn: usize,
    /// Whether to stop each source where its topics ended when the subscription began.
    until_end: bool,
}

impl Sources {
    pub(super) fn new(sources: Vec<Source>, until_end: bool) -> Self {
        let mut all = Self { all: Vec::new(), topics: Vec::new(), turn: 0, until_end };
        for source in sources {
            let mut reading = Reading { source, topics: BTreeMap::new(), awaited: 0, has_ended: false };
            match &reading.source {
                Source::Topic(one) => {
                    let name: Arc<str> = one.topic().into();
                    let index = all.add(Arc::clone(&name), one.start(), one.end());
                    reading.topics.insert(name, index);
                }
                Source::Pattern(pattern) => reading.awaited = pattern.topics(),
            }
            all.all.push(reading);
        }
        all
    }

    /// Whether all sources are done.
    pub(super) fn are_done(&self) -> bool {
        self.all.iter().all(|reading| self.is_done(reading))
    }

    /// The number of topics so far: each has an index below it.
    pub(super) const fn len(&self) -> usize {
        self.topics.len()
    }

    /// The name of a topic.
    pub(super) fn name(&self, topic: usize) -> Arc<str> {
        self.topics.get(topic).map_or_else(Arc::default, |topic| Arc::clone(&topic.name))
    }

    /// The next event. No event is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<SourceEvent, ClientError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Moves a topic past an event; `false` if the event is a message beyond the end to stop at.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other events do not change the position")]
    pub(super) fn advance(&mut self, topic: usize, event: &Event<Delivery>) -> bool {
        let Some(topic) = self.topics.get_mut(topic) else {
            return false;
        };
        let is_wanted = match *event {
            Event::Message(ref message) => {
                topic.next = message.offset.saturating_add(1);
                !self.until_end || message.offset < topic.end
            }
            Event::Gap { to: next, .. } | Event::Reconnected { start: next, .. } => {
                topic.next = next;
                true
            }
            Event::Restarted { .. } => {
                // The messages up to that end are lost with the old broker, so the topic is done.
                topic.next = topic.end;
                true
            }
            _ => true,
        };
        topic.is_done |= event.is_end() || (self.until_end && topic.next >= topic.end);
        is_wanted
    }

    fn add(&mut self, name: Arc<str>, start: u64, end: u64) -> usize {
        let is_done = self.until_end && start >= end;
        self.topics.push(Topic { name, end, next: start, is_done });
        self.topics.len().saturating_sub(1)
    }

    fn is_done(&self, reading: &Reading) -> bool {
        let is_topic_done = |topic: &usize| self.topics.get(*topic).is_none_or(|topic| topic.is_done);
        let are_topics_done = || reading.topics.values().all(is_topic_done);
        match reading.source {
            _ if reading.has_ended => true,
            Source::Topic(_) => are_topics_done(),
            Source::Pattern(_) => self.until_end && reading.awaited == 0 && are_topics_done(),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<SourceEvent, ClientError>> {
        let count = self.all.len();
        for step in 0..count {
            let index = self.turn.saturating_add(step).checked_rem(count).unwrap_or(0);
            if self.all.get(index).is_none_or(|reading| self.is_done(reading)) {
                continue;
            }
            if let Poll::Ready(event) = self.poll_source(index, cx) {
                self.turn = index.saturating_add(1);
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }

    fn poll_source(&mut self, index: usize, cx: &mut Context<'_>) -> Poll<Result<SourceEvent, ClientError>> {
        let Some(reading) = self.all.get_mut(index) else { return Poll::Pending };
        let event = match &mut reading.source {
            Source::Topic(topic) => {
                let only = reading.topics.values().next().copied().unwrap_or(0);
                let event = std::task::ready!(Pin::new(topic).poll_next(cx));
                event.map(|event| event.map(|event| SourceEvent::Topic(only, event)))
            }
            Source::Pattern(pattern) => {
                let event = std::task::ready!(Pin::new(pattern).poll_next(cx));
                event.map(|event| event.map(|event| self.of_pattern(index, event)))
            }
        };
        let Some(event) = event else {
            if let Some(reading) = self.all.get_mut(index) {
                reading.has_ended = true;
            }
            return Poll::Ready(Ok(SourceEvent::Ended));
        };
        Poll::Ready(event)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "events of later versions are ignored")]
    fn of_pattern(&mut self, index: usize, event: PatternEvent<Delivery>) -> SourceEvent {
        match event {
            PatternEvent::Matched { topic, start, end, .. } => {
                // Topics that were created later are not part of what there was.
                let is_late = self.all.get(index).is_some_and(|reading| reading.awaited == 0);
                let end = if is_late && self.until_end { 0 } else { end };
                let added = self.add(Arc::clone(&topic), start, end);
                if let Some(reading) = self.all.get_mut(index) {
                    reading.awaited = reading.awaited.saturating_sub(1);
                    reading.topics.insert(Arc::clone(&topic), added);
                }
                SourceEvent::Matched(topic)
            }
            PatternEvent::Topic { topic, event, .. } => {
                let known = self.all.get(index).and_then(|reading| reading.topics.get(&topic));
                match known {
                    Some(known) => SourceEvent::Topic(*known, event),
                    None => SourceEvent::Matched(topic),
                }
            }
            PatternEvent::NotMatched { topic, refusal, others } => {
                SourceEvent::NotMatched(topic, refusal, others)
            }
            PatternEvent::Refused(refusal) => {
                let pattern = self.all.get(index).map(|reading| &reading.source);
                let pattern = match pattern {
                    Some(Source::Pattern(pattern)) => pattern.pattern().into(),
                    Some(Source::Topic(_)) | None => Arc::default(),
                };
                SourceEvent::Refused(pattern, refusal)
            }
            _ => SourceEvent::Ended,
        }
    }
}

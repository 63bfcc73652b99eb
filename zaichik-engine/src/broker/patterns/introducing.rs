//! What is sent to a session about its patterns (rules W3, W6): topics that match, topics that could not be taken, and the
//! answer.

use zaichik_proto::{Matched, NotMatched, PatternSubscribed, Refusal, ServerFrame, TopicName, TopicPattern};

use super::{Matching, Pattern};
use crate::broker::delivery::Delivery;
use crate::broker::readers::Readers;
use crate::broker::topics::Topics;
use crate::effects::Effects;
use crate::id::{PatternKey, SessionId, SubKey, TopicId};
use crate::outbound::{LaneKind, Outbound};

/// Topics that are examined for one pattern before something else is served.
const EXAMINED_PER_TURN: u32 = 64;

/// What became of a pattern's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Introduced {
    /// Nothing more is to be sent.
    All,
    /// More may be to be sent.
    Some,
    /// It waits for records that are only in the store; its session is woken when they are there.
    Awaits,
}

impl Delivery<'_> {
    /// Serves the first pattern of a session that has something to send; returns whether there was one.
    pub(in crate::broker) fn introduce_next(
        &mut self,
        session: SessionId,
        last_step: u64,
        out: &mut Outbound,
        effects: &mut Effects,
    ) -> bool {
        let Some(patterns) = self.sessions.get(session).and_then(|entry| entry.patterns.as_ref()) else {
            return false;
        };
        let (busy, awaiting) = (patterns.busy, patterns.awaiting);
        let Some(key) = self.readiness.first(busy).map(PatternKey) else { return false };
        let introduced = self.introduce(key, last_step, out, effects);
        if let Some(pattern) = self.subscriptions.patterns.get(key) {
            match introduced {
                Introduced::All => self.readiness.unlink(pattern.node),
                Introduced::Some => self.readiness.push(busy, pattern.node),
                Introduced::Awaits => {
                    self.topics.fetching.sessions.insert(session);
                    self.readiness.push(awaiting, pattern.node);
                }
            }
        }
        true
    }

    fn introduce(
        &mut self,
        key: PatternKey,
        last_step: u64,
        out: &mut Outbound,
        effects: &mut Effects,
    ) -> Introduced {
        let Some(pattern) = self.subscriptions.patterns.get_mut(key) else { return Introduced::All };
        if let Some((id, refusal)) = pattern.reports.pop_front() {
            let others = if pattern.reports.is_empty() { core::mem::take(&mut pattern.others) } else { 0 };
            let number = pattern.number;
            self.topics.spend(1);
            not_matched(self.topics, (number, id), refusal, others, out);
            return Introduced::Some;
        }
        for _ in 0..EXAMINED_PER_TURN {
            let Some(pattern) = self.subscriptions.patterns.get_mut(key) else { return Introduced::All };
            let Some(request) = pattern.request else { return Introduced::All };
            if pattern.examined >= pattern.existed {
                let answer = pattern.answer(request);
                out.frame(LaneKind::Stream, |out| ServerFrame::PatternSubscribed(answer).encode(out));
                return Introduced::Some;
            }
            if out.stream_len() >= self.output_buffer || self.topics.steps() >= last_step {
                return Introduced::Some;
            }
            if let Some(introduced) = self.examine(key, last_step, out, effects) {
                return introduced;
            }
        }
        Introduced::Some
    }

    /// Examines the next of the topics that existed; returns something if that is not finished.
    fn examine(
        &mut self,
        key: PatternKey,
        last_step: u64,
        out: &mut Outbound,
        effects: &mut Effects,
    ) -> Option<Introduced> {
        self.topics.spend(1);
        let pattern = self.subscriptions.patterns.get_mut(key)?;
        let (id, number, start) = (pattern.examined, pattern.number, pattern.start);
        if pattern.matches(&self.topics[id].name) {
            // Where a subscription starts depends on deaths, and on records that are only in the store.
            let left = last_step.saturating_sub(self.topics.steps()).max(1);
            let topic = &mut self.topics[id];
            let is_settled = topic.settle(self.now, left);
            let chunk = topic.chunk_of_start(self.now, start);
            self.topics.settle(id, self.memory);
            if !is_settled {
                return Some(Introduced::Some);
            }
            if let Some(chunk) = chunk {
                self.topics.want(id, chunk);
                return Some(Introduced::Awaits);
            }
            match self.matching().take(key, id, None, effects) {
                Some(Ok(one)) => self.announce(one, out),
                Some(Err(refusal)) => not_matched(self.topics, (number, id), refusal, 0, out),
                None => {}
            }
        }
        let pattern = self.subscriptions.patterns.get_mut(key)?;
        pattern.examined = TopicId(id.0.saturating_add(1));
        None
    }

    /// Puts the Matched of a subscription into the output, unless it is there, or the subscription has no pattern.
    pub(in crate::broker) fn announce(&mut self, one: SubKey, out: &mut Outbound) {
        let subscription = &mut self.subscriptions[one];
        let (alias, rewind, start) =
            (subscription.terms.number, subscription.rewind(), subscription.cursor());
        let topic = &self.topics[subscription.topic];
        let (end, epoch) = (topic.end(), subscription.durable.as_ref().map_or(0, |durable| durable.epoch));
        let Some(matched) = subscription.matched.as_mut().filter(|matched| !matched.is_announced) else {
            return;
        };
        matched.is_announced = true;
        let pattern = matched.pattern;
        let Some(pattern) = self.subscriptions.patterns.get(pattern) else { return };
        let subscription = pattern.number;
        let matched =
            Matched { subscription, alias, epoch, rewind, start, end, topic: topic.name.as_bytes() };
        out.frame(LaneKind::Stream, |out| ServerFrame::Matched(matched).encode(out));
    }

    fn matching(&mut self) -> Matching<'_> {
        let Self { now, sessions, topics, subscriptions, memory, readiness, .. } = self;
        Matching { sessions, readers: Readers { now: *now, topics, subscriptions, memory, readiness } }
    }
}

impl Pattern {
    /// The answer to its request, which is sent once.
    pub(super) fn answer(&mut self, request: u32) -> PatternSubscribed {
        self.request = None;
        let topics = u32::try_from(self.aliases.len()).unwrap_or(u32::MAX);
        PatternSubscribed { request, subscription: self.number, epoch: 0, topics }
    }

    fn matches(&self, name: &str) -> bool {
        let pattern = TopicPattern::parse(self.text.as_bytes());
        let name = TopicName::parse(name.as_bytes());
        pattern.is_ok_and(|pattern| name.is_ok_and(|name| pattern.matches(name)))
    }
}

fn not_matched(
    topics: &Topics,
    (subscription, id): (u32, TopicId),
    refusal: Refusal,
    others: u32,
    out: &mut Outbound,
) {
    let topic = topics[id].name.as_bytes();
    let frame = NotMatched { subscription, code: refusal.code, value: refusal.value, others, topic };
    out.frame(LaneKind::Stream, |out| ServerFrame::NotMatched(frame).encode(out));
}

//! A topic that a pattern matches gets a subscription (rules W2, W3, W6).

use std::sync::Arc;

use zaichik_proto::{Refusal, RefusalCode};

use super::{MAX_REPORTS, Pattern};
use crate::broker::readers::Readers;
use crate::broker::sessions::Sessions;
use crate::broker::subscriptions::Beginning;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{PatternKey, SessionId, SubKey, TopicId};
use crate::subscription::{Holder, Matched, Subscription, Terms};

/// Steps of subscribing to a topic (rule S14).
pub(super) const STEPS_PER_MATCH: u64 = 32;

/// The parts of the broker that a match needs.
#[derive(Debug)]
pub(in crate::broker) struct Matching<'b> {
    pub(in crate::broker) sessions: &'b mut Sessions,
    pub(in crate::broker) readers: Readers<'b>,
}

impl Matching<'_> {
    /// Subscribes to a topic that a pattern matches, from `start` or where the pattern says; `None` if the pattern leaves the
    /// topic out.
    pub(super) fn take(
        &mut self,
        key: PatternKey,
        id: TopicId,
        start: Option<u64>,
        effects: &mut Effects,
    ) -> Option<Result<SubKey, Refusal>> {
        let Readers { now, topics, subscriptions, memory, readiness } = &mut self.readers;
        let limit = subscriptions.patterns.max_subscriptions;
        let pattern = subscriptions.patterns.get_mut(key).filter(|pattern| !pattern.is_ending)?;
        if pattern.terms.dead_letter.is_some_and(|dead_letter| dead_letter.topic == id) {
            return None;
        }
        let session = pattern.session;
        let entry = self.sessions.get_mut(session).filter(|entry| entry.open)?;
        topics.spend(STEPS_PER_MATCH);
        let is_full = entry.numbers() >= limit as usize;
        let alias = entry.patterns.as_mut().filter(|_| !is_full).and_then(|patterns| patterns.next_alias());
        let Some(alias) = alias else {
            return Some(Err(Refusal::with_value(RefusalCode::SubscriptionsFull, u64::from(limit))));
        };
        if let Err(refusal) = memory.check(size_of::<Subscription>()) {
            return Some(Err(refusal));
        }
        pattern.aliases.insert(alias);
        let terms = Terms { number: alias, ..pattern.terms };
        let topic = &mut topics[id];
        let start = start.unwrap_or_else(|| topic.start(*now, pattern.start));
        let beginning = Beginning { topic: id, start, cursor_id: topic.cursors.insert(start) };
        let end = topic.end();
        let one = subscriptions.insert(beginning, terms, None, readiness);
        let holder = Holder { session, ready: entry.ready };
        let running = subscriptions.running(*now);
        let subscription = &mut subscriptions[one];
        let matched = Matched { pattern: key, is_announced: false, counted: (0, 0) };
        subscription.matched = Some(Box::new(matched));
        subscription.attach(holder, terms, running);
        entry.subscriptions.insert(alias, one);
        readiness.push(holder.ready, subscription.node);
        self.sessions.settle(session, memory);
        subscriptions.settle(one, memory);
        subscriptions.patterns.settle(key, memory);
        topics.settle(id, memory);
        let event = NoteEvent::Subscribed { subscription: alias, start, end };
        effects.note(|| Note { session, topic: Some(Arc::clone(&topics[id].name)), event });
        Some(Ok(one))
    }

    /// A topic could not be taken: it is to be reported.
    pub(super) fn report(&mut self, key: PatternKey, id: TopicId, refusal: Refusal) -> Option<SessionId> {
        let Readers { subscriptions, memory, readiness, .. } = &mut self.readers;
        let pattern = subscriptions.patterns.get_mut(key)?;
        pattern.report(id, refusal);
        let (session, node) = (pattern.session, pattern.node);
        let busy = self.sessions.get(session)?.patterns.as_ref()?.busy;
        readiness.push(busy, node);
        subscriptions.patterns.settle(key, memory);
        Some(session)
    }
}

impl Pattern {
    fn report(&mut self, id: TopicId, refusal: Refusal) {
        if self.reports.len() < MAX_REPORTS {
            self.reports.push_back((id, refusal));
        } else {
            self.others = self.others.saturating_add(1);
        }
    }
}

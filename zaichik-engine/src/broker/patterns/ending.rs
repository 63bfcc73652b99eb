//! The end of a pattern: by Unsubscribe, or with its session (rule W3).

use zaichik_proto::{PatternSubscribed, Timestamp, Unsubscribed};

use crate::broker::Broker;
use crate::broker::readers::{Readers, STEPS_PER_END};
use crate::id::{PatternKey, SessionId};

impl Broker {
    /// The pattern that a session has under a number.
    pub(in crate::broker) fn pattern_of(&self, session: SessionId, number: u32) -> Option<PatternKey> {
        self.sessions.get(session)?.patterns.as_ref()?.numbers.get(&number).copied()
    }

    /// Ends subscriptions of a pattern that is to be ended, until `last_step`; returns whether none is left. Every call makes
    /// progress. A number that is not that of a pattern has none.
    pub(in crate::broker) fn end_matches(
        &mut self,
        (now, last_step): (Timestamp, u64),
        session: SessionId,
        number: u32,
    ) -> bool {
        let Some(key) = self.pattern_of(session, number) else { return true };
        loop {
            let Some(pattern) = self.subscriptions.patterns.get_mut(key) else { return true };
            pattern.is_ending = true;
            let Some(alias) = pattern.aliases.first().copied() else { return true };
            let entry = self.sessions.get_mut(session);
            let one = entry.and_then(|entry| entry.subscriptions.remove(&alias));
            if let Some(one) = one {
                self.spend(STEPS_PER_END);
                let Self { topics, subscriptions, memory, readiness, .. } = self;
                Readers { now, topics, subscriptions, memory, readiness }.end(one);
            } else {
                pattern.aliases.remove(&alias);
            }
            self.subscriptions.patterns.settle(key, &mut self.memory);
            if self.steps() >= last_step {
                return self.subscriptions.patterns.get(key).is_none_or(|one| one.aliases.is_empty());
            }
        }
    }

    /// Ends a pattern without subscriptions. Returns the answer to the request that began it, if none was sent, and the answer
    /// to this request.
    pub(crate) fn unsubscribe_pattern(
        &mut self,
        session: SessionId,
        (request, number): (u32, u32),
    ) -> Option<(Option<PatternSubscribed>, Unsubscribed)> {
        let key = self.pattern_of(session, number)?;
        let pattern = self.subscriptions.patterns.get_mut(key)?;
        let begun = pattern.request.map(|request| pattern.answer(request));
        if let Some(patterns) = self.sessions.get_mut(session).and_then(|entry| entry.patterns.as_mut()) {
            patterns.numbers.remove(&number);
        }
        self.remove_pattern(key);
        Some((begun, Unsubscribed { request, subscription: number, last_offset: None }))
    }

    /// Removes a pattern without subscriptions.
    pub(in crate::broker) fn remove_pattern(&mut self, key: PatternKey) {
        let patterns = &mut self.subscriptions.patterns;
        patterns.remove(key, &mut self.memory, &mut self.readiness);
        self.topics.keep_new(patterns.len() > 0);
    }
}

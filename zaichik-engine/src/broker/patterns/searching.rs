//! The patterns that match a new topic (rules W2, W6).

use super::matching::Matching;
use super::{NewTopic, Search};
use crate::broker::Broker;
use crate::broker::readers::Readers;
use crate::effects::Effects;
use crate::id::SessionId;
use crate::pattern::Found;

/// Steps for which one call searches.
const STEPS_PER_CALL: u64 = 1_024;

impl Broker {
    /// Finds the patterns that match new topics, for a bounded number of steps; returns whether some may remain. The calling
    /// session is not woken, because it delivers next.
    #[inline]
    pub(in crate::broker) fn search_patterns(&mut self, asking: SessionId, effects: &mut Effects) -> bool {
        self.topics.has_new() && self.search_some(asking, effects)
    }

    #[inline(never)]
    fn search_some(&mut self, asking: SessionId, effects: &mut Effects) -> bool {
        let last_step = self.steps().saturating_add(STEPS_PER_CALL);
        let Self { now, topics, subscriptions, memory, readiness, sessions, .. } = self;
        let readers = Readers { now: *now, topics, subscriptions, memory, readiness };
        let mut matching = Matching { sessions, readers };
        while let Some(new) = matching.readers.topics.first_new() {
            if matching.readers.topics.steps() >= last_step {
                // No exchange may follow that would continue the search.
                effects.rearm();
                return true;
            }
            matching.search_step(new, asking, effects);
        }
        false
    }
}

impl Matching<'_> {
    fn search_step(&mut self, new: NewTopic, asking: SessionId, effects: &mut Effects) {
        self.readers.topics.spend(1);
        let Readers { topics, subscriptions, memory, .. } = &mut self.readers;
        let patterns = &mut subscriptions.patterns;
        let trie = &mut patterns.trie;
        let search = patterns.search.get_or_insert_with(|| Search { topic: new.id, walk: trie.begin() });
        debug_assert_eq!(search.topic, new.id, "the first one");
        match trie.step(&mut search.walk, &topics[new.id].name) {
            Some(Found::Node) => {}
            Some(Found::Match(key)) => {
                // Those that were subscribed to later examine the topic themselves.
                if patterns.get(key).is_none_or(|pattern| pattern.existed > new.id) {
                    return;
                }
                let session = match self.take(key, new.id, Some(new.start), effects) {
                    Some(Ok(one)) => {
                        let holder = self.readers.subscriptions[one].holder();
                        holder.map(|holder| holder.session)
                    }
                    Some(Err(refusal)) => self.report(key, new.id, refusal),
                    None => None,
                };
                if let Some(session) = session {
                    self.sessions.wake(session, asking, effects);
                }
            }
            None => {
                patterns.search = None;
                topics.pop_new(new);
                topics.release_committed(new.id, memory);
            }
        }
    }
}

//! Subscribing to a pattern (rules W2, W6, W7).

use std::collections::{BTreeSet, VecDeque};

use zaichik_proto::{
    Refusal, RefusalCode, Subscribe, SubscribePattern, TopicName, TopicPattern, TopicStatus,
};

use super::Pattern;
use crate::broker::dead_letters;
use crate::broker::sessions::SessionPatterns;
use crate::broker::subscribing::Subscribing;
use crate::effects::{Effects, NoteEvent};
use crate::id::{PatternKey, SessionId, TopicId};
use crate::pattern::Trie;
use crate::subscription::Terms;

impl Subscribing<'_> {
    /// Begins to cover the topics that a pattern matches. The answer follows when those that exist were examined.
    pub(in crate::broker) fn subscribe_pattern(
        &mut self,
        session: SessionId,
        request: &SubscribePattern<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let invalid = |_| Refusal::new(RefusalCode::InvalidPattern);
        let text = TopicPattern::parse(request.pattern).map_err(invalid)?;
        if request.durable.is_some() {
            return Err(Refusal::new(RefusalCode::Unsupported));
        }
        let subscribe = as_exclusive(request);
        self.check_subscribe(session, &subscribe)?;
        let gone = Refusal::new(RefusalCode::NotSubscribed);
        let entry = self.sessions.get(session).ok_or(gone)?;
        if request.subscription >= SubscribePattern::FIRST_ALIAS
            || (entry.patterns.is_none() && entry.has_high_number(SubscribePattern::FIRST_ALIAS))
        {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        self.readers.subscriptions.patterns.check_full()?;
        let name =
            TopicName::parse(request.pattern).map_err(|_| Refusal::new(RefusalCode::InvalidPattern))?;
        dead_letters::check(self.readers.topics, name, &subscribe)?;
        let cost = size_of::<Pattern>().saturating_add(Trie::<PatternKey>::cost(text));
        self.readers.memory.check(cost)?;
        let defaults = self.config.topic_defaults;
        let dead_letter = dead_letters::topic_of(&mut self.readers, &subscribe, defaults)?;
        if let Some((dead_letter, true)) = dead_letter {
            let ready = NoteEvent::TopicReady(TopicStatus::Created);
            self.note_topic(session, dead_letter.topic, ready, effects);
        }
        let limit = self.config.wire.max_window_size;
        let terms = Terms {
            number: request.subscription,
            window: request.window,
            window_bytes: if request.window_bytes == 0 { limit } else { request.window_bytes.min(limit) },
            dead_letter: dead_letter.map(|(dead_letter, _)| dead_letter),
        };
        self.add_pattern(session, request, (text, terms))
    }

    fn add_pattern(
        &mut self,
        session: SessionId,
        request: &SubscribePattern<'_>,
        (text, terms): (TopicPattern<'_>, Terms),
    ) -> Result<(), Refusal> {
        let readiness = &mut *self.readers.readiness;
        let entry = self.sessions.get_mut(session).ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
        let of_session = entry.patterns.get_or_insert_with(|| Box::new(SessionPatterns::new(readiness)));
        let patterns = &mut self.readers.subscriptions.patterns;
        let key = PatternKey(patterns.entries.next_number());
        let serial = patterns.next_serial;
        patterns.next_serial = serial.saturating_add(1);
        let node = readiness.insert_pattern(key);
        let pattern = Pattern {
            session,
            number: request.subscription,
            text: Box::from(text.as_str()),
            serial,
            request: Some(request.request),
            start: request.start,
            terms,
            examined: TopicId(0),
            existed: TopicId(u32::try_from(self.readers.topics.len()).unwrap_or(u32::MAX)),
            node,
            ready: entry.ready,
            full: readiness.insert_ring(),
            records: 0,
            bytes: 0,
            aliases: BTreeSet::new(),
            reports: VecDeque::new(),
            others: 0,
            is_ending: false,
            charged: 0,
        };
        let number = patterns.entries.insert(pattern);
        debug_assert_eq!(number, key.0, "the number that it was to get");
        patterns.trie.insert(text, serial, key);
        patterns.settle(key, self.readers.memory);
        of_session.numbers.insert(request.subscription, key);
        readiness.push(of_session.busy, node);
        entry.unfence(request.subscription);
        entry.count_extra();
        self.sessions.settle(session, self.readers.memory);
        self.readers.topics.keep_new(true);
        Ok(())
    }
}

/// The Subscribe of a topic with the same terms.
const fn as_exclusive<'a>(request: &SubscribePattern<'a>) -> Subscribe<'a> {
    Subscribe {
        request: request.request,
        subscription: request.subscription,
        topic: request.pattern,
        start: request.start,
        window: request.window,
        window_bytes: request.window_bytes,
        max_attempts: request.max_attempts,
        dead_letter: request.dead_letter,
        durable: None,
    }
}

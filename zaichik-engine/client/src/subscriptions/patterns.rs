//! The subscriptions of topics that patterns match, and what patterns report (chapter W).

use std::sync::Arc;

use zaichik_proto::{Matched, NotMatched, Refusal, Start, TopicName, TopicPattern};

use super::aliases::{Aliases, Receiver};
use super::topics::{MAX_REPORTS, Topics};
use super::{Entry, Subscriptions};
use crate::answer::SubscriptionId;
use crate::error::Violation;
use crate::event::Event;
use crate::pattern_event::PatternEvent;
use crate::requests::MAX_SUBSCRIPTIONS;
use crate::subscription::{Subscription, SubscriptionState};

/// What is to be sent because a topic was matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MatchStep {
    Nothing,
    /// A Seek of its subscription.
    Seek(SubscriptionId, Start),
    /// An Unsubscribe of its number.
    Leave,
}

impl Subscriptions {
    /// A topic was matched by a pattern that is subscribed to, or about to be; `pattern` may have ended.
    pub(crate) fn matched(&mut self, frame: &Matched<'_>) -> Result<MatchStep, Violation> {
        let pattern = SubscriptionId(frame.subscription);
        self.aliases.check(frame.alias)?;
        if self.leaving.contains(&pattern) || self.get(pattern).is_some_and(Subscription::is_ending) {
            self.aliases.set(frame.alias, Receiver::Nobody);
            return Ok(MatchStep::Nothing);
        }
        let name = self.topic_of(pattern, frame.topic)?;
        let unknown = Violation::Pattern { subscription: frame.subscription };
        let known = match self.topics(pattern).ok_or(unknown)?.known.get(name) {
            Some(None) => {
                self.aliases.set(frame.alias, Receiver::Nobody);
                return Ok(MatchStep::Leave);
            }
            Some(Some(id)) => self.get(*id),
            None => None,
        };
        let id = match known.map(|one| (one.id(), one.state())) {
            Some((_, SubscriptionState::Active)) => {
                return Err(Violation::Topic { subscription: frame.subscription });
            }
            Some((id, SubscriptionState::Detached)) => id,
            // The application may have yet to take the end of the last one.
            _ => self.add_topic(pattern, name, (frame.start, frame.end))?,
        };
        let asked = self.topics(pattern).ok_or(unknown)?.asked;
        self.aliases.set(frame.alias, Receiver::Subscription(id));
        let (alias, rewind, start) = (frame.alias, frame.rewind, frame.start);
        let seek =
            self.change(id, |subscription| subscription.matched(alias, rewind, start, asked)).flatten();
        self.mark_ready(pattern);
        Ok(seek.map_or(MatchStep::Nothing, |to| MatchStep::Seek(id, to)))
    }

    /// A topic is matched for the first time, or again after its end.
    fn add_topic(
        &mut self,
        pattern: SubscriptionId,
        name: &str,
        (start, end): (u64, u64),
    ) -> Result<SubscriptionId, Violation> {
        let id = self.next_id().filter(|_| self.len() < MAX_SUBSCRIPTIONS as usize);
        let subscription = id.ok_or(Violation::TooManyTopics { limit: MAX_SUBSCRIPTIONS })?;
        let unknown = Violation::Pattern { subscription: pattern.0 };
        let options = self.get(pattern).ok_or(unknown)?.options().clone();
        let topics = self.topics_mut(pattern).ok_or(unknown)?;
        let (begin, start) = if topics.continues { (Start::Earliest, 0) } else { (topics.asked, start) };
        let topic: Arc<str> = name.into();
        topics.known.insert(Arc::clone(&topic), Some(subscription));
        let event = PatternEvent::Matched { topic: Arc::clone(&topic), subscription, start, end };
        topics.events.push_back(event);
        self.insert(Subscription::new(subscription, topic, options).into_topic_of(pattern, begin));
        Ok(subscription)
    }

    /// A topic could not be matched.
    pub(crate) fn not_matched(&mut self, frame: &NotMatched<'_>) -> Result<(), Violation> {
        let pattern = SubscriptionId(frame.subscription);
        if self.leaving.contains(&pattern) {
            return Ok(());
        }
        let topic = self.topic_of(pattern, frame.topic)?;
        let topics = self.topics_mut(pattern);
        let topics = topics.ok_or(Violation::Pattern { subscription: frame.subscription })?;
        let last = topics.events.iter_mut().rev().find_map(|event| match event {
            PatternEvent::NotMatched { others, .. } => Some(others),
            PatternEvent::Matched { .. }
            | PatternEvent::Topic { .. }
            | PatternEvent::Refused(_)
            | PatternEvent::Ended => None,
        });
        if let Some(others) = last.filter(|_| topics.reports >= MAX_REPORTS) {
            *others = others.saturating_add(frame.others).saturating_add(1);
            return Ok(());
        }
        topics.reports = topics.reports.saturating_add(1);
        let refusal = Refusal::with_value(frame.code, frame.value);
        let (topic, others) = (topic.into(), frame.others);
        topics.events.push_back(PatternEvent::NotMatched { topic, refusal, others });
        self.mark_ready(pattern);
        Ok(())
    }

    /// A request for a pattern is to be sent, which asks topics to begin at `asked`; `continues` says whether it was subscribed
    /// to before, at this instance of the broker.
    pub(crate) fn pattern_asks(&mut self, id: SubscriptionId, asked: Start, continues: bool) {
        if let Some(topics) = self.topics_mut(id) {
            (topics.asked, topics.continues) = (asked, continues);
        }
    }

    /// A pattern is subscribed to, and each topic that existed was reported: those that another instance of the broker does not
    /// have are over.
    pub(crate) fn pattern_subscribed(&mut self, id: SubscriptionId) {
        self.change(id, Subscription::pattern_subscribed);
        if let Some(topics) = self.topics_mut(id) {
            topics.continues = false;
        }
        for topic in self.topics_of(id) {
            if self.get(topic).is_some_and(Subscription::awaits_restart) {
                self.change(topic, |subscription| subscription.end(Event::Ended(None)));
            }
        }
    }

    /// The subscriptions of a pattern's topics; none if it is no pattern.
    pub(crate) fn topics_of(&self, id: SubscriptionId) -> Vec<SubscriptionId> {
        let topics = self.topics(id);
        topics.map(|topics| topics.subscriptions().collect()).unwrap_or_default()
    }

    /// Whether the outcome of a batch decides where a topic of the pattern resumes.
    pub(crate) fn is_unsettled(&self, pattern: SubscriptionId) -> bool {
        let topics = self.topics(pattern);
        let topics = topics.into_iter().flat_map(Topics::subscriptions);
        topics.filter_map(|id| self.get(id)).any(Subscription::is_unsettled)
    }

    /// Messages of all topics that were taken and are not committed, if nothing is left to take.
    pub(crate) fn is_pattern_window_taken(&self, id: SubscriptionId) -> bool {
        let Some(Entry { subscription, topics: Some(topics), .. }) = self.table.get(&id) else {
            return false;
        };
        let window = subscription.options().window as usize;
        let taken = topics.subscriptions().filter_map(|id| self.get(id)).map(Subscription::uncommitted);
        window > 0
            && subscription.is_active()
            && !topics.has_something()
            && taken.fold(0, usize::saturating_add) >= window
    }

    /// The application ends a subscription, of a pattern with all of its topics.
    pub(crate) fn set_ending(&mut self, id: SubscriptionId) {
        self.change(id, Subscription::set_ending);
        for topic in self.topics_of(id) {
            self.change(topic, Subscription::set_ending);
        }
    }

    /// The application does not want a topic any more, over all connections.
    pub(crate) fn leave_topic(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.get(id) else { return };
        let (pattern, name) = (subscription.pattern(), Arc::clone(subscription.topic()));
        if let Some(topics) = pattern.and_then(|pattern| self.topics_mut(pattern)) {
            topics.known.insert(name, None);
        }
    }

    /// A pattern has ended, and so have its topics. Their numbers may still arrive if `is_local`.
    pub(crate) fn end_topics(&mut self, pattern: SubscriptionId, is_local: bool) {
        let Some(topics) = self.topics_mut(pattern) else { return };
        topics.known.clear();
        topics.ready.clear();
        topics.events.clear();
        topics.reports = 0;
        let of_pattern = |entry: &&Entry| entry.subscription.pattern() == Some(pattern);
        let all: Vec<_> =
            self.table.values().filter(of_pattern).map(|entry| entry.subscription.id()).collect();
        for id in all {
            self.end_number(id, is_local);
            self.remove(id);
        }
    }

    /// No frame carries the number of a matched topic any more, or nobody wants it.
    pub(super) fn end_number(&mut self, id: SubscriptionId, is_local: bool) {
        let Some(number) = self.get(id).map(Subscription::number) else { return };
        if self.aliases.get(number) != Some(Receiver::Subscription(id)) {
            return;
        }
        if is_local {
            self.aliases.set(number, Receiver::Nobody);
        } else {
            self.aliases.end(number);
        }
    }

    /// The Unsubscribe of a number that nobody wants was answered, or refused.
    pub(crate) fn left(&mut self, alias: u32) {
        self.aliases.end(alias);
    }

    /// The next event of a pattern, or of one of its topics, which have their turns.
    pub(crate) fn take_of_pattern(&mut self, pattern: SubscriptionId) -> Option<PatternEvent> {
        loop {
            let topics = self.topics_mut(pattern)?;
            if let Some(event) = topics.next_report() {
                return Some(event);
            }
            let Some(subscription) = topics.ready.pop_front() else { break };
            let Some(Entry { subscription: state, is_ready, .. }) = self.table.get_mut(&subscription) else {
                continue;
            };
            *is_ready = false;
            let topic = Arc::clone(state.topic());
            let event = self.take(subscription);
            self.queue_again(pattern, subscription);
            if let Some(event) = event {
                return Some(PatternEvent::Topic { topic, subscription, event });
            }
        }
        match self.take(pattern)? {
            Event::Refused(refusal) => Some(PatternEvent::Refused(refusal)),
            Event::Message(_)
            | Event::Gap { .. }
            | Event::Reconnected { .. }
            | Event::Restarted { .. }
            | Event::Fenced
            | Event::Ended(_) => Some(PatternEvent::Ended),
        }
    }

    /// A topic had its turn, and has another one if there is more to take.
    fn queue_again(&mut self, pattern: SubscriptionId, id: SubscriptionId) {
        let entry = self.table.get_mut(&id).filter(|entry| entry.subscription.has_something());
        let Some(entry) = entry else { return };
        entry.is_ready = true;
        if let Some(topics) = self.topics_mut(pattern) {
            topics.ready.push_back(id);
        }
    }

    /// Drops what the topics of a pattern have received, as if it had never arrived.
    pub(super) fn discard_topics(&mut self, pattern: SubscriptionId) {
        for id in self.topics_of(pattern) {
            self.discard(id);
        }
        if let Some(topics) = self.topics_mut(pattern) {
            topics.events.clear();
            topics.reports = 0;
        }
    }

    /// A matched topic is no longer in the table.
    pub(super) fn forget_topic(&mut self, pattern: SubscriptionId, removed: &Subscription) {
        let topics = self.topics_mut(pattern);
        let Some(topics) = topics else { return };
        if topics.known.get(removed.topic()) == Some(&Some(removed.id())) {
            topics.known.remove(removed.topic());
        }
        topics.ready.retain(|ready| *ready != removed.id());
    }

    fn topics(&self, pattern: SubscriptionId) -> Option<&Topics> {
        self.table.get(&pattern)?.topics.as_deref()
    }

    pub(super) fn topics_mut(&mut self, pattern: SubscriptionId) -> Option<&mut Topics> {
        self.table.get_mut(&pattern)?.topics.as_deref_mut()
    }

    /// The name of a topic that the broker says a pattern matches.
    fn topic_of<'f>(&self, pattern: SubscriptionId, topic: &'f [u8]) -> Result<&'f str, Violation> {
        let subscription = self.get(pattern).filter(|subscription| subscription.is_pattern());
        let subscription = subscription.ok_or(Violation::Pattern { subscription: pattern.0 })?;
        let text = TopicPattern::parse(subscription.topic().as_bytes());
        let name = TopicName::parse(topic).ok().filter(|name| text.is_ok_and(|text| text.matches(*name)));
        name.map(TopicName::as_str).ok_or(Violation::Topic { subscription: pattern.0 })
    }
}

impl Aliases {
    /// The subscription that frames with this number are for; `None` if nobody wants them.
    pub(super) fn receiver(&self, number: u32) -> Result<Option<SubscriptionId>, Violation> {
        match self.get(number) {
            Some(Receiver::Subscription(id)) => Ok(Some(id)),
            Some(Receiver::Nobody) => Ok(None),
            None => Err(Violation::Subscription { subscription: number }),
        }
    }
}

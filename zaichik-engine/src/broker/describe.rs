//! What the broker tells about itself to whoever asks (docs/protocol.md §6.15): counters, topics, subscriptions.

use zaichik_proto::{
    Counter, CounterValue, Item, Items, List, Refusal, RefusalCode, Subject, SubscriptionItem, TopicItem,
};

use super::Broker;
use super::topics::topic_name;
use crate::id::{SubKey, TopicId};
use crate::subscription::Subscription;
use zaichik_proto::Timestamp;

/// Bytes at which a page ends, and one thing more.
const PAGE_BYTES: usize = 32 << 10;

/// Places that are looked at for one page, at most: some may be empty, or belong to other topics.
const PAGE_PLACES: usize = 1_024;

/// An answer to Describe, without its request's id.
#[derive(Debug)]
pub(crate) enum Description<'a> {
    /// Of the broker.
    Counters(List<'a, CounterValue>),
    /// Of topics, and where the next page begins.
    Topics(Option<u32>, Items<'a, TopicItem<'a>>),
    /// Of subscriptions, and where the next page begins.
    Subscriptions(Option<u32>, Items<'a, SubscriptionItem<'a>>),
}

impl Broker {
    /// Describes a subject into `bytes`, a page at most.
    pub(crate) fn describe<'a>(
        &mut self,
        now: Timestamp,
        subject: &Subject<'_>,
        bytes: &'a mut Vec<u8>,
    ) -> Result<Description<'a>, Refusal> {
        bytes.clear();
        match *subject {
            Subject::Broker => Ok(Description::Counters(List::encode_into(bytes, self.counters()))),
            Subject::Topics { from } => {
                let (next, count) = self.page_of_topics(now, from, bytes);
                Ok(Description::Topics(next, Items::from_encoded(count, bytes)))
            }
            Subject::Topic { topic } => {
                let id = self.known_topic(topic)?;
                self.describe_topic(now, id, bytes);
                Ok(Description::Topics(None, Items::from_encoded(1, bytes)))
            }
            Subject::Subscriptions { from, topic } => {
                let only = if topic.is_empty() { None } else { Some(self.known_topic(topic)?) };
                let (next, count) = self.page_of_subscriptions(now, from, only, bytes);
                Ok(Description::Subscriptions(next, Items::from_encoded(count, bytes)))
            }
            Subject::Durable { topic, name } => {
                let id = self.known_topic(topic)?;
                let key = self.find_durable(now, id, name).ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
                self.describe_subscription(now, key, bytes);
                Ok(Description::Subscriptions(None, Items::from_encoded(1, bytes)))
            }
        }
    }

    /// Ends a durable subscription that no connection has.
    pub(crate) fn remove_durable_by_name(
        &mut self,
        now: Timestamp,
        topic: &[u8],
        name: &str,
    ) -> Result<(), Refusal> {
        let id = self.known_topic(topic)?;
        let key = self.find_durable(now, id, name).ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
        if self.subscriptions.get(key.index()).is_some_and(|one| one.session.is_some()) {
            return Err(Refusal::new(RefusalCode::SubscriptionHeld));
        }
        self.remove_durable(now, key);
        Ok(())
    }

    /// Sets a counter that only the program around the broker knows, such as its processor time. Those of the broker
    /// itself, and unknown ones, stay as they are.
    pub fn report(&mut self, counter: Counter, value: u64) {
        if is_reported(counter) {
            self.reported.insert(counter, value);
        }
    }

    /// Counts something that only the program around the broker sees, such as a write that stalled; for counters as in
    /// [`report`](Self::report).
    pub fn count(&mut self, counter: Counter, more: u64) {
        if is_reported(counter) {
            let value = self.reported.entry(counter).or_default();
            *value = value.saturating_add(more);
        }
    }

    /// Every counter, in the order of their codes.
    pub fn counters(&self) -> impl Iterator<Item = CounterValue> {
        let (stats, ledger) = (self.stats, self.ledger());
        let uptime = self.now.since(self.started);
        let own = [
            (Counter::Uptime, zaichik_proto::micros(uptime)),
            (Counter::Connections, self.sessions.len() as u64),
            (Counter::ConnectionsAccepted, stats.connections),
            (Counter::Topics, self.topics.len() as u64),
            (Counter::Subscriptions, self.subscriptions.len() as u64),
            (Counter::DurableSubscriptions, self.durables.len() as u64),
            (Counter::RecordsIn, stats.records_accepted),
            (Counter::BytesIn, stats.bytes_accepted),
            (Counter::RecordsOut, stats.records_delivered),
            (Counter::BytesOut, stats.bytes_delivered),
            (Counter::Duplicates, stats.duplicates),
            (Counter::Repeated, stats.repeated),
            (Counter::Gaps, stats.gaps),
            (Counter::Superseded, stats.superseded),
            (Counter::Rewinds, stats.rewinds),
            (Counter::DeadLetters, stats.dead_letters),
            (Counter::DeadLettersRefused, stats.dead_letters_refused),
            (Counter::Takeovers, stats.takeovers),
            (Counter::Refused, stats.refused),
            (Counter::ClockStepsBack, stats.clock_steps_back),
            (Counter::MemoryTopics, ledger.topics),
            (Counter::MemoryRetired, ledger.retired),
            (Counter::MemorySubscriptions, ledger.subscriptions),
            (Counter::MemoryProducers, ledger.producers),
            (Counter::MemorySessions, ledger.sessions),
            (Counter::MemoryBudget, self.config.memory_budget),
        ];
        let reported = self.reported.iter().map(|(counter, value)| (*counter, *value));
        let refusals = self.refusals.iter().map(|(code, count)| (Counter::refusals(*code), *count));
        let all = own.into_iter().chain(reported).chain(refusals);
        all.map(|(counter, value)| CounterValue { counter, value })
    }

    fn known_topic(&self, name: &[u8]) -> Result<TopicId, Refusal> {
        self.find_topic(topic_name(name)?.as_str()).ok_or(Refusal::new(RefusalCode::UnknownTopic))
    }

    /// Topics from a number on: where the next page begins, and how many there are on this one.
    fn page_of_topics(&mut self, now: Timestamp, from: u32, bytes: &mut Vec<u8>) -> (Option<u32>, u32) {
        let all = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        let mut count = 0u32;
        for index in from..all {
            if bytes.len() >= PAGE_BYTES {
                return (Some(index), count);
            }
            self.describe_topic(now, TopicId(index), bytes);
            count = count.saturating_add(1);
        }
        (None, count)
    }

    /// The same with subscriptions, which are in places that may be empty.
    fn page_of_subscriptions(
        &self,
        now: Timestamp,
        from: u32,
        only: Option<TopicId>,
        bytes: &mut Vec<u8>,
    ) -> (Option<u32>, u32) {
        let all = u32::try_from(self.subscriptions.capacity()).unwrap_or(u32::MAX);
        let mut count = 0u32;
        for (index, looked_at) in (from..all).zip(0usize..) {
            if bytes.len() >= PAGE_BYTES || looked_at >= PAGE_PLACES {
                return (Some(index), count);
            }
            let key = SubKey(index);
            let found = self.subscriptions.get(key.index());
            if found.is_some_and(|one| only.is_none_or(|topic| one.topic == topic) && !is_over(one, now)) {
                self.describe_subscription(now, key, bytes);
                count = count.saturating_add(1);
            }
        }
        (None, count)
    }

    fn describe_topic(&mut self, now: Timestamp, id: TopicId, bytes: &mut Vec<u8>) {
        let Some(topic) = self.topics.get_mut(id.index()) else {
            return;
        };
        let contents = topic.contents(now);
        let info = TopicItem {
            name: &topic.name,
            explicit: topic.explicit,
            settings: topic.settings.to_options(),
            start: contents.start,
            end: topic.end(),
            messages: contents.messages,
            bytes: contents.bytes,
            keys: contents.keys,
            subscriptions: u32::try_from(topic.cursors.len()).unwrap_or(u32::MAX),
            memory: super::topics::footprint(topic) as u64,
        };
        info.write(bytes);
    }

    fn describe_subscription(&self, now: Timestamp, key: SubKey, bytes: &mut Vec<u8>) {
        let Some(one) = self.subscriptions.get(key.index()) else {
            return;
        };
        let Some(topic) = self.topics.get(one.topic.index()) else {
            return;
        };
        let durable = one.durable.as_ref();
        let expires_at = durable.map_or(Timestamp::MAX, |durable| durable.expires_at);
        let info = SubscriptionItem {
            topic: &topic.name,
            name: durable.map_or("", |durable| &durable.name),
            attached: one.session.is_some(),
            epoch: durable.map_or(0, |durable| durable.epoch),
            window: one.terms.window,
            cursor: one.cursor(),
            next: one.next().offset,
            end: topic.end(),
            expires_in_micros: if expires_at == Timestamp::MAX {
                u64::MAX
            } else {
                zaichik_proto::micros(expires_at.since(now))
            },
        };
        info.write(bytes);
    }
}

/// Whether nobody came back for it in time, and only housekeeping has not been there yet (semantics D5).
fn is_over(one: &Subscription, now: Timestamp) -> bool {
    one.durable.as_ref().is_some_and(|durable| durable.expires_at <= now)
}

const fn is_reported(counter: Counter) -> bool {
    matches!(
        counter,
        Counter::WriteStalls | Counter::ProcessCpu | Counter::ProcessMemory | Counter::ProcessMemoryPeak
    )
}

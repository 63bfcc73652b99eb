//! The broker's description of itself (docs/protocol.md §6.15): counters, topics, subscriptions.

use zaichik_proto::{
    CounterValue, Item, Items, List, Refusal, RefusalCode, Subject, SubscriptionItem, Timestamp, TopicItem,
    micros,
};

use super::counters::{Counters, Gauges};
use super::readers::Readers;
use super::topics;
use crate::id::TopicId;
use crate::subscription::Subscription;

/// Bytes at which a page ends; its last item may exceed them.
const PAGE_BYTES: usize = 32 << 10;

/// Maximum slots of the table of subscriptions visited for one page: some may be empty, or belong to other topics.
const PAGE_PLACES: u32 = 1_024;

/// Steps at which a page of topics ends.
const STEPS_PER_PAGE: u64 = 2_048;

/// Steps of describing a topic or a subscription.
const STEPS_PER_ITEM: u64 = 4;

/// An answer to Describe, without its request's id.
#[derive(Debug)]
pub(crate) enum Description<'a> {
    /// The broker's counters.
    Counters(List<'a, CounterValue>),
    /// Topics, and where the next page begins.
    Topics(Option<u32>, Items<'a, TopicItem<'a>>),
    /// Subscriptions, and where the next page begins.
    Subscriptions(Option<u32>, Items<'a, SubscriptionItem<'a>>),
}

/// The parts of the broker that a description needs.
#[derive(Debug)]
pub(super) struct Describing<'b> {
    pub(super) readers: Readers<'b>,
    pub(super) counters: &'b Counters,
    pub(super) gauges: Gauges,
}

impl Describing<'_> {
    /// Describes a subject into `bytes`, one page at most.
    pub(super) fn describe<'a>(
        &mut self,
        subject: &Subject<'_>,
        bytes: &'a mut Vec<u8>,
    ) -> Result<Description<'a>, Refusal> {
        bytes.clear();
        match *subject {
            Subject::Broker => {
                Ok(Description::Counters(List::encode_into(bytes, self.counters.list(self.gauges))))
            }
            Subject::Topics { from } => {
                let (next, count) = self.page_of_topics(from, bytes);
                Ok(Description::Topics(next, Items::from_encoded(count, bytes)))
            }
            Subject::Topic { topic } => {
                let id = self.readers.topics.known(topic)?;
                self.describe_topic(id, bytes);
                Ok(Description::Topics(None, Items::from_encoded(1, bytes)))
            }
            Subject::Subscriptions { from, topic } => {
                let only = if topic.is_empty() { None } else { Some(self.readers.topics.known(topic)?) };
                let (next, count) = self.page_of_subscriptions(from, only, bytes);
                Ok(Description::Subscriptions(next, Items::from_encoded(count, bytes)))
            }
            Subject::Durable { topic, name } => {
                let id = self.readers.topics.known(topic)?;
                let found = self.readers.subscriptions.find_durable(id, name);
                let key = found.ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
                self.describe_subscription(&self.readers.subscriptions[key], bytes);
                Ok(Description::Subscriptions(None, Items::from_encoded(1, bytes)))
            }
        }
    }

    /// Topics from a number on: where the next page begins, and how many there are on this one.
    fn page_of_topics(&mut self, from: u32, bytes: &mut Vec<u8>) -> (Option<u32>, u32) {
        let last_step = self.readers.topics.steps().saturating_add(STEPS_PER_PAGE);
        let (mut count, mut number) = (0u32, from);
        while let Some(id) = self.readers.topics.nth(number) {
            let is_settled = self.readers.topics[id].settle(self.readers.now, STEPS_PER_PAGE);
            let is_full = bytes.len() >= PAGE_BYTES || self.readers.topics.steps() >= last_step;
            if count > 0 && (is_full || !is_settled) {
                self.readers.topics.settle(id, self.readers.memory);
                return (Some(number), count);
            }
            self.describe_topic(id, bytes);
            count = count.saturating_add(1);
            number = number.saturating_add(1);
        }
        (None, count)
    }

    /// The same with subscriptions, whose slots may be empty.
    fn page_of_subscriptions(
        &mut self,
        from: u32,
        only: Option<TopicId>,
        bytes: &mut Vec<u8>,
    ) -> (Option<u32>, u32) {
        let places = self.readers.subscriptions.places();
        let (mut count, mut place) = (0u32, from);
        let last = places.min(from.saturating_add(PAGE_PLACES));
        while place < last && bytes.len() < PAGE_BYTES {
            let listed = self.readers.subscriptions.nth(place);
            if let Some(subscription) = listed.filter(|one| only.is_none_or(|topic| one.topic == topic)) {
                self.describe_subscription(subscription, bytes);
                count = count.saturating_add(1);
            }
            place = place.saturating_add(1);
        }
        let visited = u64::from(place.saturating_sub(from));
        self.readers.topics.spend(visited.saturating_add(u64::from(count).saturating_mul(STEPS_PER_ITEM)));
        ((place < places).then_some(place), count)
    }

    fn describe_topic(&mut self, id: TopicId, bytes: &mut Vec<u8>) {
        self.readers.topics.spend(STEPS_PER_ITEM);
        let topic = &mut self.readers.topics[id];
        let contents = topic.contents(self.readers.now);
        // What has died was removed.
        self.readers.topics.settle(id, self.readers.memory);
        let topic = &self.readers.topics[id];
        let item = TopicItem {
            name: &topic.name,
            explicit: topic.explicit,
            settings: topic.settings.to_options(),
            start: contents.start,
            end: topic.end(),
            messages: contents.messages,
            bytes: contents.bytes,
            keys: contents.keys,
            subscriptions: u32::try_from(topic.cursors.len()).unwrap_or(u32::MAX),
            memory: topics::footprint(topic) as u64,
        };
        item.write(bytes);
        self.readers.topics.settle(id, self.readers.memory);
    }

    fn describe_subscription(&self, subscription: &Subscription, bytes: &mut Vec<u8>) {
        let topic = &self.readers.topics[subscription.topic];
        let durable = subscription.durable.as_ref();
        let expires_at = durable.map_or(Timestamp::MAX, |durable| durable.expires_at);
        let item = SubscriptionItem {
            topic: &topic.name,
            name: durable.map_or("", |durable| &durable.name),
            attached: subscription.is_attached(),
            epoch: durable.map_or(0, |durable| durable.epoch),
            window: subscription.terms.window,
            cursor: subscription.cursor(),
            next: subscription.next().offset,
            end: topic.end(),
            expires_in_micros: if expires_at == Timestamp::MAX {
                u64::MAX
            } else {
                micros(expires_at.since(self.readers.now))
            },
        };
        item.write(bytes);
    }
}

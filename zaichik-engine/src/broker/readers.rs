//! The subscriptions of topics: what follows for a topic when a cursor moves, and for a subscription when it ends.

use zaichik_proto::{Refusal, Timestamp};

use super::memory::Memory;
use super::readiness::Readiness;
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use crate::id::{SubKey, TopicId};

/// Topics and their subscriptions, with what they are charged to and the rings that they are in.
#[derive(Debug)]
pub(super) struct Readers<'b> {
    pub(super) now: Timestamp,
    pub(super) topics: &'b mut Topics,
    pub(super) subscriptions: &'b mut Subscriptions,
    pub(super) memory: &'b mut Memory,
    pub(super) readiness: &'b mut Readiness,
}

impl Readers<'_> {
    /// The durable subscription of that name. One that no session held for too long is gone at that instant, whether
    /// housekeeping has removed it or not (D5).
    pub(super) fn find_durable(&mut self, topic: TopicId, name: &str) -> Option<SubKey> {
        let key = self.subscriptions.find_durable(topic, name)?;
        if self.subscriptions[key].has_expired(self.now) {
            self.end(key);
            return None;
        }
        Some(key)
    }

    /// The topic of that name, which is created if there is none (T1), and whether it was created.
    pub(super) fn find_or_add_topic(&mut self, name: &[u8]) -> Result<(TopicId, bool), Refusal> {
        self.topics.find_or_add(name, self.memory, self.readiness)
    }

    /// Moves a cursor to where [`Subscription::check_commit`](crate::subscription::Subscription::check_commit) said, and
    /// returns the topic, whose memory may be [reclaimed](Self::reclaim_if_pressed) now. Within a batch that has to wait
    /// until the whole batch is applied, since it may change what was checked.
    pub(super) fn commit(&mut self, key: SubKey, cursor: u64) -> TopicId {
        let subscription = &mut self.subscriptions[key];
        subscription.commit(cursor);
        let (node, holder, topic) = (subscription.node, subscription.holder(), subscription.topic);
        self.subscriptions.settle(key, self.memory);
        self.publish_cursor(key);
        // In no ring because its window was full: it may deliver again.
        if self.readiness.is_idle(node)
            && let Some(holder) = holder
        {
            self.readiness.push(holder.ready, node);
        }
        topic
    }

    /// A cursor has moved other than by a commit: frees what no subscription needs any more.
    pub(super) fn cursor_moved(&mut self, key: SubKey) {
        self.publish_cursor(key);
        self.reclaim_if_pressed(self.subscriptions[key].topic);
    }

    /// Ends a subscription. Sessions do not know it any more.
    pub(super) fn end(&mut self, key: SubKey) {
        let subscription = self.subscriptions.remove(key, self.memory, self.readiness);
        self.topics[subscription.topic].cursors.remove(subscription.cursor_id);
        self.topics.release_committed(self.now, subscription.topic, self.memory);
        self.reclaim_if_pressed(subscription.topic);
    }

    /// No session holds a durable subscription any more: it waits for another one (D2).
    pub(super) fn detach(&mut self, key: SubKey) {
        let subscription = &mut self.subscriptions[key];
        subscription.detach(self.now);
        self.readiness.unlink(subscription.node);
        self.subscriptions.settle(key, self.memory);
    }

    /// Memory is short: frees now rather than later what the subscriptions of a topic have committed.
    pub(super) fn reclaim_if_pressed(&mut self, topic: TopicId) {
        self.topics.reclaim_if_pressed(self.now, topic, self.memory);
    }

    /// Copies a subscription's cursor into its topic.
    fn publish_cursor(&mut self, key: SubKey) {
        let subscription = &self.subscriptions[key];
        let topic = subscription.topic;
        self.topics[topic].cursors.set(subscription.cursor_id, subscription.cursor());
        self.topics.release_committed(self.now, topic, self.memory);
    }
}

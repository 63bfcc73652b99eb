//! The subscriptions of topics: the consequences for a topic when a cursor moves, and for a subscription when it ends.

use zaichik_proto::{Refusal, Timestamp};

use super::memory::Memory;
use super::readiness::Readiness;
use super::subscriptions::{Due, Subscriptions};
use super::topics::Topics;
use crate::id::{SubKey, TopicId};

/// Maximum subscriptions that one call ends because they were detached for too long.
const EXPIRED_PER_CALL: usize = 64;

/// Steps of ending a subscription (rule S14).
pub(super) const STEPS_PER_END: u64 = 16;

/// Topics and their subscriptions, with the ledger that they are charged to and the rings that they are in.
#[derive(Debug)]
pub(super) struct Readers<'b> {
    pub(super) now: Timestamp,
    pub(super) topics: &'b mut Topics,
    pub(super) subscriptions: &'b mut Subscriptions,
    pub(super) memory: &'b mut Memory,
    pub(super) readiness: &'b mut Readiness,
}

impl Readers<'_> {
    /// The topic with this name, created if missing (rule T1), and whether it was created.
    pub(super) fn find_or_add_topic(&mut self, name: &[u8]) -> Result<(TopicId, bool), Refusal> {
        self.topics.find_or_add(name, self.memory, self.readiness)
    }

    /// Moves a cursor to the position that
    /// [`Subscription::check_commit`](crate::subscription::Subscription::check_commit) returned, and returns the topic,
    /// whose memory may now be [reclaimed](Self::reclaim_if_pressed). Within a batch that must wait until the whole
    /// batch is applied, since it may invalidate checks.
    pub(super) fn commit(&mut self, key: SubKey, cursor: u64) -> TopicId {
        let subscription = &mut self.subscriptions[key];
        subscription.commit(cursor);
        let (node, holder, topic) = (subscription.node, subscription.holder(), subscription.topic);
        self.subscriptions.settle(key, self.memory);
        self.publish_cursor(key);
        // It was in no ring because its window was full, and may deliver again now.
        if self.readiness.is_idle(node)
            && let Some(holder) = holder
        {
            self.readiness.push(holder.ready, node);
        }
        topic
    }

    /// A cursor has moved other than by a commit: frees records that no subscription needs any more.
    pub(super) fn cursor_moved(&mut self, key: SubKey) {
        self.publish_cursor(key);
        self.reclaim_if_pressed(self.subscriptions[key].topic);
    }

    /// Ends a subscription that no session refers to any more.
    pub(super) fn end(&mut self, key: SubKey) {
        let Some(subscription) = self.subscriptions.remove(key, self.memory, self.readiness) else {
            debug_assert!(false, "a subscription ends once");
            return;
        };
        self.topics[subscription.topic].cursors.remove(subscription.cursor_id);
        self.topics.release_committed(subscription.topic, self.memory);
        self.reclaim_if_pressed(subscription.topic);
    }

    /// Detaches a durable subscription from its session: it waits for another one (rule D2), unless it is kept for no
    /// time at all.
    pub(super) fn detach(&mut self, key: SubKey) {
        let subscription = &mut self.subscriptions[key];
        subscription.detach(self.now);
        if subscription.has_expired(self.now) {
            return self.end(key);
        }
        self.readiness.unlink(subscription.node);
        if let Some(shared) = &mut subscription.shared {
            // Nobody waits any more for what is being read back.
            shared.is_fetching = false;
        }
        self.subscriptions.settle(key, self.memory);
        self.subscriptions.schedule_expiry(key);
    }

    /// Ends subscriptions that were detached for too long (rule D5), a bounded number of them; returns whether some may
    /// remain.
    pub(super) fn end_expired(&mut self) -> bool {
        for _ in 0..EXPIRED_PER_CALL {
            match self.subscriptions.pop_expired(self.now) {
                Some(Due::Subscription(key)) => {
                    self.topics.spend(STEPS_PER_END);
                    self.end(key);
                }
                Some(Due::Stale) => self.topics.spend(1),
                None => return false,
            }
        }
        self.subscriptions.has_expired(self.now)
    }

    /// If memory is short, frees the records that a topic's subscriptions have committed now rather than later.
    pub(super) fn reclaim_if_pressed(&mut self, topic: TopicId) {
        self.topics.reclaim_if_pressed(self.now, topic, self.memory);
    }

    /// Copies a subscription's cursor into its topic.
    pub(super) fn publish_cursor(&mut self, key: SubKey) {
        let subscription = &self.subscriptions[key];
        let topic = subscription.topic;
        self.topics[topic].cursors.set(subscription.cursor_id, subscription.cursor());
        self.subscriptions.recount(key, true, self.readiness);
        self.topics.release_committed(topic, self.memory);
    }
}

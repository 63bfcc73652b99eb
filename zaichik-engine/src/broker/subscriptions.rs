//! Subscribing, committing, unsubscribing (semantics R3, A1 to A3, A9).

use std::sync::Arc;

use zaichik_proto::{Commit, Refusal, RefusalCode, Subscribe, Subscribed, Unsubscribe, Unsubscribed};

use super::Broker;
use super::ledger::recharge;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, SubKey};
use crate::subscription::{Subscription, Terms};
use crate::time::Timestamp;

impl Broker {
    /// Begins a subscription.
    pub(crate) fn subscribe(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Subscribed, Refusal> {
        let number = request.subscription;
        if request.durable.is_some() || request.max_attempts > 0 || !request.dead_letter.is_empty() {
            return Err(Refusal::new(RefusalCode::Unsupported));
        }
        let limits = self.config.wire;
        if request.window > limits.max_window {
            return Err(Refusal::with_value(RefusalCode::WindowTooLarge, u64::from(limits.max_window)));
        }
        let Some(attachment) = self.attachment(session) else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        if attachment.subscriptions.contains_key(&number) {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        if attachment.subscriptions.len() >= limits.max_subscriptions as usize {
            let limit = u64::from(limits.max_subscriptions);
            return Err(Refusal::with_value(RefusalCode::SubscriptionsFull, limit));
        }
        self.check_memory(size_of::<Subscription>())?;
        let (topic_id, created) = self.topic_or_new(session, request.topic, effects)?;
        let attachment = self.attachment(session);
        if attachment.is_some_and(|attachment| !attachment.topics.insert(topic_id)) {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        let Some(topic) = self.topics.get_mut(topic_id.index()) else {
            return Err(Refusal::new(RefusalCode::UnknownTopic));
        };
        let (start, end) = (topic.start(now, request.start), topic.end());
        let cursor_id = topic.cursors.insert(start);
        let window_bytes = match request.window_bytes {
            0 => limits.max_window_bytes,
            bytes => bytes.min(limits.max_window_bytes),
        };
        let terms = Terms { number, start, window: request.window, window_bytes };
        let entry = self.subscriptions.vacant_entry();
        let key = SubKey(u32::try_from(entry.key()).unwrap_or(u32::MAX));
        let node = self.rings.insert(key.0);
        let mut subscription = Subscription::new(session, topic_id, node, cursor_id, terms);
        let footprint = subscription.footprint();
        recharge(&mut self.ledger.subscriptions, &mut subscription.charged, footprint);
        entry.insert(subscription);
        let name = Arc::clone(&topic.name);
        if let Some(attachment) = self.attachment(session) {
            attachment.subscriptions.insert(number, key);
            let ready = attachment.ready;
            self.rings.push(ready, node);
        }
        self.settle_topic(topic_id);
        let event = NoteEvent::Subscribed { subscription: number, start, end };
        effects.note(|| Note { session, topic: Some(name), event });
        Ok(Subscribed {
            request: request.request,
            subscription: number,
            epoch: 0,
            rewind: 0,
            created,
            start,
            end,
        })
    }

    /// Ends a subscription; nothing of it is delivered any more.
    pub(crate) fn unsubscribe(
        &mut self,
        session: SessionId,
        request: Unsubscribe,
        effects: &mut Effects,
    ) -> Result<Unsubscribed, Refusal> {
        let Unsubscribe { request, subscription: number } = request;
        let key = self.subscription_key(session, number)?;
        let last_offset = self.subscriptions.get(key.index()).and_then(Subscription::last_delivered);
        let topic = self.subscriptions.get(key.index()).map(|subscription| subscription.topic);
        if let Some(attachment) = self.attachment(session) {
            attachment.subscriptions.remove(&number);
            if let Some(topic) = topic {
                attachment.topics.remove(&topic);
            }
        }
        let name = topic.and_then(|id| self.topics.get(id.index())).map(|topic| Arc::clone(&topic.name));
        effects.note(|| Note {
            session,
            topic: name,
            event: NoteEvent::Unsubscribed { subscription: number },
        });
        self.end_subscription(key);
        Ok(Unsubscribed { request, subscription: number, last_offset })
    }

    /// Commits; the answer is the cursor.
    pub(crate) fn commit(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Commit,
    ) -> Result<u64, Refusal> {
        let (key, cursor) = self.check_commit(session, request.subscription, request.offset)?;
        self.apply_commit(now, key, cursor);
        Ok(cursor)
    }

    /// Whether a session may commit, which subscription that is, and where its cursor would be then.
    pub(super) fn check_commit(
        &mut self,
        session: SessionId,
        number: u32,
        offset: u64,
    ) -> Result<(SubKey, u64), Refusal> {
        let key = self.subscription_key(session, number)?;
        let subscription = self.subscriptions.get(key.index());
        let subscription = subscription.ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
        Ok((key, subscription.check_commit(offset)?))
    }

    /// Moves a cursor to where [`check_commit`](Self::check_commit) said.
    pub(super) fn apply_commit(&mut self, now: Timestamp, key: SubKey, cursor: u64) {
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return;
        };
        subscription.commit(cursor);
        let Subscription { node, topic: topic_id, cursor_id, session, .. } = *subscription;
        if let Some(topic) = self.topics.get_mut(topic_id.index()) {
            topic.cursors.set(cursor_id, cursor);
            topic.release_committed(now, &mut self.retired);
        }
        self.settle_topic(topic_id);
        // In no ring: its window was full. It may deliver again.
        if self.rings.is_alone(node)
            && let Some(attachment) = self.attachment(session)
        {
            let ready = attachment.ready;
            self.rings.push(ready, node);
        }
        self.reclaim_if_pressed(now, topic_id);
    }

    /// Takes a subscription out of everything but its session's tables.
    pub(super) fn end_subscription(&mut self, key: SubKey) {
        let Some(mut subscription) = self.subscriptions.try_remove(key.index()) else {
            return;
        };
        self.rings.remove(subscription.node);
        if let Some(topic) = self.topics.get_mut(subscription.topic.index()) {
            topic.cursors.remove(subscription.cursor_id);
            topic.release_committed(self.now, &mut self.retired);
        }
        self.settle_topic(subscription.topic);
        recharge(&mut self.ledger.subscriptions, &mut subscription.charged, 0);
        self.reclaim_if_pressed(self.now, subscription.topic);
    }

    fn subscription_key(&mut self, session: SessionId, number: u32) -> Result<SubKey, Refusal> {
        let attachment = self.attachment(session).ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
        attachment.subscriptions.get(&number).copied().ok_or(Refusal::new(RefusalCode::NotSubscribed))
    }
}

//! Subscribing, committing, unsubscribing (semantics R3, A1 to A3, A9, D1).

use std::sync::Arc;

use zaichik_proto::{
    Commit, Refusal, RefusalCode, Subscribe, Subscribed, TopicName, Unsubscribe, Unsubscribed,
};

use super::Broker;
use super::ledger::recharge;
use super::topics::topic_name;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, SubKey, TopicId};
use crate::subscription::{Durable, Subscription, Terms};
use zaichik_proto::Timestamp;

impl Broker {
    /// Begins a subscription, or goes on with a durable one.
    pub(crate) fn subscribe(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Subscribed, Refusal> {
        let name = topic_name(request.topic)?;
        self.check_subscribe(session, request)?;
        let known = self.check_twice(now, session, name, request)?;
        self.check_dead_letter(name, request)?;
        self.check_memory(size_of::<Subscription>())?;
        let (topic_id, created) = self.topic_or_new(session, request.topic, effects)?;
        let dead_letter = self.dead_letter_topic(session, request, effects).inspect_err(|_| {
            if created {
                self.remove_last_topic();
            }
        })?;
        let limit_bytes = self.config.wire.max_window_bytes;
        let terms = Terms {
            number: request.subscription,
            window: request.window,
            window_bytes: if request.window_bytes == 0 {
                limit_bytes
            } else {
                request.window_bytes.min(limit_bytes)
            },
            dead_letter,
        };
        let key = match known {
            Some(key) => key,
            None => self.add_subscription(now, topic_id, request, terms),
        };
        if let Some(durable) = &request.durable {
            self.take_over(key, session, durable, known.is_some(), effects);
        } else if let Some(attachment) = self.attachment(session) {
            attachment.topics.insert(topic_id);
        }
        self.attach(key, session, terms);
        self.settle_topic(topic_id);
        Ok(self.subscribed(key, request.request, created, effects))
    }

    /// Ends a subscription; nothing of it is delivered any more. A durable one waits for another connection.
    pub(crate) fn unsubscribe(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: Unsubscribe,
        effects: &mut Effects,
    ) -> Result<Unsubscribed, Refusal> {
        let Unsubscribe { request, subscription: number } = request;
        let key = self.subscription_key(session, number)?;
        let Some(subscription) = self.subscriptions.get(key.index()) else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        let (last_offset, topic) = (subscription.last_delivered(), subscription.topic);
        let is_durable = subscription.durable.is_some();
        if let Some(attachment) = self.attachment(session) {
            attachment.subscriptions.remove(&number);
            if !is_durable {
                attachment.topics.remove(&topic);
            }
        }
        let name = self.topics.get(topic.index()).map(|topic| Arc::clone(&topic.name));
        let event = NoteEvent::Unsubscribed { subscription: number };
        effects.note(|| Note { session, topic: name, event });
        if is_durable {
            self.detach_durable(now, key);
        } else {
            self.end_subscription(key);
        }
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
        if let Some(topic) = self.apply_commit(now, key, cursor) {
            self.reclaim_if_pressed(now, topic);
        }
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
    ///
    /// Returns the topic, whose memory may be reclaimed now; within a batch only when all of that is applied, since
    /// what was checked is not to change meanwhile.
    pub(super) fn apply_commit(&mut self, now: Timestamp, key: SubKey, cursor: u64) -> Option<TopicId> {
        let subscription = self.subscriptions.get_mut(key.index())?;
        subscription.commit(cursor);
        let (node, session) = (subscription.node, subscription.session);
        self.settle_subscription(key);
        let topic = self.tell_cursor(now, key);
        // In no ring: its window was full. It may deliver again.
        if self.rings.is_alone(node)
            && let Some(attachment) = session.and_then(|session| self.attachment(session))
        {
            let ready = attachment.ready;
            self.rings.push(ready, node);
        }
        topic
    }

    /// A cursor is elsewhere: its topic is told, and frees what nobody needs any more.
    pub(super) fn cursor_moved(&mut self, now: Timestamp, key: SubKey) {
        if let Some(topic) = self.tell_cursor(now, key) {
            self.reclaim_if_pressed(now, topic);
        }
    }

    fn tell_cursor(&mut self, now: Timestamp, key: SubKey) -> Option<TopicId> {
        let subscription = self.subscriptions.get(key.index())?;
        let (topic_id, cursor_id, cursor) =
            (subscription.topic, subscription.cursor_id, subscription.cursor());
        if let Some(topic) = self.topics.get_mut(topic_id.index()) {
            topic.cursors.set(cursor_id, cursor);
            topic.release_committed(now, &mut self.retired);
        }
        self.settle_topic(topic_id);
        Some(topic_id)
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

    /// What the subscription holds is charged, and housekeeping knows when to look at it.
    pub(super) fn settle_subscription(&mut self, key: SubKey) {
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return;
        };
        let footprint = subscription.footprint();
        recharge(&mut self.ledger.subscriptions, &mut subscription.charged, footprint);
        let due = subscription.due_at();
        if due < subscription.due {
            subscription.due = due;
            self.agenda.subscriptions.schedule(due, key);
            if self.agenda.subscriptions.is_stale(self.subscriptions.len()) {
                let key = |index: usize| SubKey(u32::try_from(index).unwrap_or(u32::MAX));
                let due = self.subscriptions.iter().map(|(index, one)| (one.due, key(index)));
                self.agenda.subscriptions.rebuild(due);
            }
        }
    }

    /// The subscription that a session has under a number.
    pub(super) fn subscription_key(&mut self, session: SessionId, number: u32) -> Result<SubKey, Refusal> {
        let attachment = self.attachment(session).ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
        if let Some(key) = attachment.subscriptions.get(&number) {
            return Ok(*key);
        }
        Err(match attachment.fenced_by(number) {
            Some(epoch) => Refusal::with_value(RefusalCode::SubscriptionFenced, u64::from(epoch)),
            None => Refusal::new(RefusalCode::NotSubscribed),
        })
    }

    /// What the limits and the connection say to a Subscribe.
    fn check_subscribe(&mut self, session: SessionId, request: &Subscribe<'_>) -> Result<(), Refusal> {
        let (number, limits) = (request.subscription, self.config.wire);
        if request.window > limits.max_window {
            return Err(Refusal::with_value(RefusalCode::WindowTooLarge, u64::from(limits.max_window)));
        }
        if request.window == 0 && request.max_attempts > 0 {
            return Err(Refusal::new(RefusalCode::CommitsOff));
        }
        let Some(attachment) = self.attachment(session) else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        // A number that is fenced is free again once the client knows.
        if attachment.subscriptions.contains_key(&number) || attachment.is_news(number) {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        let is_new = attachment.fenced_by(number).is_none();
        if is_new && attachment.numbers() >= limits.max_subscriptions as usize {
            let limit = u64::from(limits.max_subscriptions);
            return Err(Refusal::with_value(RefusalCode::SubscriptionsFull, limit));
        }
        Ok(())
    }

    /// Whether the connection subscribes to the same thing already, and whether it may have the durable subscription
    /// that it asks for; that one, if there is one.
    fn check_twice(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: TopicName<'_>,
        request: &Subscribe<'_>,
    ) -> Result<Option<SubKey>, Refusal> {
        let topic = self.find_topic(name.as_str());
        let Some(durable) = &request.durable else {
            let attachment = self.attachment(session);
            return match topic.zip(attachment) {
                Some((topic, attachment)) if attachment.topics.contains(&topic) => {
                    Err(Refusal::new(RefusalCode::AlreadySubscribed))
                }
                _ => Ok(None),
            };
        };
        let known = topic.and_then(|topic| self.find_durable(now, topic, durable.name));
        match known {
            Some(key) => self.check_take_over(key, session, durable)?,
            None => self.check_durables_full()?,
        }
        Ok(known)
    }

    /// A subscription that has no connection yet.
    fn add_subscription(
        &mut self,
        now: Timestamp,
        topic_id: TopicId,
        request: &Subscribe<'_>,
        terms: Terms,
    ) -> SubKey {
        let entry = self.subscriptions.vacant_entry();
        let key = SubKey(u32::try_from(entry.key()).unwrap_or(u32::MAX));
        let node = self.rings.insert(key.0);
        let durable = request.durable.map(|durable| {
            let (epoch, held_since, inactive_micros, expires_at) = (0, 0, 0, Timestamp::MAX);
            let name = Box::from(durable.name);
            Box::new(Durable { name, epoch, held_since, inactive_micros, expires_at })
        });
        let Some(topic) = self.topics.get_mut(topic_id.index()) else {
            return key;
        };
        let start = topic.start(now, request.start);
        let cursor_id = topic.cursors.insert(start);
        entry.insert(Subscription::new(topic_id, node, cursor_id, start, terms, durable));
        if let Some(durable) = &request.durable {
            self.name_durable(key, topic_id, durable.name);
        }
        key
    }

    /// A connection has a subscription from here on.
    fn attach(&mut self, key: SubKey, session: SessionId, terms: Terms) {
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return;
        };
        subscription.attach(session, terms, self.now);
        let node = subscription.node;
        if let Some(attachment) = self.attachment(session) {
            attachment.unfence(terms.number);
            attachment.subscriptions.insert(terms.number, key);
            let ready = attachment.ready;
            self.rings.push(ready, node);
        }
        self.settle_session(session);
        self.settle_subscription(key);
    }

    /// The answer to a Subscribe.
    fn subscribed(&self, key: SubKey, request: u32, created: bool, effects: &mut Effects) -> Subscribed {
        let subscription = self.subscriptions.get(key.index());
        let topic = subscription.and_then(|subscription| self.topics.get(subscription.topic.index()));
        let (start, end) =
            (subscription.map_or(0, Subscription::cursor), topic.map_or(0, crate::topic::Topic::end));
        let number = subscription.map_or(0, |subscription| subscription.terms.number);
        if let Some(session) = subscription.and_then(|subscription| subscription.session) {
            let event = NoteEvent::Subscribed { subscription: number, start, end };
            effects.note(|| Note { session, topic: topic.map(|topic| Arc::clone(&topic.name)), event });
        }
        let durable = subscription.and_then(|subscription| subscription.durable.as_ref());
        Subscribed {
            request,
            subscription: number,
            epoch: durable.map_or(0, |durable| durable.epoch),
            rewind: subscription.map_or(0, Subscription::rewind),
            created,
            start,
            end,
        }
    }
}

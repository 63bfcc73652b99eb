//! Subscribing, committing, rewinding, and ending a subscription (rules R3, A1 to A4, A9, D1 to D6).

mod acknowledging;
mod joining;
mod returning;

pub(super) use self::acknowledging::member_of;
pub(crate) use self::acknowledging::{MAX_PIECES, Outcome};

use std::sync::Arc;

use zaichik_proto::{
    Commit, Durable, Nack, Refusal, RefusalCode, Seek, SeekTarget, Subscribe, Subscribed, Timestamp,
    TopicName, Unsubscribe, Unsubscribed, Version,
};

use super::counters::{Counters, bump};
use super::dead_letters::{self, Failure, FailureOutcome, REFUSED_PAUSE};
use super::readers::Readers;
use super::sessions::{SessionEntry, Sessions};
use super::subscriptions::{Beginning, Subscriptions};
use super::topics::topic_name;
use super::turns::Turns;
use crate::config::BrokerConfig;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::subscription::{Holder, Subscription, Terms, check_epoch};

/// The parts of the broker that a request about a subscription needs.
#[derive(Debug)]
pub(super) struct Subscribing<'b> {
    pub(super) config: &'b BrokerConfig,
    pub(super) sessions: &'b mut Sessions,
    pub(super) readers: Readers<'b>,
    pub(super) counters: &'b mut Counters,
}

impl Subscribing<'_> {
    /// Begins a subscription, or attaches to a durable one.
    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Subscribed, Refusal> {
        let name = topic_name(request.topic)?;
        self.check_subscribe(session, request)?;
        let known = self.check_twice(session, name, request)?;
        dead_letters::check(self.readers.topics, name, request)?;
        self.readers.memory.check(size_of::<Subscription>())?;
        let (topic, created) = self.readers.find_or_add_topic(request.topic)?;
        let terms = self.prepare_terms(session, (topic, created), request, effects)?;
        let key = match known {
            Some(key) => key,
            None => self.add_subscription(topic, request, terms),
        };
        if let Some(durable) = &request.durable {
            self.take_over(key, session, durable, known.is_some(), effects);
        }
        self.attach(key, session, terms)?;
        self.readers.topics.settle(topic, self.readers.memory);
        Ok(self.subscribed(key, session, request.request, created, effects))
    }

    /// The terms of a Subscribe to a topic that exists now; its dead-letter topic is created if missing.
    fn prepare_terms(
        &mut self,
        session: SessionId,
        (topic, created): (TopicId, bool),
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Terms, Refusal> {
        if created {
            self.note_topic(session, topic, NoteEvent::TopicCreatedImplicitly, effects);
        }
        let dead_letter = dead_letters::topic_of(&mut self.readers, request, self.config.topic_defaults);
        let dead_letter = dead_letter.inspect_err(|_| {
            if created {
                self.readers.topics.remove_last(self.readers.memory, self.readers.readiness);
            }
        })?;
        if let Some((dead_letter, true)) = dead_letter {
            let ready = NoteEvent::TopicReady(zaichik_proto::TopicStatus::Created);
            self.note_topic(session, dead_letter.topic, ready, effects);
        }
        let limit = self.config.wire.max_window_size;
        Ok(Terms {
            number: request.subscription,
            window: request.window,
            window_bytes: if request.window_bytes == 0 { limit } else { request.window_bytes.min(limit) },
            dead_letter: dead_letter.map(|(dead_letter, _)| dead_letter),
        })
    }

    /// Ends a subscription; it receives no more records. A durable one waits for another session.
    pub(super) fn unsubscribe(
        &mut self,
        session: SessionId,
        request: Unsubscribe,
        effects: &mut Effects,
    ) -> Result<Unsubscribed, Refusal> {
        let Unsubscribe { request, subscription: number } = request;
        if let Some(member) = entry_of(self.sessions, session)?.member(number) {
            return Ok(self.unsubscribe_member(session, request, (number, member), effects));
        }
        let key = key_of(self.sessions, session, number)?;
        let subscription = &self.readers.subscriptions[key];
        let (last_offset, topic) = (subscription.last_delivered(), subscription.topic);
        let (is_durable, is_matched) = (subscription.durable.is_some(), subscription.matched.is_some());
        if let Some(entry) = self.sessions.get_mut(session) {
            entry.subscriptions.remove(&number);
            if !is_durable && !is_matched {
                entry.topics.remove(&topic);
            }
        }
        self.note_topic(session, topic, NoteEvent::Unsubscribed { subscription: number }, effects);
        if is_durable {
            self.readers.detach(key);
        } else {
            self.readers.end(key);
        }
        Ok(Unsubscribed { request, subscription: number, last_offset })
    }

    /// Commits everything up to and including an offset; the answer is the cursor (rules A2, A3, A10).
    pub(super) fn commit(&mut self, session: SessionId, request: &Commit) -> Result<u64, Refusal> {
        let Commit { subscription: number, offset, rewind, .. } = *request;
        let commit = (number, offset, rewind);
        let (key, cursor) = check_commit(self.sessions, self.readers.subscriptions, session, commit)?;
        let topic = self.readers.commit(key, cursor);
        self.readers.reclaim_if_pressed(topic);
        Ok(cursor)
    }

    /// Rewinds to an offset; the answer is the rewind number (rules A4, A6).
    pub(super) fn nack(
        &mut self,
        session: SessionId,
        version: Version,
        request: Nack,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        let Nack { subscription: number, offset, delay_micros, .. } = request;
        let key = key_of(self.sessions, session, number)?;
        let subscription = &self.readers.subscriptions[key];
        if !subscription.check_nack(offset)? {
            return match version {
                Version::One => Ok(u64::from(subscription.rewind())),
                Version::Two => Err(Refusal::with_value(RefusalCode::NackCommitted, subscription.cursor())),
            };
        }
        let outcome = if subscription.is_delivered(offset) {
            self.record_failed(key, offset, Failure::Nack)
        } else {
            FailureOutcome::Redelivered
        };
        let delay =
            if outcome == FailureOutcome::Refused { delay_micros.max(REFUSED_PAUSE) } else { delay_micros };
        let running = self.readers.subscriptions.running(self.readers.now);
        let subscription = &mut self.readers.subscriptions[key];
        if outcome == FailureOutcome::DeadLettered && !is_planted(Defect::DeadLetterStays) {
            subscription.raise_rewind();
            subscription.skip(offset);
        } else {
            subscription.nack(offset);
        }
        if delay > 0 {
            subscription.pause(running.plus_micros(delay));
        } else {
            subscription.resume();
        }
        Ok(self.position_moved(key, session, effects))
    }

    /// Moves a cursor; the answer is the rewind number (rule D6).
    pub(super) fn seek(
        &mut self,
        session: SessionId,
        request: &Seek<'_>,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        let key = match request.target {
            SeekTarget::Subscription(number) => match self.group_of(session, number) {
                Some(key) => key,
                None => key_of(self.sessions, session, number)?,
            },
            SeekTarget::Durable { topic, name } => {
                let topic = self.readers.topics.known(topic)?;
                self.find_durable(topic, name)?
            }
        };
        let subscription = &mut self.readers.subscriptions[key];
        let topic = &mut self.readers.topics[subscription.topic];
        let position = topic.seek(self.readers.now, request.to, subscription.cursor());
        let topic = subscription.topic;
        if subscription.shared.is_some() {
            self.seek_shared(key, position);
        } else {
            subscription.seek(position);
        }
        // What has died was removed.
        self.readers.topics.settle(topic, self.readers.memory);
        Ok(self.position_moved(key, session, effects))
    }

    /// Removes a durable subscription that no session holds.
    pub(super) fn remove_durable(&mut self, topic: &[u8], name: &str) -> Result<(), Refusal> {
        let topic = self.readers.topics.known(topic)?;
        let key = self.find_durable(topic, name)?;
        if self.readers.subscriptions[key].is_attached() {
            return Err(Refusal::new(RefusalCode::SubscriptionHeld));
        }
        self.readers.end(key);
        Ok(())
    }

    /// The session that held a subscription has ended: the subscription ends, or waits for another session (rule D2). If
    /// `failure` says so, its only uncommitted record has failed.
    pub(super) fn lose_session(&mut self, key: SubKey, failure: Option<Failure>) {
        let subscription = &self.readers.subscriptions[key];
        if subscription.durable.is_none() {
            return self.readers.end(key);
        }
        let outcome = match failure.zip(subscription.only_uncommitted()) {
            Some((failure, offset)) => self.record_failed(key, offset, failure),
            None => FailureOutcome::Redelivered,
        };
        let subscription = &mut self.readers.subscriptions[key];
        if outcome == FailureOutcome::DeadLettered {
            // Nothing else is uncommitted, so the cursor passes gaps behind the record as well (rule R9).
            subscription.commit(subscription.next().offset);
            self.readers.cursor_moved(key);
        }
        if outcome == FailureOutcome::Refused {
            let running = self.readers.subscriptions.running(self.readers.now);
            let until = running.plus_micros(REFUSED_PAUSE);
            self.readers.subscriptions[key].hold_off(until);
        }
        self.readers.detach(key);
    }

    /// Checks the limits and the session's own subscriptions.
    pub(super) fn check_subscribe(&self, session: SessionId, request: &Subscribe<'_>) -> Result<(), Refusal> {
        let (number, limits) = (request.subscription, self.config.wire);
        if request.window > limits.max_window {
            return Err(Refusal::with_value(RefusalCode::WindowTooLarge, u64::from(limits.max_window)));
        }
        if request.window == 0 && request.max_attempts > 0 {
            return Err(Refusal::new(RefusalCode::CommitsOff));
        }
        let entry = entry_of(self.sessions, session)?;
        // A fenced number is free again once its Fenced was sent.
        if entry.has_number(number) || entry.is_unsent_fence(number) || !entry.may_choose(number) {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        let is_new = entry.fenced_by(number).is_none();
        if is_new && entry.numbers() >= limits.max_subscriptions as usize {
            let limit = u64::from(limits.max_subscriptions);
            return Err(Refusal::with_value(RefusalCode::SubscriptionsFull, limit));
        }
        Ok(())
    }

    /// Checks that the session does not subscribe twice to the same topic or name, and that it may attach to the
    /// requested durable subscription; returns that subscription, if it exists.
    fn check_twice(
        &self,
        session: SessionId,
        name: TopicName<'_>,
        request: &Subscribe<'_>,
    ) -> Result<Option<SubKey>, Refusal> {
        let topic = self.readers.topics.find(name);
        let Some(durable) = &request.durable else {
            let entry = entry_of(self.sessions, session)?;
            return match topic {
                Some(topic) if entry.topics.contains(&topic) => {
                    Err(Refusal::new(RefusalCode::AlreadySubscribed))
                }
                _ => Ok(None),
            };
        };
        let known = topic.and_then(|topic| self.readers.subscriptions.find_durable(topic, durable.name));
        if let Some(key) = known {
            self.readers.subscriptions.check_take_over(key, session, durable)?;
        } else {
            check_epoch(0, durable.epoch)?;
            self.readers.subscriptions.check_durables_full()?;
            self.readers.topics.check_space()?;
        }
        Ok(known)
    }

    fn find_durable(&self, topic: TopicId, name: &str) -> Result<SubKey, Refusal> {
        let found = self.readers.subscriptions.find_durable(topic, name);
        found.ok_or(Refusal::new(RefusalCode::NotSubscribed))
    }

    /// Adds a subscription that no session holds yet.
    fn add_subscription(&mut self, id: TopicId, request: &Subscribe<'_>, terms: Terms) -> SubKey {
        let topic = &mut self.readers.topics[id];
        let start = topic.start(self.readers.now, request.start);
        let beginning = Beginning { topic: id, start, cursor_id: topic.cursors.insert(start) };
        let name = request.durable.map(|durable| durable.name);
        self.readers.subscriptions.insert(beginning, terms, name, self.readers.readiness)
    }

    /// Takes a durable subscription from its holder, if it has one, under a new epoch (rule D3).
    fn take_over(
        &mut self,
        key: SubKey,
        session: SessionId,
        request: &Durable<'_>,
        is_known: bool,
        effects: &mut Effects,
    ) {
        let inactive_micros = self.readers.subscriptions.inactive_micros(request);
        let subscription = &mut self.readers.subscriptions[key];
        let (node, number, holder) = (subscription.node, subscription.terms.number, subscription.holder());
        if holder.is_some() {
            subscription.lose_holder();
        }
        if is_known {
            subscription.raise_rewind();
            bump(&mut self.counters.stats.rewinds, 1);
        }
        let Some(durable) = &mut subscription.durable else {
            return;
        };
        durable.take(request.epoch);
        durable.expires_at = Timestamp::MAX;
        durable.inactive_micros = inactive_micros;
        let epoch = durable.epoch;
        if let Some(holder) = holder {
            self.readers.readiness.unlink(node);
            if let Some(entry) = self.sessions.get_mut(holder.session) {
                entry.fence(number, epoch);
            }
            self.sessions.settle(holder.session, self.readers.memory);
            self.sessions.wake(holder.session, session, effects);
            bump(&mut self.counters.stats.takeovers, 1);
        }
    }

    /// A session holds a subscription from now on.
    fn attach(&mut self, key: SubKey, session: SessionId, terms: Terms) -> Result<(), Refusal> {
        let entry = self.sessions.get_mut(session).ok_or(Refusal::new(RefusalCode::NotSubscribed))?;
        let holder = Holder { session, ready: entry.ready };
        let running = self.readers.subscriptions.running(self.readers.now);
        let subscription = &mut self.readers.subscriptions[key];
        subscription.attach(holder, terms, running);
        entry.unfence(terms.number);
        entry.subscriptions.insert(terms.number, key);
        if subscription.durable.is_none() {
            entry.topics.insert(subscription.topic);
        }
        self.readers.readiness.push(holder.ready, subscription.node);
        self.sessions.settle(session, self.readers.memory);
        self.readers.subscriptions.settle(key, self.readers.memory);
        Ok(())
    }

    /// The turns of members of shared subscriptions.
    fn turns(&mut self, asking: SessionId) -> Turns<'_> {
        let Readers { topics, subscriptions, readiness, .. } = &mut self.readers;
        Turns { topics, subscriptions, sessions: self.sessions, readiness, asking }
    }

    /// The answer to a Subscribe.
    fn subscribed(
        &self,
        key: SubKey,
        session: SessionId,
        request: u32,
        created: bool,
        effects: &mut Effects,
    ) -> Subscribed {
        let subscription = &self.readers.subscriptions[key];
        let (number, start) = (subscription.terms.number, subscription.cursor());
        let end = self.readers.topics[subscription.topic].end();
        let event = NoteEvent::Subscribed { subscription: number, start, end };
        self.note_topic(session, subscription.topic, event, effects);
        Subscribed {
            request,
            subscription: number,
            epoch: subscription.durable.as_ref().map_or(0, |durable| durable.epoch),
            rewind: subscription.rewind(),
            created,
            start,
            end,
        }
    }

    fn record_failed(&mut self, key: SubKey, offset: u64, failure: Failure) -> FailureOutcome {
        dead_letters::record_failed(&mut self.readers, self.counters, self.config, (key, offset), failure)
    }

    /// A position was moved: the subscription's holder delivers from there. Returns the rewind number.
    fn position_moved(&mut self, key: SubKey, asking: SessionId, effects: &mut Effects) -> u64 {
        self.readers.topics.spend(self.readers.subscriptions[key].steps());
        bump(&mut self.counters.stats.rewinds, 1);
        self.readers.cursor_moved(key);
        self.readers.subscriptions.settle(key, self.readers.memory);
        let subscription = &self.readers.subscriptions[key];
        if let Some(holder) = subscription.holder() {
            self.readers.readiness.push(holder.ready, subscription.node);
            self.sessions.wake(holder.session, asking, effects);
        }
        let rewind = subscription.rewind();
        if subscription.shared.is_some() {
            self.turns(asking).offer(key, effects);
        }
        u64::from(rewind)
    }

    pub(super) fn note_topic(
        &self,
        session: SessionId,
        topic: TopicId,
        event: NoteEvent,
        effects: &mut Effects,
    ) {
        effects.note(|| Note { session, topic: Some(Arc::clone(&self.readers.topics[topic].name)), event });
    }
}

/// Checks whether a session may commit in a subscription, of this number, up to an offset, as received under a rewind
/// number; returns the subscription and its new cursor.
pub(super) fn check_commit(
    sessions: &Sessions,
    subscriptions: &Subscriptions,
    session: SessionId,
    (number, offset, rewind): (u32, u64, Option<u32>),
) -> Result<(SubKey, u64), Refusal> {
    let key = key_of(sessions, session, number)?;
    Ok((key, subscriptions[key].check_commit(offset, rewind)?))
}

/// The subscription that a session has under a number.
fn key_of(sessions: &Sessions, session: SessionId, number: u32) -> Result<SubKey, Refusal> {
    let entry = entry_of(sessions, session)?;
    if let Some(key) = entry.subscriptions.get(&number) {
        return Ok(*key);
    }
    Err(match entry.fenced_by(number) {
        _ if entry.member(number).is_some() => Refusal::new(RefusalCode::CommitShared),
        Some(epoch) => Refusal::with_value(RefusalCode::SubscriptionFenced, u64::from(epoch)),
        None => Refusal::new(RefusalCode::NotSubscribed),
    })
}

fn entry_of(sessions: &Sessions, session: SessionId) -> Result<&SessionEntry, Refusal> {
    sessions.get(session).ok_or(Refusal::new(RefusalCode::NotSubscribed))
}

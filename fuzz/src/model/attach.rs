//! How subscriptions of the model begin, end and move (rule R3, chapter D).

use zaichik_proto::RefusalCode;

use crate::model::broker::Model;
use crate::model::subscription::{Subscription, Terms};
use std::rc::Rc;

use crate::model::entry::Liveness;
use crate::model::topic::Topic;
use crate::model::words::{Answer, FOREVER, INVALID, Refusal, Settings, Start, Subscribe, Target};

impl Model {
    pub(crate) fn subscribe(&mut self, session: u64, request: &Subscribe) -> Answer {
        let reasons = self.reasons_against(session, request, None);
        if !reasons.is_empty() {
            return Answer::RefusedFor(reasons);
        }
        let (id, number) = (request.topic, request.number);
        let created = self.create_topics_of(request);
        self.age(id);
        self.fenced.retain(|(holder, fenced, _)| (*holder, *fenced) != (session, number));
        let terms = self.terms(request);
        let durable = request.durable.and_then(|durable| self.durable(id, durable.name));
        let mut one = if let Some(index) = durable {
            let mut one = self.subscriptions.remove(index);
            one.reattach(terms, self.now);
            one
        } else {
            let start = start(self.topic(id).expect("it exists by now"), request.start, self.now);
            Subscription::new(id, request.durable.map(|durable| durable.name), start, terms)
        };
        if let Some(durable) = request.durable {
            let is_own = one.is_held_under(durable.epoch);
            one.epoch = one.epoch.max(durable.epoch) + 1;
            if !is_own {
                one.held_since = if durable.epoch == 0 { one.epoch } else { durable.epoch };
            }
        }
        if let Some((session, number)) = one.holder {
            self.fenced.push((session, number, one.epoch));
            self.notices.push((session, number, one.epoch));
        }
        one.holder = Some((session, number));
        let (epoch, rewind, start) = (one.epoch, one.rewind, one.next);
        self.subscriptions.push(one);
        let end = self.topic(id).expect("it exists by now").end();
        Answer::Subscribed { epoch, rewind, created, start, end }
    }

    /// Creates the topics that a Subscribe names; returns whether the subscribed one was created.
    pub(crate) fn create_topics_of(&mut self, request: &Subscribe) -> bool {
        let created = self.topic(request.topic).is_none();
        if created {
            self.topics.insert(request.topic, Rc::new(self.new_topic(self.defaults)));
        }
        if let Some((_, dead_letter)) = dead_letter(request)
            && self.topic(dead_letter).is_none()
        {
            let settings = Settings { ttl: FOREVER, reject: true, latest: false, window: 0, ..self.defaults };
            let mut topic = self.new_topic(settings);
            topic.explicit = true;
            self.topics.insert(dead_letter, Rc::new(topic));
        }
        created
    }

    /// Every reason for which a Subscribe may be refused, or a request to join a shared subscription, `by_key` or not.
    pub(crate) fn reasons_against(
        &self,
        session: u64,
        request: &Subscribe,
        by_key: Option<bool>,
    ) -> Vec<Refusal> {
        let (id, number) = (request.topic, request.number);
        let mut reasons = Vec::new();
        let own = || self.subscriptions.iter().filter(|one| one.holder.is_some_and(|(by, _)| by == session));
        let fenced = self.fenced.iter().filter(|(by, other, _)| *by == session && *other != number).count();
        let members =
            || self.groups.iter().flat_map(|group| &group.members).filter(|one| one.session == session);
        if own().count() + members().count() + fenced >= self.bounds.max_subscriptions as usize {
            reasons.push((RefusalCode::SubscriptionsFull, u64::from(self.bounds.max_subscriptions)));
        }
        let name = request.durable.map(|durable| durable.name);
        let is_news = self.notices.iter().any(|(by, other, _)| (*by, *other) == (session, number));
        let is_used =
            own().any(|one| one.is_held_by(session, number)) || members().any(|one| one.number == number);
        let is_own = own().any(|one| (one.topic, one.name) == (id, name));
        if is_news || is_used || is_own && by_key.is_none() {
            reasons.push((RefusalCode::AlreadySubscribed, 0));
        }
        if request.window > self.bounds.max_window {
            reasons.push((RefusalCode::WindowTooLarge, u64::from(self.bounds.max_window)));
        }
        if request.window == 0 && request.max_attempts > 0 {
            reasons.push((RefusalCode::CommitsOff, 0));
        }
        reasons.extend(self.reason_against_attaching(session, request, by_key));
        let mut needed = self.needs_topic(id);
        if let Some((_, dead_letter)) = dead_letter(request) {
            let is_live_only = self.topic(dead_letter).is_some_and(|topic| topic.settings.ttl == 0);
            if dead_letter == id || dead_letter == INVALID || is_live_only {
                reasons.push((RefusalCode::InvalidDeadLetter, 0));
            } else if self.topic(dead_letter).is_none() && needed == Ok(true) {
                let full = self.topics.len() + 2 > self.bounds.max_topics as usize;
                needed =
                    if full { Err((RefusalCode::TopicsFull, self.bounds.max_topics.into())) } else { needed };
            } else if let Err(refusal) = self.needs_topic(dead_letter) {
                reasons.push(refusal);
            }
        }
        reasons.extend(needed.err());
        reasons
    }

    fn reason_against_attaching(
        &self,
        session: u64,
        request: &Subscribe,
        by_key: Option<bool>,
    ) -> Option<Refusal> {
        let durable = request.durable?;
        if let Some(group) = self.group(request.topic, durable.name).map(|index| &self.groups[index]) {
            let differs = by_key != Some(group.by_key);
            let is_member = group.has_member(session);
            return match () {
                () if differs => Some((RefusalCode::ModeDiffers, 0)),
                () if is_member => Some((RefusalCode::AlreadySubscribed, 0)),
                () => None,
            };
        }
        if by_key.is_some() && self.durable(request.topic, durable.name).is_some() {
            return Some((RefusalCode::ModeDiffers, 0));
        }
        let newest =
            self.durable(request.topic, durable.name).map_or(0, |index| self.subscriptions[index].epoch);
        if durable.epoch > newest.max(1 << 31) || newest.max(durable.epoch) == u32::MAX {
            return Some((RefusalCode::EpochTooLarge, newest.into()));
        }
        let Some(index) = self.durable(request.topic, durable.name) else {
            let exclusive = self.subscriptions.iter().filter(|one| one.name.is_some()).count();
            let count = exclusive + self.groups.len();
            let limit = self.bounds.max_durables;
            let is_full = count >= limit as usize;
            return if is_full {
                Some((RefusalCode::SubscriptionsFull, u64::from(limit)))
            } else {
                self.check_space().err()
            };
        };
        let one = &self.subscriptions[index];
        let is_held = one.holder.is_some_and(|(holder, _)| holder != session);
        match durable.epoch {
            epoch if one.is_held_under(epoch) => None,
            epoch if epoch > 0 && epoch < one.epoch => {
                Some((RefusalCode::SubscriptionFenced, u64::from(one.epoch)))
            }
            _ if durable.reject && is_held => Some((RefusalCode::SubscriptionHeld, 0)),
            _ => None,
        }
    }

    pub(crate) fn terms(&self, request: &Subscribe) -> Terms {
        let ttl = request.durable.map(|durable| durable.inactive_ttl).filter(|ttl| *ttl > 0);
        Terms {
            window: request.window,
            window_bytes: u64::from(match request.window_bytes {
                0 => self.bounds.max_window_size,
                bytes => bytes.min(self.bounds.max_window_size),
            }),
            dead_letter: dead_letter(request),
            inactive_ttl: ttl.unwrap_or(self.bounds.inactive_ttl),
        }
    }

    pub(crate) fn unsubscribe(&mut self, session: u64, number: u32) -> Result<Answer, Refusal> {
        if let Some((group, member)) = self.member(session, number) {
            return Ok(self.unsubscribe_member(group, member));
        }
        let now = self.now;
        let one = self.held(session, number)?;
        let last = one.last_delivered;
        one.detach(now);
        let is_kept = |one: &Subscription| one.holder.is_some() || one.name.is_some();
        self.subscriptions.retain(|one| is_kept(one) && !one.is_forgotten(now));
        Ok(Answer::Unsubscribed { last })
    }

    /// A connection ends; in order, if that is no failure of what it holds (rules A6, G5).
    pub(crate) fn disconnect(&mut self, session: u64, is_orderly: bool) {
        let mut numbers: Vec<_> = self.subscriptions.iter().filter_map(|one| one.holder).collect();
        numbers.retain(|(holder, _)| *holder == session);
        numbers.sort_unstable();
        // In order, because an earlier subscription may have kept a dead-letter topic full.
        for (_, number) in numbers {
            if !is_orderly {
                self.fail_at_end(session, number);
            }
            self.unsubscribe(session, number).expect("it holds it");
        }
        self.disconnect_members(session, is_orderly);
        self.fenced.retain(|(holder, ..)| *holder != session);
        self.notices.retain(|(holder, ..)| *holder != session);
    }

    /// Forgets a durable subscription that no connection holds.
    pub(crate) fn remove_durable(&mut self, topic: u32, name: u32) -> Result<u64, Refusal> {
        if let Some(index) = self.group(topic, name) {
            if !self.groups[index].members.is_empty() {
                return Err((RefusalCode::SubscriptionHeld, 0));
            }
            self.groups.remove(index);
            return Ok(0);
        }
        let index = self.durable_named(topic, name)?;
        if self.subscriptions[index].holder.is_some() {
            return Err((RefusalCode::SubscriptionHeld, 0));
        }
        self.subscriptions.remove(index);
        Ok(0)
    }

    pub(crate) fn durable_named(&self, topic: u32, name: u32) -> Result<usize, Refusal> {
        if topic == INVALID {
            return Err((RefusalCode::InvalidTopic, 0));
        }
        self.topic(topic).ok_or((RefusalCode::UnknownTopic, 0))?;
        self.durable(topic, name).ok_or((RefusalCode::NotSubscribed, 0))
    }

    /// Rule D6; returns the rewind.
    pub(crate) fn seek(&mut self, session: u64, target: Target, to: Start) -> Result<u64, Refusal> {
        let group = match target {
            Target::Number(number) => self.member(session, number).map(|(index, _)| index),
            Target::Name { topic, name } => self.group(topic, name),
        };
        if let Some(index) = group {
            return Ok(self.seek_group(index, to));
        }
        let index = match target {
            Target::Number(number) => {
                self.held(session, number)?;
                self.index_of(session, number).expect("it holds it")
            }
            Target::Name { topic, name } => self.durable_named(topic, name)?,
        };
        let (topic, cursor) = (self.subscriptions[index].topic, self.subscriptions[index].cursor());
        self.age(topic);
        let to = self.sought(topic, cursor, to);
        let one = &mut self.subscriptions[index];
        one.seek(to);
        Ok(u64::from(one.rewind))
    }

    /// Where a seek of a subscription with this cursor leads.
    pub(crate) fn sought(&self, topic: u32, cursor: u64, to: Start) -> u64 {
        let topic = self.topic(topic).expect("it was subscribed to");
        if topic.settings.ttl > 0 {
            start(topic, to, self.now)
        } else {
            start_again(topic, to, self.now, cursor)
        }
    }

    /// A connection's subscription of this number.
    pub(crate) fn held(&mut self, session: u64, number: u32) -> Result<&mut Subscription, Refusal> {
        if self.member(session, number).is_some() {
            return Err((RefusalCode::CommitShared, 0));
        }
        let fenced = self.fenced.iter().find(|(by, other, _)| (*by, *other) == (session, number));
        if let Some((.., epoch)) = fenced {
            return Err((RefusalCode::SubscriptionFenced, u64::from(*epoch)));
        }
        let found = self.subscriptions.iter_mut().find(|one| one.is_held_by(session, number));
        found.ok_or((RefusalCode::NotSubscribed, 0))
    }

    /// The index of a durable subscription.
    pub(crate) fn durable(&self, topic: u32, name: u32) -> Option<usize> {
        self.subscriptions.iter().position(|one| (one.topic, one.name) == (topic, Some(name)))
    }
}

/// The maximum number of failures and the dead-letter topic, if both are given.
fn dead_letter(request: &Subscribe) -> Option<(u32, u32)> {
    request.dead_letter.filter(|_| request.max_attempts > 0).map(|topic| (request.max_attempts, topic))
}

/// Rule R3.
pub(crate) fn start(topic: &Topic, start: Start, now: u64) -> u64 {
    let end = topic.end();
    match start {
        Start::Offset(offset) if offset >= end => offset,
        _ if topic.settings.ttl == 0 => end,
        Start::Latest => end,
        Start::Earliest => topic.first_live(now, |_, _| true),
        Start::Offset(from) => topic.first_live(now, |offset, _| offset >= from),
        Start::Time(time) => topic.first_live(now, |_, entry| entry.timestamp >= time),
    }
}

/// Rule D6, live-only: as [`start`], among the records kept for the subscription, none of which is hidden.
fn start_again(topic: &Topic, start: Start, now: u64, own: u64) -> u64 {
    let end = topic.end();
    let (from, time) = match start {
        Start::Earliest => (own, 0),
        Start::Latest => (end, 0),
        Start::Offset(offset) => (offset.max(own), 0),
        Start::Time(time) => (own, time),
    };
    let is_meant = |offset: &u64| {
        let found = topic.entry(*offset, now);
        found.is_some_and(|(entry, is)| is == Liveness::Live && entry.timestamp >= time)
    };
    (from..end).find(is_meant).unwrap_or_else(|| from.max(end))
}

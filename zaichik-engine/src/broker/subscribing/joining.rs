//! Joining a shared subscription and leaving it (rules G1, G10).

use std::collections::{BTreeMap, BTreeSet};

use zaichik_proto::{
    Durable, OnConflict, Refusal, RefusalCode, Subscribe, SubscribeShared, Subscribed, Timestamp,
    Unsubscribed,
};

use super::{Subscribing, entry_of};
use crate::broker::dead_letters::{self, Failure};
use crate::broker::members::{Joining, Place};
use crate::broker::sessions::Memberships;
use crate::broker::topics::topic_name;
use crate::effects::{Effects, NoteEvent};
use crate::group::Options;
use crate::id::{MemberKey, SessionId, SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::subscription::{Subscription, Terms};

/// Maximum distance between the cursor and what is handed out, unless the client asks for another one.
const DEFAULT_SPAN: u32 = 65_536;

/// The maximum that a client may ask for.
const MAX_SPAN: u32 = 1 << 20;

impl Subscribing<'_> {
    /// Makes a session a member of a shared subscription, which is created if it does not exist.
    pub(in crate::broker) fn subscribe_shared(
        &mut self,
        session: SessionId,
        request: &SubscribeShared<'_>,
        effects: &mut Effects,
    ) -> Result<Subscribed, Refusal> {
        let name = topic_name(request.topic)?;
        let subscribe = as_exclusive(request);
        self.check_subscribe(session, &subscribe)?;
        let topic = self.readers.topics.find(name);
        let known = topic.and_then(|topic| self.readers.subscriptions.find_durable(topic, request.name));
        self.check_join(session, request, known)?;
        dead_letters::check(self.readers.topics, name, &subscribe)?;
        self.readers.memory.check(size_of::<Subscription>())?;
        let (topic, created) = self.readers.find_or_add_topic(request.topic)?;
        let terms = self.prepare_terms(session, (topic, created), &subscribe, effects)?;
        let window_bytes = terms.window_bytes;
        let options = Options {
            ack_deadline_micros: match request.ack_deadline_micros {
                0 => u64::MAX,
                micros => micros,
            },
            max_span: if request.max_span == 0 { DEFAULT_SPAN } else { request.max_span.min(MAX_SPAN) },
            by_key: request.by_key,
        };
        let key = known.unwrap_or_else(|| self.add_group(topic, &subscribe, terms, options));
        let inactive_micros =
            subscribe.durable.map_or(0, |durable| self.readers.subscriptions.inactive_micros(&durable));
        let subscription = &mut self.readers.subscriptions[key];
        subscription.terms = terms;
        if let Some(durable) = &mut subscription.durable {
            (durable.expires_at, durable.inactive_micros) = (Timestamp::MAX, inactive_micros);
        }
        if let Some(shared) = &mut subscription.shared {
            shared.group.options = options;
        }
        let joining = Joining { session, number: request.subscription, window: request.window, window_bytes };
        self.join(key, joining)?;
        self.readers.topics.settle(topic, self.readers.memory);
        self.turns(session).offer(key, effects);
        let answer = self.subscribed(key, session, request.request, created, effects);
        Ok(Subscribed { subscription: request.subscription, ..answer })
    }

    /// Checks whether a session may join this subscription, or create it.
    fn check_join(
        &self,
        session: SessionId,
        request: &SubscribeShared<'_>,
        known: Option<SubKey>,
    ) -> Result<(), Refusal> {
        let Some(key) = known else {
            self.readers.subscriptions.check_durables_full()?;
            return self.readers.topics.check_space();
        };
        let shared = self.readers.subscriptions[key].shared.as_ref();
        if shared.is_none_or(|shared| shared.group.options.by_key != request.by_key) {
            return Err(Refusal::new(RefusalCode::ModeDiffers));
        }
        let memberships = entry_of(self.sessions, session)?.shared.as_ref();
        if memberships.is_some_and(|memberships| memberships.groups.contains(&key)) {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        Ok(())
    }

    fn add_group(
        &mut self,
        topic: TopicId,
        subscribe: &Subscribe<'_>,
        terms: Terms,
        options: Options,
    ) -> SubKey {
        let key = self.add_subscription(topic, subscribe, terms);
        self.readers.subscriptions.share(key, options, self.readers.readiness);
        key
    }

    /// Adds a member.
    fn join(&mut self, key: SubKey, joining: Joining) -> Result<(), Refusal> {
        let gone = Refusal::new(RefusalCode::NotSubscribed);
        let entry = self.sessions.get_mut(joining.session).ok_or(gone)?;
        let memberships = entry.shared.get_or_insert_with(|| {
            let ready = self.readers.readiness.insert_ring();
            Box::new(Memberships {
                ready,
                gives_way: true,
                numbers: BTreeMap::new(),
                groups: BTreeSet::new(),
            })
        });
        let (subscription, members) = self.readers.subscriptions.with_members(key);
        let shared = subscription.shared.as_mut().ok_or(gone)?;
        let member = members.insert((key, shared), joining, self.readers.memory, self.readers.readiness);
        if let Some(one) = members.get_mut(member) {
            one.find_place(false, shared, self.readers.readiness);
        }
        memberships.numbers.insert(joining.number, member);
        memberships.groups.insert(key);
        entry.unfence(joining.number);
        entry.count_extra();
        self.sessions.settle(joining.session, self.readers.memory);
        self.readers.subscriptions.settle(key, self.readers.memory);
        Ok(())
    }

    /// The shared subscription of which a session is a member under this number.
    pub(super) fn group_of(&self, session: SessionId, number: u32) -> Option<SubKey> {
        let member = self.sessions.get(session)?.member(number)?;
        Some(self.readers.subscriptions.members.get(member)?.group)
    }

    /// A member leaves on request: what it holds comes back, and has not failed.
    pub(super) fn unsubscribe_member(
        &mut self,
        session: SessionId,
        request: u32,
        (number, member): (u32, MemberKey),
        effects: &mut Effects,
    ) -> Unsubscribed {
        let left = self.readers.subscriptions.members.get(member).map(|one| (one.group, one.last_offset));
        if let Some((group, _)) = left {
            let topic = self.readers.subscriptions[group].topic;
            self.note_topic(session, topic, NoteEvent::Unsubscribed { subscription: number }, effects);
        }
        if let Some(shared) = self.sessions.get_mut(session).and_then(|entry| entry.shared.as_mut()) {
            shared.numbers.remove(&number);
        }
        while !self.lose_member(member, None, session, effects) {}
        Unsubscribed { request, subscription: number, last_offset: left.and_then(|(_, last)| last) }
    }

    /// A member leaves: takes a part of what it holds back, each record of which has failed if `failure` says so. Returns
    /// whether it has left.
    pub(in crate::broker) fn lose_member(
        &mut self,
        member: MemberKey,
        failure: Option<Failure>,
        asking: SessionId,
        effects: &mut Effects,
    ) -> bool {
        let Some(key) = self.readers.subscriptions.members.get(member).map(|one| one.group) else {
            return true;
        };
        let (subscription, members) = self.readers.subscriptions.with_members(key);
        let (Some(shared), Some(one)) = (&mut subscription.shared, members.get_mut(member)) else {
            return true;
        };
        one.follow(&shared.group);
        one.leave_place(shared, self.readers.readiness);
        one.place = Place::Leaving;
        let (id, session) = (one.id, one.session);
        let offsets = shared.group.next_held(id, 0, u64::MAX);
        if let Some(held) = offsets.and_then(|offsets| shared.group.take_back(id, offsets)) {
            one.lost(held.records(), held.bytes);
            if is_planted(Defect::LostReturn) && failure.is_some() {
                held.offsets().for_each(|record| shared.group.finish(record));
            } else {
                self.give_back(key, &held, failure, Timestamp::ZERO, None);
            }
            self.settle_group(key, asking, effects);
            return false;
        }
        shared.members = shared.members.saturating_sub(1);
        let is_last = shared.members == 0;
        members.remove(member, self.readers.memory, self.readers.readiness);
        if let Some(shared) = self.sessions.get_mut(session).and_then(|entry| entry.shared.as_mut()) {
            shared.groups.remove(&key);
        }
        if is_last {
            self.readers.detach(key);
        } else {
            self.turns(asking).offer(key, effects);
        }
        true
    }

    /// Moves a shared subscription: its members hold nothing any more.
    pub(super) fn seek_shared(&mut self, key: SubKey, to: u64) {
        let subscription = &mut self.readers.subscriptions[key];
        let Some(shared) = &mut subscription.shared else { return };
        shared.group.seek(to);
        self.readers.readiness.move_all(shared.full, shared.line);
        shared.roomy = shared.roomy.saturating_add(core::mem::take(&mut shared.full_len));
        shared.is_fetching = false;
        subscription.follow_group();
    }
}

/// The Subscribe of an exclusive subscription with the same terms.
const fn as_exclusive<'a>(request: &SubscribeShared<'a>) -> Subscribe<'a> {
    let durable = Durable {
        name: request.name,
        on_conflict: OnConflict::TakeOver,
        epoch: 0,
        inactive_ttl_micros: request.inactive_ttl_micros,
    };
    Subscribe {
        request: request.request,
        subscription: request.subscription,
        topic: request.topic,
        start: request.start,
        window: request.window,
        window_bytes: request.window_bytes,
        max_attempts: request.max_attempts,
        dead_letter: request.dead_letter,
        durable: Some(durable),
    }
}

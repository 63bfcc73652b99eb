//! All subscriptions of a client, and which of them have events to take.

mod aliases;
mod patterns;
mod topics;

use core::mem;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zaichik_proto::{Delivery, Gap, SubscribePattern};

use self::aliases::Aliases;
pub(crate) use self::patterns::MatchStep;
use self::topics::Topics;
use crate::answer::SubscriptionId;
use crate::error::{RequestError, Violation};
use crate::event::Event;
use crate::subscription::{Release, Subscription};

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    table: BTreeMap<SubscriptionId, Entry>,
    /// The last id assigned.
    last_id: u32,
    /// Subscriptions to report as ready, each once.
    ready: VecDeque<SubscriptionId>,
    /// Bytes that wait to be taken from subscriptions without a window.
    unwindowed_bytes: usize,
    /// Subscriptions that ended for the application while the broker may still have sent frames for them.
    leaving: BTreeSet<SubscriptionId>,
    /// The numbers of matched topics on this connection.
    aliases: Aliases,
    /// The last message that the application took from a subscription with a window.
    last_taken: Option<(SubscriptionId, u64)>,
    /// Requests of commits that no longer wait.
    released: Vec<(u32, Release)>,
}

#[derive(Debug)]
struct Entry {
    subscription: Subscription,
    /// Whether it is in the queue of ready ones: that of its pattern, if it has one.
    is_ready: bool,
    /// The topics of a pattern.
    topics: Option<Box<Topics>>,
}

impl Subscriptions {
    /// The id of the next subscription; `None` when all have been used.
    pub(crate) fn next_id(&self) -> Option<SubscriptionId> {
        let next = self.last_id.checked_add(1);
        next.filter(|next| *next < SubscribePattern::FIRST_ALIAS).map(SubscriptionId)
    }

    pub(crate) fn insert(&mut self, subscription: Subscription) {
        self.last_id = subscription.id().0;
        let topics = subscription.is_pattern().then(|| Box::new(Topics::new(subscription.options().start)));
        self.table.insert(subscription.id(), Entry { subscription, is_ready: false, topics });
    }

    /// Forgets a subscription that never began, or has ended; with those of its topics, if it is a pattern.
    pub(crate) fn remove(&mut self, id: SubscriptionId) {
        self.end_topics(id, true);
        let Some(Entry { subscription, is_ready, .. }) = self.table.remove(&id) else {
            return;
        };
        self.last_taken = self.last_taken.filter(|(of, _)| *of != id);
        if subscription.options().window == 0 {
            self.unwindowed_bytes = self.unwindowed_bytes.saturating_sub(subscription.buffered_bytes());
        }
        if let Some(pattern) = subscription.pattern() {
            self.forget_topic(pattern, &subscription);
        } else if is_ready {
            self.ready.retain(|ready| *ready != id);
        }
    }

    pub(crate) fn get(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.table.get(&id).map(|entry| &entry.subscription)
    }

    /// A subscription that the application may still use.
    pub(crate) fn in_use(&self, id: SubscriptionId) -> Result<&Subscription, RequestError> {
        self.get(id).filter(|subscription| subscription.is_usable()).ok_or(RequestError::NoSubscription(id))
    }

    /// A subscription of one topic that the application may still use.
    pub(crate) fn usable(&self, id: SubscriptionId) -> Result<&Subscription, RequestError> {
        let subscription = self.in_use(id)?;
        if subscription.is_pattern() { Err(RequestError::IsPattern(id)) } else { Ok(subscription) }
    }

    /// Changes a subscription that the application may still use, as [`change`](Self::change) does.
    pub(crate) fn change_usable<T>(
        &mut self,
        id: SubscriptionId,
        change: impl FnOnce(&mut Subscription) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        self.usable(id)?;
        self.change(id, change).ok_or(RequestError::NoSubscription(id))?
    }

    /// Changes a subscription, and updates the totals and the queue of ready subscriptions; `None` if it is gone.
    pub(crate) fn change<T>(
        &mut self,
        id: SubscriptionId,
        change: impl FnOnce(&mut Subscription) -> T,
    ) -> Option<T> {
        let Entry { subscription, is_ready, .. } = self.table.get_mut(&id)?;
        let before = subscription.buffered_bytes();
        let result = change(subscription);
        if subscription.options().window == 0 {
            let after = subscription.buffered_bytes();
            self.unwindowed_bytes = self.unwindowed_bytes.saturating_sub(before).saturating_add(after);
        }
        let (has_something, pattern) = (subscription.has_something(), subscription.pattern());
        subscription.release_commits(&mut self.released);
        // A rewound message can't be committed before it is taken again.
        let taken_to = subscription.taken_to();
        self.last_taken = self.last_taken.filter(|(of, offset)| *of != id || *offset < taken_to);
        let is_news = has_something && !*is_ready;
        *is_ready |= has_something;
        match pattern.filter(|_| has_something) {
            Some(pattern) => self.topic_ready(pattern, id, is_news),
            None if is_news => self.ready.push_back(id),
            None => {}
        }
        Some(result)
    }

    /// A topic of a pattern has something to take, and is to be queued if `is_news`.
    fn topic_ready(&mut self, pattern: SubscriptionId, id: SubscriptionId, is_news: bool) {
        if let Some(topics) = self.topics_mut(pattern).filter(|_| is_news) {
            topics.ready.push_back(id);
        }
        self.mark_ready(pattern);
    }

    /// Reports a subscription as ready.
    fn mark_ready(&mut self, id: SubscriptionId) {
        if let Some(entry) = self.table.get_mut(&id).filter(|entry| !entry.is_ready) {
            entry.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Processes a delivery of a broker whose windows in bytes are at most `max_window_bytes`; returns the offset to
    /// commit at once, if any.
    pub(crate) fn deliver(
        &mut self,
        frame: &Bytes,
        delivery: &Delivery<'_>,
        max_window_bytes: u32,
    ) -> Result<Option<u64>, Violation> {
        let Some(id) = self.receiver(delivery.subscription)? else {
            return Ok(None);
        };
        let committed =
            self.change(id, |subscription| subscription.deliver(frame, delivery, max_window_bytes));
        committed.ok_or(Violation::Subscription { subscription: delivery.subscription })?
    }

    /// Processes a gap.
    pub(crate) fn skip(&mut self, gap: &Gap) -> Result<(), Violation> {
        let Some(id) = self.receiver(gap.subscription)? else {
            return Ok(());
        };
        let skipped = self.change(id, |subscription| subscription.skip(gap));
        skipped.ok_or(Violation::Subscription { subscription: gap.subscription })?
    }

    /// The subscription that a frame about records names; `None` if nobody wants it any more.
    fn receiver(&self, number: u32) -> Result<Option<SubscriptionId>, Violation> {
        let id = self.id_of(number)?.filter(|id| !self.leaving.contains(id));
        if id.and_then(|id| self.get(id)).is_some_and(Subscription::is_pattern) {
            return Err(Violation::Subscription { subscription: number });
        }
        Ok(id)
    }

    /// The subscription that has this number in frames; `None` if nobody wants it any more.
    pub(crate) fn id_of(&self, number: u32) -> Result<Option<SubscriptionId>, Violation> {
        if Aliases::is_alias(number) {
            return self.aliases.receiver(number);
        }
        let id = SubscriptionId(number);
        if self.get(id).is_some_and(|subscription| subscription.pattern().is_some()) {
            return Err(Violation::Subscription { subscription: number });
        }
        Ok(Some(id))
    }

    /// The number of a subscription in frames.
    pub(crate) fn number(&self, id: SubscriptionId) -> u32 {
        self.get(id).map_or(id.0, Subscription::number)
    }

    /// The broker ended a subscription; `event` reports how.
    pub(crate) fn ended(&mut self, number: u32, event: Event) -> Result<(), Violation> {
        let Some(id) = self.id_of(number)? else {
            self.left(number);
            return Ok(());
        };
        self.end_number(id, false);
        self.end_topics(id, false);
        if self.leaving.remove(&id) {
            return Ok(());
        }
        if !self.get(id).is_some_and(Subscription::is_active) {
            return Err(Violation::Subscription { subscription: number });
        }
        if event == Event::Fenced {
            self.leave_topic(id);
        }
        self.change(id, |subscription| subscription.end(event));
        Ok(())
    }

    /// The broker refused an Unsubscribe because it had ended the subscription first: the frame that reports this may
    /// still arrive, since answers to requests overtake it.
    pub(crate) fn leave(&mut self, id: SubscriptionId) {
        if self.get(id).is_some_and(Subscription::is_active) {
            self.leaving.insert(id);
        }
    }

    /// Whether frames of a subscription that has ended may still arrive.
    pub(crate) fn is_leaving(&self, id: SubscriptionId) -> bool {
        self.leaving.contains(&id)
    }

    /// Another connection begins, which carries no frames of subscriptions that ended on the last one.
    pub(crate) fn forget_leaving(&mut self) {
        self.leaving.clear();
    }

    /// The next message or event of a subscription; removes a finished subscription.
    pub(crate) fn take(&mut self, id: SubscriptionId) -> Option<Event> {
        let subscription = &mut self.table.get_mut(&id)?.subscription;
        let before = subscription.buffered_bytes();
        let event = subscription.take();
        if subscription.options().window == 0 {
            let taken = before.saturating_sub(subscription.buffered_bytes());
            self.unwindowed_bytes = self.unwindowed_bytes.saturating_sub(taken);
        } else if let Some(Event::Message(message)) = &event {
            self.last_taken = Some((id, message.offset));
        }
        self.remove_finished(id);
        event
    }

    /// Drops what a subscription has received, as if it had never arrived; removes a finished subscription.
    pub(crate) fn discard(&mut self, id: SubscriptionId) {
        self.discard_topics(id);
        self.change(id, Subscription::discard);
        self.remove_finished(id);
    }

    fn remove_finished(&mut self, id: SubscriptionId) {
        if self.get(id).is_some_and(Subscription::is_finished) {
            self.remove(id);
        }
    }

    pub(crate) fn pop_ready(&mut self) -> Option<SubscriptionId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(entry) = self.table.get_mut(&id) {
                entry.is_ready = false;
                return Some(id);
            }
        }
        None
    }

    /// Reports all of them as ready, so that the application learns that the client closed.
    pub(crate) fn wake_all(&mut self) {
        for id in self.ids() {
            if self.get(id).is_some_and(|subscription| subscription.pattern().is_none()) {
                self.mark_ready(id);
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn connection_lost(&mut self) {
        self.aliases.clear();
        for id in self.ids() {
            self.change(id, Subscription::connection_lost);
        }
    }

    pub(crate) fn ids(&self) -> Vec<SubscriptionId> {
        self.table.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes that wait to be taken from subscriptions without a window.
    pub(crate) const fn unwindowed_bytes(&self) -> usize {
        self.unwindowed_bytes
    }

    /// Takes the requests of commits that no longer wait, in the order of the commits of each subscription.
    pub(crate) fn take_released(&mut self) -> Vec<(u32, Release)> {
        mem::take(&mut self.released)
    }

    /// The last message that the application took from a subscription with a window.
    pub(crate) const fn last_taken(&self) -> Option<(SubscriptionId, u64)> {
        self.last_taken
    }

    /// The broker restarted, so the offsets taken so far are meaningless.
    pub(crate) const fn forget_taken(&mut self) {
        self.last_taken = None;
    }
}

#[cfg(test)]
impl Subscriptions {
    /// Counts everything again.
    pub(crate) fn check_invariants(&self) {
        let all = || self.table.values();
        let unwindowed = all().filter(|entry| entry.subscription.options().window == 0);
        let bytes: usize = unwindowed.map(|entry| entry.subscription.buffered_bytes()).sum();
        assert_eq!(self.unwindowed_bytes, bytes);
        let is_ready_in = |entry: &&Entry, pattern| entry.is_ready && entry.subscription.pattern() == pattern;
        let ready = all().filter(|entry| is_ready_in(entry, None)).count();
        assert_eq!(self.ready.len(), ready, "each ready subscription is queued once, and no other is");
        for entry in all() {
            let ready = all().filter(|one| is_ready_in(one, Some(entry.subscription.id()))).count();
            assert_eq!(entry.topics.as_ref().map_or(0, |topics| topics.ready.len()), ready);
        }
    }
}

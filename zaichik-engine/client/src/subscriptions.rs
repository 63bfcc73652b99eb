//! All subscriptions of a client, and which of them have events to take.

use core::mem;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zaichik_proto::{Delivery, Gap};

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
    /// The last message that the application took from a subscription with a window.
    last_taken: Option<(SubscriptionId, u64)>,
    /// Requests of commits that no longer wait.
    released: Vec<(u32, Release)>,
}

#[derive(Debug)]
struct Entry {
    subscription: Subscription,
    /// Whether it is in the queue of ready ones.
    is_ready: bool,
}

impl Subscriptions {
    /// The id of the next subscription; `None` when all have been used.
    pub(crate) fn next_id(&self) -> Option<SubscriptionId> {
        self.last_id.checked_add(1).map(SubscriptionId)
    }

    pub(crate) fn insert(&mut self, subscription: Subscription) {
        self.last_id = subscription.id().0;
        self.table.insert(subscription.id(), Entry { subscription, is_ready: false });
    }

    /// Forgets a subscription that never began.
    pub(crate) fn remove(&mut self, id: SubscriptionId) {
        let Some(Entry { subscription, is_ready }) = self.table.remove(&id) else {
            return;
        };
        if subscription.options().window == 0 {
            self.unwindowed_bytes = self.unwindowed_bytes.saturating_sub(subscription.buffered_bytes());
        }
        if is_ready {
            self.ready.retain(|ready| *ready != id);
        }
    }

    pub(crate) fn get(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.table.get(&id).map(|entry| &entry.subscription)
    }

    /// A subscription that the application may still use.
    pub(crate) fn usable(&self, id: SubscriptionId) -> Result<&Subscription, RequestError> {
        self.get(id).filter(|subscription| subscription.is_usable()).ok_or(RequestError::NoSubscription(id))
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
        let Entry { subscription, is_ready } = self.table.get_mut(&id)?;
        let before = subscription.buffered_bytes();
        let result = change(subscription);
        if subscription.options().window == 0 {
            let after = subscription.buffered_bytes();
            self.unwindowed_bytes = self.unwindowed_bytes.saturating_sub(before).saturating_add(after);
        }
        if subscription.has_something() && !*is_ready {
            *is_ready = true;
            self.ready.push_back(id);
        }
        subscription.release_commits(&mut self.released);
        // A rewound message can't be committed before it is taken again.
        let taken_to = subscription.taken_to();
        self.last_taken = self.last_taken.filter(|(of, offset)| *of != id || *offset < taken_to);
        Some(result)
    }

    /// Processes a delivery of a broker whose windows in bytes are at most `max_window_bytes`; returns the offset to
    /// commit at once, if any.
    pub(crate) fn deliver(
        &mut self,
        frame: &Bytes,
        delivery: &Delivery<'_>,
        max_window_bytes: u32,
    ) -> Result<Option<u64>, Violation> {
        let id = SubscriptionId(delivery.subscription);
        if self.leaving.contains(&id) {
            return Ok(None);
        }
        let committed =
            self.change(id, |subscription| subscription.deliver(frame, delivery, max_window_bytes));
        committed.ok_or(Violation::Subscription { subscription: id.0 })?
    }

    /// Processes a gap.
    pub(crate) fn skip(&mut self, gap: &Gap) -> Result<(), Violation> {
        let id = SubscriptionId(gap.subscription);
        if self.leaving.contains(&id) {
            return Ok(());
        }
        let skipped = self.change(id, |subscription| subscription.skip(gap));
        skipped.ok_or(Violation::Subscription { subscription: id.0 })?
    }

    /// The broker ended a subscription; `event` reports how.
    pub(crate) fn ended(&mut self, id: SubscriptionId, event: Event) -> Result<(), Violation> {
        if self.leaving.remove(&id) {
            return Ok(());
        }
        if !self.get(id).is_some_and(Subscription::is_active) {
            return Err(Violation::Subscription { subscription: id.0 });
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
        self.change(id, Subscription::discard);
        self.remove_finished(id);
    }

    fn remove_finished(&mut self, id: SubscriptionId) {
        if self.get(id).is_some_and(Subscription::is_finished) {
            self.remove(id);
            self.last_taken = self.last_taken.filter(|(of, _)| *of != id);
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
        for (id, entry) in &mut self.table {
            if !entry.is_ready {
                entry.is_ready = true;
                self.ready.push_back(*id);
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn connection_lost(&mut self) {
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
        let ready = all().filter(|entry| entry.is_ready).count();
        assert_eq!(self.ready.len(), ready, "each ready subscription is queued once, and no other is");
    }
}

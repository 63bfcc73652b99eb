//! All subscriptions of a client, and which of them got something.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::answer::SubscriptionId;
use super::event::Event;
use super::subscription::{Phase, Subscription};

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    table: BTreeMap<SubscriptionId, Subscription>,
    /// The last id given out.
    last_id: u32,
    ready: VecDeque<SubscriptionId>,
    /// Bytes that wait to be taken from subscriptions without a window.
    unwindowed_bytes: usize,
    /// Those that are over, but for what the broker had to say before it knew.
    leaving: BTreeSet<SubscriptionId>,
    /// The last message that the application took from a subscription with a window.
    last_taken: Option<(SubscriptionId, u64)>,
}

impl Subscriptions {
    /// The id that the next subscription will have; `None` when all have been used.
    pub(super) fn next_id(&self) -> Option<SubscriptionId> {
        self.last_id.checked_add(1).map(SubscriptionId)
    }

    pub(super) fn insert(&mut self, subscription: Subscription) {
        self.last_id = subscription.id.0;
        self.table.insert(subscription.id, subscription);
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) {
        self.update(id, Subscription::clear);
        self.drop_entry(id);
    }

    /// It is over for the application, because the broker refused an Unsubscribe: it ended the subscription first, and the
    /// frame that says so is behind others in the lane that is slower.
    pub(super) fn leave(&mut self, id: SubscriptionId) {
        if self.table.get(&id).is_some_and(|state| state.phase == Phase::Active) {
            self.leaving.insert(id);
        }
    }

    /// Whether frames of it may still come, to be dropped.
    pub(super) fn is_leaving(&self, id: SubscriptionId) -> bool {
        self.leaving.contains(&id)
    }

    /// The broker says that it is over; whether that was known.
    pub(super) fn has_left(&mut self, id: SubscriptionId) -> bool {
        self.leaving.remove(&id)
    }

    /// Another connection carries no frames of those that ended on the last one.
    pub(super) fn forget_left(&mut self) {
        self.leaving.clear();
    }

    pub(super) fn get(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.table.get(&id)
    }

    /// Changes a subscription, and keeps the books: what waits in it, and whether there is something to take.
    pub(super) fn update<T>(
        &mut self,
        id: SubscriptionId,
        change: impl FnOnce(&mut Subscription) -> T,
    ) -> Option<T> {
        let subscription = self.table.get_mut(&id)?;
        let before = subscription.buffered().bytes;
        let result = change(subscription);
        if subscription.options.window == 0 {
            let after = subscription.buffered().bytes;
            self.unwindowed_bytes = self.unwindowed_bytes.saturating_sub(before).saturating_add(after);
        }
        if subscription.has_pieces() && !subscription.is_ready {
            subscription.is_ready = true;
            self.ready.push_back(id);
        }
        // What was taken back can't be committed before it was taken again.
        let taken_to = subscription.taken_to();
        self.last_taken = self.last_taken.filter(|(of, offset)| *of != id || *offset < taken_to);
        Some(result)
    }

    pub(super) fn take(&mut self, id: SubscriptionId) -> Option<Event> {
        let subscription = self.table.get_mut(&id)?;
        let before = subscription.buffered().bytes;
        let incoming = subscription.take();
        if subscription.options.window == 0 {
            let taken = before.saturating_sub(subscription.buffered().bytes);
            self.unwindowed_bytes = self.unwindowed_bytes.saturating_sub(taken);
        } else if let Some(Event::Message(message)) = &incoming {
            self.last_taken = Some((id, message.offset));
        }
        if subscription.is_finished() {
            self.drop_entry(id);
            self.last_taken = self.last_taken.filter(|(of, _)| *of != id);
        }
        incoming
    }

    pub(super) fn pop_ready(&mut self) -> Option<SubscriptionId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(subscription) = self.table.get_mut(&id) {
                subscription.is_ready = false;
                return Some(id);
            }
        }
        None
    }

    /// Marks all of them: each has to be looked at.
    pub(super) fn wake_all(&mut self) {
        for (id, subscription) in &mut self.table {
            if !subscription.is_ready {
                subscription.is_ready = true;
                self.ready.push_back(*id);
            }
        }
    }

    pub(super) fn ids(&self) -> Vec<SubscriptionId> {
        self.table.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) const fn unwindowed_bytes(&self) -> usize {
        self.unwindowed_bytes
    }

    pub(super) const fn last_taken(&self) -> Option<(SubscriptionId, u64)> {
        self.last_taken
    }

    /// Offsets taken so far name nothing any more.
    pub(super) const fn forget_taken(&mut self) {
        self.last_taken = None;
    }

    fn drop_entry(&mut self, id: SubscriptionId) {
        let removed = self.table.remove(&id);
        if removed.is_some_and(|subscription| subscription.is_ready) {
            self.ready.retain(|ready| *ready != id);
        }
    }
}

#[cfg(test)]
impl Subscriptions {
    /// Counts everything again.
    pub(super) fn check_invariants(&self) {
        let all = || self.table.values();
        let unwindowed = all().filter(|subscription| subscription.options.window == 0);
        let bytes: usize = unwindowed.map(|subscription| subscription.buffered().bytes).sum();
        assert_eq!(self.unwindowed_bytes, bytes);
        let ready = all().filter(|subscription| subscription.is_ready).count();
        assert_eq!(self.ready.len(), ready, "each stands in the queue once, and nothing else does");
    }
}

//! What happens when nobody asks: memory of dead records, keys and silent producers is freed, and a stopping broker
//! says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::Broker;
use crate::effects::{Effects, Turn};
use crate::id::{SessionId, SubKey, TopicId};
use zaichik_proto::Timestamp;

/// Topics, subscriptions and producers that one call looks at, and sessions that it tells of a stop, at most of each.
const STEPS_PER_CALL: usize = 64;

/// Nobody asks, so nobody is exempt from being woken: an id that no session has.
const NOBODY: SessionId = SessionId::new(u64::MAX, u32::MAX);

/// When retired allocations are looked at again, in microseconds.
const SWEEP_EVERY: u64 = 100_000;

/// What is to be done, and when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    pub(super) topics: Deadlines<TopicId>,
    pub(super) subscriptions: Deadlines<SubKey>,
    /// The next session slot to be told that the broker stops.
    announce: Option<usize>,
    /// When retired allocations are looked at.
    sweep_at: Option<Timestamp>,
    /// The deadline that the caller knows of.
    told: Option<Timestamp>,
}

/// When things of one kind are due: an entry for each that is some time. One that the thing itself does not agree with
/// is stale.
#[derive(Debug)]
pub(super) struct Deadlines<K>(BinaryHeap<Reverse<(Timestamp, K)>>);

impl<K: Ord + Copy> Deadlines<K> {
    pub(super) fn schedule(&mut self, due: Timestamp, key: K) {
        self.0.push(Reverse((due, key)));
    }

    /// Whether so many entries are stale that the queue is to be made anew for `count` things.
    pub(super) fn is_stale(&self, count: usize) -> bool {
        self.0.len() > count.saturating_mul(2).saturating_add(64)
    }

    /// Makes the queue anew from what the things say.
    pub(super) fn rebuild(&mut self, due: impl Iterator<Item = (Timestamp, K)>) {
        self.0 = due.filter(|(due, _)| *due < Timestamp::MAX).map(Reverse).collect();
    }

    fn first(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        let first = self.0.peek_mut().filter(|first| first.0.0 <= now)?;
        Some(PeekMut::pop(first).0)
    }
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl Agenda {
    /// Allocations were retired: somebody has to look when they are free, also if nobody calls any more.
    pub(super) const fn schedule_sweep(&mut self, now: Timestamp) {
        if self.sweep_at.is_none() {
            self.sweep_at = Some(now.plus_micros(SWEEP_EVERY));
        }
    }

    /// Tells the caller if the next deadline moved nearer.
    pub(super) fn rearm(&mut self, next: Option<Timestamp>, effects: &mut Effects) {
        if next.is_some_and(|next| self.told.is_none_or(|told| next < told)) {
            effects.rearm();
            self.told = next;
        }
    }

    pub(super) const fn announce_stop(&mut self) {
        self.announce = Some(0);
    }

    fn next(&self) -> Option<Timestamp> {
        self.topics.first().into_iter().chain(self.subscriptions.first()).chain(self.sweep_at).min()
    }
}

impl Broker {
    /// When [`handle_timeout`](Self::handle_timeout) has something to do, if nothing else happens before;
    /// a time in the past means at once. O(1). May change with every call; [`Effects::take_rearm`] tells when it
    /// moved nearer.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let released = !self.rings.is_empty(self.throttled) && !self.is_pressed();
        if self.agenda.announce.is_some() || released || !self.rings.is_empty(self.woken) {
            return Some(self.now);
        }
        self.next_deadline()
    }

    /// Does what is due, in bounded steps. An early or repeated call changes nothing.
    pub fn handle_timeout(&mut self, now: Timestamp, effects: &mut Effects) -> Turn {
        let now = self.tick(now);
        self.announce_stop(effects);
        for _ in 0..STEPS_PER_CALL {
            let Some((due, id)) = self.agenda.topics.pop_due(now) else {
                break;
            };
            let Some(topic) = self.topics.get_mut(id.index()).filter(|topic| topic.due == due) else {
                continue;
            };
            topic.due = Timestamp::MAX;
            topic.housekeep(now, &mut self.retired);
            self.settle_topic(id);
        }
        for _ in 0..STEPS_PER_CALL {
            let Some((due, key)) = self.agenda.subscriptions.pop_due(now) else {
                break;
            };
            self.subscription_due(now, key, due, effects);
        }
        self.producers.forget_silent(now, STEPS_PER_CALL);
        self.retired.sweep();
        self.agenda.sweep_at = (!self.retired.is_empty()).then(|| now.plus_micros(SWEEP_EVERY));
        let _ = self.release_throttled(effects);
        let _ = self.hand_out_wakes(NOBODY, effects);
        // The caller asks for the next deadline anyway.
        self.agenda.told = self.next_deadline();
        match self.next_timeout() {
            Some(next) if next <= now => Turn::More,
            _ => Turn::Done,
        }
    }

    /// A delay of a subscription has passed, or nobody came back for it.
    fn subscription_due(&mut self, now: Timestamp, key: SubKey, due: Timestamp, effects: &mut Effects) {
        let found = self.subscriptions.get_mut(key.index());
        let Some(subscription) = found.filter(|subscription| subscription.due == due) else {
            return;
        };
        subscription.due = Timestamp::MAX;
        if subscription.due_at() > now {
            self.settle_subscription(key);
        } else if subscription.session.is_none() {
            self.remove_durable(now, key);
        } else {
            subscription.resume();
            self.make_ready(key, NOBODY, effects);
        }
    }

    /// Tells the caller if the next deadline moved nearer.
    pub(super) fn rearm(&mut self, effects: &mut Effects) {
        if !self.retired.is_empty() {
            self.agenda.schedule_sweep(self.now);
        }
        let next = self.next_deadline();
        self.agenda.rearm(next, effects);
    }

    /// When something is due by its time.
    fn next_deadline(&self) -> Option<Timestamp> {
        self.agenda.next().into_iter().chain(self.producers.next_forget()).min()
    }

    /// Memory is short: what this topic's subscriptions have committed is freed now rather than later.
    pub(super) fn reclaim_if_pressed(&mut self, now: Timestamp, id: TopicId) {
        if !self.is_pressed() {
            return;
        }
        if let Some(topic) = self.topics.get_mut(id.index()) {
            topic.housekeep(now, &mut self.retired);
            self.settle_topic(id);
        }
    }

    fn announce_stop(&mut self, effects: &mut Effects) {
        let Some(from) = self.agenda.announce else { return };
        let to = from.saturating_add(STEPS_PER_CALL);
        for slot in from..to {
            self.wake_slot(slot, effects);
        }
        self.agenda.announce = (to < self.sessions.capacity()).then_some(to);
    }
}

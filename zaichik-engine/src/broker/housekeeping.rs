//! What happens when nobody asks: memory of dead records, keys and silent producers is freed, and a stopping broker
//! says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Broker;
use crate::effects::{Effects, Turn};
use crate::id::TopicId;
use crate::time::Timestamp;

/// Topics that one call looks at, producers that it forgets, and sessions that it tells of a stop, at most.
const STEPS_PER_CALL: usize = 64;

/// When retired allocations are looked at again, in microseconds.
const SWEEP_EVERY: u64 = 100_000;

/// What is to be done, and when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// An entry for each topic that is due some time; one that the topic does not agree with is stale.
    topics: BinaryHeap<Reverse<(Timestamp, TopicId)>>,
    /// The next session slot to be told that the broker stops.
    announce: Option<usize>,
    /// When retired allocations are looked at.
    sweep_at: Option<Timestamp>,
    /// Whether something became due before everything else since the caller was told.
    moved_nearer: bool,
}

impl Agenda {
    /// A topic is due.
    pub(super) fn schedule(&mut self, due: Timestamp, topic: TopicId) {
        self.moved_nearer |= self.topics.peek().is_none_or(|Reverse((first, _))| due < *first);
        self.topics.push(Reverse((due, topic)));
    }

    /// Whether so many entries are stale that the queue is to be made anew.
    pub(super) fn is_stale(&self, topics: usize) -> bool {
        self.topics.len() > topics.saturating_mul(2).saturating_add(64)
    }

    /// Makes the queue anew from what the topics say.
    pub(super) fn rebuild(&mut self, due: impl Iterator<Item = (Timestamp, TopicId)>) {
        self.topics = due.filter(|(due, _)| *due < Timestamp::MAX).map(Reverse).collect();
    }

    /// Allocations were retired: somebody has to look when they are free, also if nobody calls any more.
    pub(super) const fn schedule_sweep(&mut self, now: Timestamp) {
        if self.sweep_at.is_none() {
            self.sweep_at = Some(now.plus_micros(SWEEP_EVERY));
            self.moved_nearer = true;
        }
    }

    /// Something else than a topic or a sweep became due before everything else.
    pub(super) const fn expect_nearer(&mut self) {
        self.moved_nearer = true;
    }

    /// Tells the caller if the next deadline moved nearer.
    pub(super) fn rearm(&mut self, effects: &mut Effects) {
        if core::mem::take(&mut self.moved_nearer) {
            effects.rearm();
        }
    }

    pub(super) const fn announce_stop(&mut self) {
        self.announce = Some(0);
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
        let topic = self.agenda.topics.peek().map(|Reverse((due, _))| *due);
        topic.into_iter().chain(self.agenda.sweep_at).chain(self.producers.next_forget()).min()
    }

    /// Does what is due, in bounded steps. An early or repeated call changes nothing.
    pub fn handle_timeout(&mut self, now: Timestamp, effects: &mut Effects) -> Turn {
        let now = self.tick(now);
        self.announce_stop(effects);
        for _ in 0..STEPS_PER_CALL {
            let Some(Reverse((due, id))) =
                self.agenda.topics.peek().copied().filter(|Reverse((due, _))| *due <= now)
            else {
                break;
            };
            self.agenda.topics.pop();
            let Some(topic) = self.topics.get_mut(id.index()).filter(|topic| topic.due == due) else {
                continue;
            };
            topic.due = Timestamp::MAX;
            topic.housekeep(now, &mut self.retired);
            self.settle_topic(id);
        }
        self.producers.forget_silent(now, STEPS_PER_CALL);
        self.retired.sweep();
        self.agenda.sweep_at = (!self.retired.is_empty()).then(|| now.plus_micros(SWEEP_EVERY));
        let _ = self.release_throttled(effects);
        // Nobody asks, so nobody is exempt from being woken: an id that no session has.
        let nobody = crate::id::SessionId::new(u64::MAX, u32::MAX);
        let _ = self.hand_out_wakes(nobody, effects);
        // The caller asks for the next deadline anyway.
        self.agenda.moved_nearer = false;
        match self.next_timeout() {
            Some(next) if next <= now => Turn::More,
            _ => Turn::Done,
        }
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

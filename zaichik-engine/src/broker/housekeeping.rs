//! Work done without a request: memory of dead records, keys and silent producers is freed, pauses end, and sessions
//! are notified that the broker is stopping.

use zaichik_proto::Timestamp;

use super::counters::Counters;
use super::producers::Producers;
use super::readers::Readers;
use super::sessions::Sessions;
use super::subscribing::Subscribing;
use super::subscriptions::Due;
use super::turns::Turns;
use super::wakes::{hand_out_wakes, release_waiting};
use crate::config::BrokerConfig;
use crate::effects::Effects;
use crate::id::{SessionId, SubKey};

/// Maximum number, of each kind, of topics, pauses and producers visited and sessions woken for a stop per call.
const VISITED_PER_CALL: u32 = 64;

/// An id that no session has: housekeeping exempts no session from being woken.
const NO_SESSION: SessionId = SessionId::new(u64::MAX, u32::MAX);

/// When retired allocations are visited again, in microseconds.
const SWEEP_EVERY: u64 = 100_000;

/// Housekeeping work other than the deadlines of topics, subscriptions and producers.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// The next session slot to wake because the broker is stopping.
    stop_announced_to: Option<u32>,
    /// When retired allocations are visited.
    sweep_at: Option<Timestamp>,
    /// The deadline that the caller knows.
    reported: Option<Timestamp>,
}

/// The deadlines of a broker, by what they are for; `Timestamp::MAX` for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextDeadlines {
    pub(super) topic_housekeeping: Timestamp,
    pub(super) pause_over: Timestamp,
    pub(super) subscription_expires: Timestamp,
    pub(super) producer_forgotten: Timestamp,
    pub(super) sweep: Timestamp,
}

impl NextDeadlines {
    #[inline]
    pub(super) fn earliest(self) -> Option<Timestamp> {
        let Self { topic_housekeeping, pause_over, subscription_expires, producer_forgotten, sweep } = self;
        // Without iterators: this is computed once per exchange.
        let tables = topic_housekeeping.min(pause_over).min(subscription_expires);
        let earliest = tables.min(producer_forgotten).min(sweep);
        (earliest < Timestamp::MAX).then_some(earliest)
    }
}

impl Agenda {
    /// Allocations were retired, or sessions wait for memory: schedules a visit, in case no further request arrives.
    pub(super) const fn schedule_sweep(&mut self, now: Timestamp) {
        if self.sweep_at.is_none() {
            self.sweep_at = Some(now.plus_micros(SWEEP_EVERY));
        }
    }

    /// When retired allocations are visited, or `Timestamp::MAX`.
    #[inline]
    pub(super) fn sweep_at(&self) -> Timestamp {
        self.sweep_at.unwrap_or(Timestamp::MAX)
    }

    /// Asks the caller to rearm its timer if the next deadline is earlier than the one it knows.
    pub(super) fn rearm(&mut self, next: Option<Timestamp>, effects: &mut Effects) {
        if next.is_some_and(|next| self.reported.is_none_or(|reported| next < reported)) {
            effects.rearm();
            self.reported = next;
        }
    }

    /// The caller asks for the next deadline anyway.
    pub(super) const fn reported(&mut self, next: Option<Timestamp>) {
        self.reported = next;
    }

    /// Every session must be notified that the broker is stopping.
    pub(super) const fn announce_stop(&mut self) {
        self.stop_announced_to = Some(0);
    }

    pub(super) const fn is_announcing_stop(&self) -> bool {
        self.stop_announced_to.is_some()
    }
}

/// The parts of the broker that housekeeping needs.
#[derive(Debug)]
pub(super) struct Housekeeping<'b> {
    pub(super) readers: Readers<'b>,
    pub(super) sessions: &'b mut Sessions,
    pub(super) producers: &'b mut Producers,
    pub(super) agenda: &'b mut Agenda,
    pub(super) config: &'b BrokerConfig,
    pub(super) counters: &'b mut Counters,
}

impl Housekeeping<'_> {
    /// Does a bounded amount of the work that is due.
    pub(super) fn run(mut self, effects: &mut Effects) {
        self.announce_stop(effects);
        let now = self.readers.now;
        self.readers.topics.housekeep(now, VISITED_PER_CALL as usize, self.readers.memory);
        // Before pauses: what a forgotten subscription kept may decide whether a dead letter has room.
        let _ = self.readers.end_expired();
        for _ in 0..VISITED_PER_CALL {
            let Some(due) = self.readers.subscriptions.pop_pause(now) else { break };
            self.readers.topics.spend(1);
            if let Due::Subscription(key) = due {
                self.pause_over(key, effects);
            }
        }
        let forgotten = self.producers.forget_silent(now, VISITED_PER_CALL as usize, self.readers.memory);
        self.readers.topics.spend(forgotten);
        self.readers.memory.retired().sweep();
        self.readers.topics.evict(now, self.readers.memory);
        let (has_retired, has_waiting) =
            (self.readers.memory.has_retired(), self.readers.readiness.has_waiting());
        let is_crowded = self.readers.memory.is_crowded();
        if has_waiting || is_crowded || self.readers.memory.is_pinned() {
            let Readers { memory, readiness, topics, .. } = &mut self.readers;
            topics.spend(self.sessions.make_room(now, memory, readiness, effects).into());
        }
        self.agenda.sweep_at =
            (has_retired || has_waiting || is_crowded).then(|| now.plus_micros(SWEEP_EVERY));
        let Readers { subscriptions, memory, readiness, topics, .. } = self.readers;
        let (released, _) = release_waiting(self.sessions, memory, readiness, effects);
        let turns = Turns { topics, subscriptions, sessions: self.sessions, readiness, asking: NO_SESSION };
        let (handed, _) = hand_out_wakes(turns, effects);
        topics.spend(released.saturating_add(handed));
    }

    /// A pause of a subscription is over.
    fn pause_over(&mut self, key: SubKey, effects: &mut Effects) {
        let subscription = &mut self.readers.subscriptions[key];
        if subscription.shared.is_some() {
            return self.subscribing().end_deadlines(key, NO_SESSION, effects);
        }
        // Without one there is no pause.
        let Some(holder) = subscription.holder() else { return };
        let was_stored = subscription.holds_off();
        subscription.resume();
        self.readers.readiness.push(holder.ready, subscription.node);
        if was_stored {
            self.readers.subscriptions.settle(key, self.readers.memory);
        }
        self.sessions.wake(holder.session, NO_SESSION, effects);
    }

    fn subscribing(&mut self) -> Subscribing<'_> {
        let Readers { now, topics, subscriptions, memory, readiness } = &mut self.readers;
        let readers = Readers { now: *now, topics, subscriptions, memory, readiness };
        Subscribing { config: self.config, sessions: self.sessions, readers, counters: self.counters }
    }

    /// Wakes sessions, which then learn that the broker is stopping.
    fn announce_stop(&mut self, effects: &mut Effects) {
        let Some(from) = self.agenda.stop_announced_to else { return };
        let to = from.saturating_add(VISITED_PER_CALL);
        for slot in from..to {
            self.sessions.wake_slot(slot, effects);
        }
        self.readers.topics.spend(VISITED_PER_CALL.into());
        self.agenda.stop_announced_to = (to < self.sessions.slots()).then_some(to);
    }
}

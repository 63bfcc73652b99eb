//! The sequence numbers of an idempotent producer (rule P3): which request has which, and when the next may be sent.
//!
//! The broker applies a producer's requests only in the order of their numbers. So the client sends them in
//! the order in which they were made, and when one is refused unapplied, so are all requests behind it. Then the client
//! sends nothing until all answers have arrived and the wait is over, and resends the requests with their numbers.

use core::time::Duration;
use std::collections::VecDeque;

use zaichik_proto::{Refusal, Timestamp, micros};

use crate::config::ProducerIdentity;

#[derive(Debug)]
pub(crate) struct Producer {
    identity: Option<ProducerIdentity>,
    /// The number of the next request that gets one.
    next_sequence: u64,
    /// Requests in flight, in the order of their numbers and answers, and when each was written.
    in_flight: VecDeque<(u32, Timestamp)>,
    hold: Option<Hold>,
    /// When the latest request whose number the broker used up was written: at least since then it knows this producer.
    known_at: Option<Timestamp>,
    /// The minimum time that the broker remembers the producer, in microseconds.
    memory_micros: u64,
    /// Until when requests that may have been applied may be resent.
    resend_until: Timestamp,
}

/// A request was refused unapplied: so will everything in flight behind it, and nothing is sent before `until`.
#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Timestamp,
    refusal: Refusal,
}

impl Producer {
    /// `memory` is the minimum time that the broker remembers the producer after it was last heard.
    pub(crate) fn new(identity: Option<ProducerIdentity>, memory: Duration) -> Self {
        Self {
            identity,
            next_sequence: identity.map_or(0, |identity| identity.first_sequence),
            in_flight: VecDeque::new(),
            hold: None,
            known_at: None,
            memory_micros: micros(memory),
            resend_until: Timestamp::MAX,
        }
    }

    pub(crate) const fn identity(&self) -> Option<ProducerIdentity> {
        self.identity
    }

    /// Whether a numbered request may be sent.
    ///
    /// A broker that does not know the producer accepts any number as its first one, and forgets the producer again if
    /// it refuses that request temporarily. It would then accept the next request in flight as the first one, out of
    /// order. So only one request is in flight until the broker knows the producer.
    pub(crate) fn may_send(&self, now: Timestamp) -> bool {
        // Half of the time, since bytes written now may take a while to arrive.
        let is_known = self.known_at.is_some_and(|at| now < at.plus_micros(self.memory_micros >> 1));
        self.hold.is_none() && (is_known || self.in_flight.is_empty())
    }

    /// Assigns a number; `None` when all are used up.
    pub(crate) fn assign(&mut self) -> Option<u64> {
        // The last number stays unused: its successor would wrap around.
        let after = self.next_sequence.checked_add(1)?;
        Some(core::mem::replace(&mut self.next_sequence, after))
    }

    /// The request was written.
    pub(crate) fn sent(&mut self, wire: u32, now: Timestamp) {
        self.in_flight.push_back((wire, now));
    }

    /// The request was answered. Returns when it was written; `None` if another answer was due first.
    pub(crate) fn answered(&mut self, wire: u32) -> Option<Timestamp> {
        let (_, written_at) = self.in_flight.pop_front_if(|(first, _)| *first == wire)?;
        Some(written_at)
    }

    /// A number is used up by a request that was first written at `written_at`, if that is known.
    pub(crate) fn used(&mut self, written_at: Option<Timestamp>) {
        self.known_at = written_at.or(self.known_at);
    }

    /// A request that was written at `written_at` was not applied, and neither are those behind it.
    pub(crate) fn hold(&mut self, now: Timestamp, written_at: Timestamp, refusal: Refusal) {
        self.hold.get_or_insert(Hold { until: now, refusal });
        // The broker heard the producer when it refused the request, and remembers it from then on.
        self.resend_until = self.resend_until.max(written_at.plus_micros(self.memory_micros));
    }

    /// Sends nothing before `until`, because of this refusal.
    pub(crate) fn hold_until(&mut self, until: Timestamp, refusal: Refusal) {
        let until = self.hold.map_or(until, |hold| hold.until.max(until));
        self.hold = Some(Hold { until, refusal });
    }

    /// Ends the hold if it is time.
    pub(crate) fn release(&mut self, now: Timestamp) {
        if self.in_flight.is_empty() && self.hold.is_some_and(|hold| hold.until <= now) {
            self.hold = None;
        }
    }

    /// When [`release`](Self::release) ends the hold without another answer.
    pub(crate) fn hold_timer(&self) -> Option<Timestamp> {
        self.hold.filter(|_| self.in_flight.is_empty()).map(|hold| hold.until)
    }

    /// The refusal because of which nothing is sent.
    pub(crate) fn held_by(&self) -> Option<Refusal> {
        self.hold.map(|hold| hold.refusal)
    }

    /// The connection is gone, and nothing is in flight. `given_back` is the smallest number that certainly never
    /// reaches the broker, like all higher ones.
    pub(crate) fn connection_lost(&mut self, given_back: Option<u64>) {
        self.in_flight.clear();
        if let Some(sequence) = given_back {
            self.next_sequence = sequence;
        }
    }

    /// The client is closed.
    pub(crate) const fn close(&mut self) {
        self.hold = None;
    }

    /// Assigns numbers to the next `count` requests; returns the first one.
    pub(crate) const fn assign_all(&mut self, count: u64) -> u64 {
        let first = self.next_sequence;
        self.next_sequence = first.saturating_add(count);
        first
    }

    /// The broker does not know this producer.
    pub(crate) const fn forget(&mut self) {
        self.known_at = None;
    }

    /// Sets when the broker was last heard on a lost connection, if no request of an earlier one is unanswered.
    pub(crate) fn last_heard(&mut self, at: Timestamp) {
        self.resend_until = at.plus_micros(self.memory_micros);
    }

    pub(crate) const fn resend_until(&self) -> Timestamp {
        self.resend_until
    }
}

#[cfg(test)]
impl Producer {
    pub(crate) fn in_flight(&self) -> Vec<u32> {
        self.in_flight.iter().map(|(wire, _)| *wire).collect()
    }

    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }
}

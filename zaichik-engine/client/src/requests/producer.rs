//! The numbers of an idempotent producer's requests (semantics P3): who has which, and when the next may go out.
//!
//! The broker takes the requests of a producer in the order of their numbers and in no other. So the client sends
//! them in the order in which they were made, and when one comes back unapplied, everything behind it does too:
//! nothing is sent then until all answers are there and the wait is over, and the numbers are given anew.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use zaichik_proto::{Refusal, micros};

use crate::config::ProducerIdentity;
use crate::planted::{Defect, is_planted};
use zaichik_proto::Timestamp;

#[derive(Debug)]
pub(crate) struct Producer {
    identity: Option<ProducerIdentity>,
    /// The number that the next request gets which has none.
    next_sequence: u64,
    /// Requests that the broker has to answer next, in the order of their numbers, and when each was written.
    in_flight: VecDeque<(u32, Timestamp)>,
    /// Requests that were sent before and go out again, by the order in which they were made.
    returned: BTreeMap<u64, u32>,
    hold: Option<Hold>,
    /// When a request was written whose number the broker used up: it knows this producer since then at the latest.
    known_at: Option<Timestamp>,
    /// How long the broker is sure to know it, in microseconds.
    memory_micros: u64,
    /// Until when requests that may have been applied are worth sending again.
    resend_until: Timestamp,
}

/// A request came back unapplied: everything in flight behind it will too, and nothing goes out before `until`.
#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Timestamp,
    refusal: Refusal,
}

impl Producer {
    /// `memory` is how long after it was last heard the broker is sure to know the producer.
    pub(crate) fn new(identity: Option<ProducerIdentity>, memory: Duration) -> Self {
        Self {
            identity,
            next_sequence: identity.map_or(0, |identity| identity.first_sequence),
            in_flight: VecDeque::new(),
            returned: BTreeMap::new(),
            hold: None,
            known_at: None,
            memory_micros: micros(memory),
            resend_until: Timestamp::MAX,
        }
    }

    pub(crate) const fn identity(&self) -> Option<ProducerIdentity> {
        self.identity
    }

    /// Whether a numbered request may go out.
    ///
    /// A broker that does not know the producer takes any number as its first one, and forgets it again when it
    /// refuses that for the moment. Then the next one in flight would be taken as the first one, before its turn: so
    /// only one is sent until the broker knows the producer.
    pub(crate) fn may_send(&self, now: Timestamp) -> bool {
        // Half of the time, since what is written now may take a while.
        let is_known = self.known_at.is_some_and(|at| now < at.plus_micros(self.memory_micros >> 1));
        self.hold.is_none() && (is_known || self.in_flight.is_empty())
    }

    /// Gives out a number; `None` when all are used up.
    pub(crate) fn assign(&mut self) -> Option<u64> {
        // The last number stays unused: the one after it could not be told from it.
        let after = self.next_sequence.checked_add(1)?;
        Some(core::mem::replace(&mut self.next_sequence, after))
    }

    /// The request was written.
    pub(crate) fn sent(&mut self, wire: u32, now: Timestamp) {
        self.in_flight.push_back((wire, now));
    }

    /// The request was answered. Returns when it was written; `None` if it was not its turn.
    pub(crate) fn answered(&mut self, wire: u32) -> Option<Timestamp> {
        let (_, written_at) = self.in_flight.pop_front_if(|(first, _)| *first == wire)?;
        Some(written_at)
    }

    /// A number is used up, by a request that was written first at that moment, if that is known.
    pub(crate) fn used(&mut self, sequence: u64, written_at: Option<Timestamp>) {
        self.known_at = written_at.or(self.known_at);
        if self.hold.is_some() {
            // Against the rule: what came back behind a refusal was applied all the same.
            self.next_sequence = sequence.saturating_add(1);
        }
    }

    /// A request was not applied: its number, or the one that the broker expects, is the next to be given out.
    ///
    /// Returns whether it is the first one, so that those behind it come back too.
    pub(crate) fn hold(&mut self, now: Timestamp, next_sequence: Option<u64>, refusal: Refusal) -> bool {
        let is_first = self.hold.is_none();
        self.hold.get_or_insert(Hold { until: now, refusal });
        if let Some(next) = next_sequence {
            self.next_sequence = next;
        }
        is_first
    }

    /// Nothing goes out before `until`, because of that refusal.
    pub(crate) fn wait(&mut self, until: Timestamp, refusal: Refusal) {
        let until = self.hold.map_or(until, |hold| hold.until.max(until));
        self.hold = Some(Hold { until, refusal });
    }

    /// Ends the hold if it is time.
    pub(crate) fn release(&mut self, now: Timestamp) {
        if self.in_flight.is_empty() && self.hold.is_some_and(|hold| hold.until <= now) {
            self.hold = None;
        }
    }

    /// When [`release`](Self::release) will have something to do by itself.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        self.hold.filter(|_| self.in_flight.is_empty()).map(|hold| hold.until)
    }

    /// Why nothing goes out, if something that came back is the reason.
    pub(crate) fn held_by(&self) -> Option<Refusal> {
        self.hold.map(|hold| hold.refusal)
    }

    /// The connection is gone: nothing is in flight or waits. `given_back` is the smallest number that certainly did not
    /// reach the broker.
    pub(crate) fn link_lost(&mut self, given_back: Option<u64>) {
        self.in_flight.clear();
        self.returned.clear();
        if let Some(sequence) = given_back.filter(|_| self.hold.is_none()) {
            self.next_sequence = sequence;
        }
    }

    /// The client is over.
    pub(crate) const fn close(&mut self) {
        self.hold = None;
    }

    /// The broker does not know this producer.
    pub(crate) const fn forget(&mut self) {
        self.known_at = None;
    }

    pub(crate) fn put_back(&mut self, order: u64, wire: u32) {
        self.returned.insert(order, wire);
    }

    pub(crate) fn take_back(&mut self, order: u64) {
        self.returned.remove(&order);
    }

    pub(crate) fn first_returned(&self) -> Option<u32> {
        if is_planted(Defect::ResendReversed) {
            return self.returned.last_key_value().map(|(_, wire)| *wire);
        }
        self.returned.first_key_value().map(|(_, wire)| *wire)
    }

    /// Those that go out again, in the order made.
    pub(crate) fn returned(&self) -> Vec<u32> {
        self.returned.values().copied().collect()
    }

    /// The broker was heard for the last time on a connection that is gone, and nothing is left of one before it.
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

    pub(crate) const fn waiting(&self) -> &BTreeMap<u64, u32> {
        &self.returned
    }

    pub(crate) const fn is_holding(&self) -> bool {
        self.hold.is_some()
    }

    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }
}

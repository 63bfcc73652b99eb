//! The effect of a lost connection on requests, and which of them the next connection may carry (rules P4, P5).

use core::mem;
use std::sync::Arc;

use zaichik_proto::Timestamp;

use super::request::{Fill, LostRequest, Progress, Reason, RequestKind};
use super::{Requests, is_numbered};
use crate::error::RequestError;
use crate::planted::{Defect, is_planted};

impl Requests {
    /// The connection is gone, and only the bytes before `taken` were sent: empties the queue.
    ///
    /// Returns all requests in the order in which they were made; the caller answers, removes or queues each of them,
    /// or leaves it to its timer.
    pub(crate) fn connection_lost(&mut self, taken: u64) -> Vec<LostRequest> {
        self.publishes.clear();
        self.queue.clear();
        self.uncertain = 0;
        let mut highest = None;
        let mut lost = Vec::with_capacity(self.table.len());
        for request in self.table.iter_mut() {
            let progress = mem::replace(&mut request.progress, Progress::Waiting);
            let has_left = matches!(progress, Progress::Sent { end } if end <= taken);
            let is_waiting = progress == Progress::Waiting;
            lost.push((request.order, LostRequest { wire: request.wire, has_left, is_waiting }));
            if request.sequence.is_none() {
                continue;
            }
            request.is_bound |= has_left;
            // Nothing is to be learned from the answer to an empty batch whose original was answered.
            let is_settled = matches!(request.kind, RequestKind::Fill(_)) && request.id.is_none();
            request.may_be_applied |= has_left && !is_settled;
            self.uncertain = self.uncertain.saturating_add(usize::from(request.may_be_applied));
            if request.is_bound {
                highest = highest.max(request.sequence);
            }
        }
        let given_back = self.give_back(highest);
        self.ahead = self.table.iter().filter(|request| request.is_ahead()).count();
        self.producer.connection_lost(given_back);
        lost.sort_unstable_by_key(|(order, _)| *order);
        lost.into_iter().map(|(_, lost)| lost).collect()
    }

    /// Decides about a producer's request that lost its connection, for good if `is_over`; returns `false` for any
    /// other request.
    pub(crate) fn numbered_lost(&mut self, wire: u32, is_over: bool) -> bool {
        let Some(request) = self.table.get_mut(wire) else {
            return false;
        };
        let (RequestKind::Publish(state) | RequestKind::Batch(state) | RequestKind::Fill(Fill { state, .. })) =
            request.kind
        else {
            return false;
        };
        if !is_numbered(&self.producer, request) {
            return false;
        }
        let is_wanted = request.id.is_some();
        let topic = Arc::clone(&request.topic);
        if request.may_be_applied {
            if is_over {
                self.answer(wire, Err(RequestError::Unknown { topic }));
            } else if !is_planted(Defect::ResendForgotten) {
                if is_wanted && request.names_aliases() {
                    // An empty batch asks what became of it.
                    self.fill(wire, Reason::NotApplied);
                }
                self.resend_number(wire, is_wanted);
            }
            return true;
        }
        let error = match state.refusal {
            _ if !is_wanted => None,
            Some(refusal) if is_over => Some(RequestError::Refused { topic, refusal }),
            None if is_over => Some(RequestError::Closed),
            // The deliveries that it commits are gone with the connection.
            _ if request.has_commits() => Some(RequestError::NotApplied { topic }),
            _ => None,
        };
        if request.sequence.is_none() || is_over {
            match error {
                Some(error) => self.answer(wire, Err(error)),
                None if is_wanted => self.requeue(wire),
                None => drop(self.remove(wire)),
            }
            return true;
        }
        let is_wanted = is_wanted && error.is_none();
        if let Some(error) = error {
            self.answer_early(wire, Err(error));
        }
        self.resend_number(wire, is_wanted);
        true
    }

    /// Queues a request that keeps its number, or if it is no longer wanted an empty batch.
    fn resend_number(&mut self, wire: u32, is_wanted: bool) {
        if !is_wanted {
            self.fill(wire, Reason::NotSent);
        }
        if let Some(request) = self.table.get_mut(wire) {
            self.queue.push_again(request);
        }
    }

    /// Takes back the numbers above `highest`, which certainly never reach the broker; returns the smallest one.
    fn give_back(&mut self, highest: Option<u64>) -> Option<u64> {
        let mut least = None;
        for request in self.table.iter_mut() {
            if request.sequence > highest {
                let sequence = request.sequence.take();
                least = if least.is_none() { sequence } else { least.min(sequence) };
            }
        }
        least
    }

    /// The connection that is gone was last heard at `at`.
    pub(crate) fn connection_heard_until(&mut self, at: Timestamp) {
        if self.uncertain == 0 {
            self.producer.last_heard(at);
        }
    }

    /// Until when the requests that may have been applied on a lost connection must be resent; `None` if all of them
    /// were sent with the bytes before `taken`.
    pub(crate) fn resend_timer(&self, taken: u64) -> Option<Timestamp> {
        let is_unsent = self.uncertain > 0 && (self.queue.has_again() || self.resent_end > taken);
        is_unsent.then(|| self.producer.resend_until())
    }

    /// The handshake with a broker is complete.
    pub(crate) fn connected(&mut self, same_instance: bool, now: Timestamp) {
        if !same_instance {
            self.producer.forget();
            for wire in self.uncertain() {
                self.give_up(wire);
            }
            self.renumber();
        } else if self.producer.resend_until() <= now {
            self.give_up_uncertain();
        }
    }

    /// Publishes and batches that an earlier connection may have carried to the broker are not resent; empty batches take
    /// their places.
    pub(crate) fn give_up_uncertain(&mut self) {
        for wire in self.uncertain() {
            let Some(request) = self.table.get_mut(wire) else {
                continue;
            };
            let topic = Arc::clone(&request.topic);
            self.settled.extend(request.committed_subscriptions());
            (request.may_be_applied, request.operations) = (false, None);
            self.uncertain = self.uncertain.saturating_sub(1);
            self.answer_early(wire, Err(RequestError::Unknown { topic }));
            self.fill(wire, Reason::NotSent);
        }
    }

    /// The requests that may have been applied on a connection that is gone, in the order in which they were made.
    fn uncertain(&self) -> Vec<u32> {
        if self.uncertain == 0 {
            return Vec::new();
        }
        let uncertain = self.table.iter().filter(|request| request.may_be_applied);
        let mut uncertain: Vec<_> = uncertain.map(|request| (request.order, request.wire)).collect();
        uncertain.sort_unstable();
        uncertain.into_iter().map(|(_, wire)| wire).collect()
    }

    /// The client is closed, and every request is answered.
    pub(crate) const fn close(&mut self) {
        self.producer.close();
    }
}

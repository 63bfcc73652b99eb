//! The effect of a lost connection on requests, and which of them the next connection may carry (rules P4, P5).

use core::mem;
use std::sync::Arc;

use zaichik_proto::Timestamp;

use super::request::{LostRequest, Progress, RequestKind};
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
        // Requests behind one that was refused unapplied are not applied.
        let is_holding = self.producer.held_by().is_some();
        let mut given_back = None;
        let mut lost = Vec::with_capacity(self.table.len());
        for request in self.table.iter_mut() {
            let progress = mem::replace(&mut request.progress, Progress::Waiting);
            let has_left = matches!(progress, Progress::Sent { end } if end <= taken);
            let is_waiting = progress == Progress::Waiting;
            lost.push((request.order, LostRequest { wire: request.wire, has_left, is_waiting }));
            let Some(sequence) = request.sequence else {
                continue;
            };
            request.may_be_applied = (request.may_be_applied || has_left) && !is_holding;
            if request.may_be_applied {
                self.uncertain = self.uncertain.saturating_add(1);
            } else {
                request.sequence = None;
                given_back = Some(given_back.map_or(sequence, |least: u64| least.min(sequence)));
            }
        }
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
        let (RequestKind::Publish(state) | RequestKind::Batch(state)) = request.kind else {
            return false;
        };
        if !is_numbered(&self.producer, request) {
            return false;
        }
        let topic = Arc::clone(&request.topic);
        let error = match (request.may_be_applied, state.refusal) {
            (true, _) if !is_over => {
                if !is_planted(Defect::ResendForgotten) {
                    self.queue.push_again(request);
                }
                return true;
            }
            (true, _) => RequestError::Unknown { topic },
            (false, _) if request.id.is_none() => {
                self.remove(wire);
                return true;
            }
            (false, Some(refusal)) if is_over => RequestError::Refused { topic, refusal },
            (false, None) if is_over => RequestError::Closed,
            // The deliveries that it commits are gone with the connection.
            (false, _) if request.has_commits() => RequestError::NotApplied { topic },
            (false, _) => {
                self.requeue(wire);
                return true;
            }
        };
        self.answer(wire, Err(error));
        true
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
        }
        if !same_instance || self.producer.resend_until() <= now {
            self.give_up_uncertain();
        }
    }

    /// Publishes and batches that an earlier connection may have carried to the broker are not resent.
    pub(crate) fn give_up_uncertain(&mut self) {
        if self.uncertain == 0 {
            return;
        }
        let uncertain = self.table.iter().filter(|request| request.may_be_applied);
        let mut uncertain: Vec<_> = uncertain.map(|request| (request.order, request.wire)).collect();
        uncertain.sort_unstable();
        for (_, wire) in uncertain {
            self.give_up(wire);
        }
    }

    /// The client is closed, and every request is answered.
    pub(crate) const fn close(&mut self) {
        self.producer.close();
    }
}

//! Requests on their way from the queue to the output.

use std::sync::Arc;

use zaichik_proto::{Limits, Refusal, RefusalCode, Timestamp};

use super::filling::write_empty_batch;
use super::request::{Progress, Reason, RequestKind};
use super::{Requests, is_numbered, is_ordered};
use crate::error::RequestError;
use crate::outbound::Outbound;

impl Requests {
    /// Writes the next request that may be sent to the output; `false` if there is none.
    pub(crate) fn write_next(
        &mut self,
        outbound: &mut Outbound,
        (limits, capabilities): (&Limits, u64),
        now: Timestamp,
    ) -> bool {
        let has_number_left = self.ahead.saturating_add(self.given_up) < self.max_numbers;
        let next = self.queue.next(&self.table, |request| {
            // Without a number the broker could not put it in order.
            if request.is_quiet_publish() {
                return self.ahead == 0;
            }
            self.producer.may_send(now) && (request.sequence.is_some() || has_number_left)
        });
        let Some(request) = next.and_then(|wire| self.table.get_mut(wire)) else {
            return false;
        };
        let is_numbered = is_numbered(&self.producer, request);
        // It may have been made before it was known what this broker takes.
        if let Err(error) = request.check(limits, capabilities) {
            let wire = request.wire;
            self.unsendable(wire, error, limits);
            return true;
        }
        if is_numbered && request.sequence.is_none() {
            request.sequence = self.producer.assign();
            self.ahead = self.ahead.saturating_add(usize::from(request.is_ahead()));
            if request.sequence.is_none() {
                let wire = request.wire;
                self.unsendable(wire, RequestError::SequencesExhausted, limits);
                return true;
            }
        }
        outbound.frame(|out| match (request.kind, self.producer.identity(), request.sequence) {
            (RequestKind::Fill(_), Some(identity), Some(sequence)) => {
                write_empty_batch(request.wire, identity, sequence, out);
            }
            _ => request.write(out),
        });
        let end = outbound.taken().saturating_add(outbound.len() as u64);
        self.queue.leave(request);
        request.progress = Progress::Sent { end };
        if request.may_be_applied {
            self.resent_end = end;
        }
        let (wire, kind) = (request.wire, request.kind);
        if is_numbered {
            self.producer.sent(wire, now);
        }
        if let RequestKind::Publish(_) = kind {
            self.publishes.push_back(wire);
        } else if let RequestKind::QuietPublish(_) = kind {
            self.remove(wire);
        }
        self.queue.compact(&self.table);
        true
    }

    /// Puts a request behind all others that wait for the connection.
    pub(crate) fn requeue(&mut self, wire: u32) {
        if let Some(request) = self.table.get_mut(wire) {
            self.queue.push(request, is_ordered(&self.producer, request));
        }
    }

    /// Puts queued requests before all others that wait for the connection.
    pub(crate) fn send_first(&mut self, wires: &[u32]) {
        for wire in wires.iter().rev() {
            if let Some(request) = self.table.get_mut(*wire) {
                self.queue.move_to_front(request);
            }
        }
    }

    /// Ends the producer's hold if it is time.
    pub(crate) fn release_hold(&mut self, now: Timestamp) {
        self.producer.release(now);
    }

    /// The request can't be sent to this broker.
    fn unsendable(&mut self, wire: u32, error: RequestError, limits: &Limits) {
        let Some(request) = self.table.get(wire) else {
            return;
        };
        let error = if request.may_be_applied {
            RequestError::Unknown { topic: Arc::clone(&request.topic) }
        } else {
            error
        };
        let has_number = request.sequence.is_some();
        if let RequestKind::QuietPublish(_) = request.kind {
            let limit = u64::from(limits.max_message);
            self.count_refused(1, Refusal::with_value(RefusalCode::TooLarge, limit));
        }
        if !has_number {
            return self.finish(wire, Err(error));
        }
        self.answer_early(wire, Err(error));
        self.fill(wire, Reason::NotSent);
    }
}

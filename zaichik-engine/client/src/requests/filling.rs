//! Numbers of requests that were given up (rule P4).
//!
//! Bytes of a connection that is gone may reach the broker at any time later, so a number that it carried is never used
//! for another request. An empty batch uses it up instead: then the original is never stored, or the answer tells what
//! became of it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{AckLevel, Batch, Batched, ClientFrame, OperationsBuilder, Producer, Timestamp};

use super::request::{Fill, Original, Progress, PublishState, Reason, Request, RequestKind};
use super::{Requests, is_numbered};
use crate::answer::{Answer, PublishReceipt};
use crate::config::ProducerIdentity;
use crate::error::{RequestError, Violation};
use crate::size::Size;

/// Maximum missing numbers that are filled at a time.
const MAX_MISSING: u64 = 1_024;

impl Requests {
    /// Gives up a publish or batch that is not in flight. Its answer is `reason`, unless it may have been applied: then
    /// the answer to the empty batch in its place decides.
    pub(super) fn abandon(&mut self, wire: u32, reason: Reason) {
        let Some(request) = self.table.get(wire) else {
            return;
        };
        if request.sequence.is_none() {
            let error = reason.error(request);
            return self.finish(wire, Err(error));
        }
        if !request.may_be_applied {
            let error = reason.error(request);
            self.answer_early(wire, Err(error));
        }
        self.fill(wire, reason);
    }

    /// Puts an empty batch in the place of a publish or batch that is not in flight, if its number requires it.
    pub(super) fn fill(&mut self, wire: u32, reason: Reason) {
        let Some(request) = self.table.get_mut(wire).filter(|request| request.sequence.is_some()) else {
            return;
        };
        let Some((state, of)) = request.kind.original() else {
            return;
        };
        let was_queued = self.queue.leave(request);
        // Nothing else depends on what became of a request without commits whose answer is no longer awaited.
        if request.may_be_applied && request.id.is_none() && !request.has_commits() {
            request.may_be_applied = false;
            self.uncertain = self.uncertain.saturating_sub(1);
        }
        if !request.may_be_applied {
            request.operations = None;
        }
        request.kind = RequestKind::Fill(Fill { state, of, reason });
        self.given_up = self.given_up.saturating_add(usize::from(request.is_given_up()));
        self.kept_bytes = self.kept_bytes.saturating_sub(request.frame.len());
        request.frame = Bytes::new();
        if was_queued {
            request.progress = Progress::Waiting;
            self.queue.push_again(request);
        }
    }

    /// The broker misses numbers from `expected` on that no request has: fills them.
    pub(super) fn fill_missing(&mut self, expected: u64) {
        let lowest = self.table.iter().filter_map(|request| request.sequence).min();
        let missing = lowest.unwrap_or(expected).saturating_sub(expected);
        if missing > MAX_MISSING {
            return;
        }
        for sequence in (expected..).take(usize::try_from(missing).unwrap_or(0)) {
            let order = self.next_id().0;
            let state = PublishState::new(Size::default());
            let fill = Fill { state, of: Original::Publish, reason: Reason::NotSent };
            let request = self.table.insert(|wire| Request {
                wire,
                id: None,
                order,
                place: 0,
                topic: Arc::default(),
                kind: RequestKind::Fill(fill),
                progress: Progress::Waiting,
                frame: Bytes::new(),
                sequence: Some(sequence),
                is_bound: false,
                may_be_applied: false,
                operations: None,
                timer: Timestamp::MAX,
                deadline: Timestamp::MAX,
            });
            self.given_up = self.given_up.saturating_add(1);
            self.queue.push_again(request);
        }
    }

    /// What the answer to an empty batch says about the original: `None` if it certainly was not applied, otherwise
    /// whether the answer is the original's.
    pub(crate) fn original(&self, wire: u32, fill: Fill, batched: &Batched<'_>) -> Option<bool> {
        let has_publishes = self.get(wire).is_some_and(Request::has_publishes);
        match fill.of {
            _ if batched.repeated == Some(false) => None,
            // The answer to a publish is none of a batch, so this is an earlier answer to the empty batch.
            Original::Publish => None,
            Original::Batch if has_publishes && batched.results.is_empty() => None,
            Original::Batch => Some(has_publishes),
        }
    }

    /// An empty batch used up the number of a request, which was not applied.
    pub(crate) fn filled(&mut self, wire: u32, fill: Fill) {
        if let Some(request) = self.table.get(wire) {
            let error = fill.reason.error(request);
            self.finish(wire, Err(error));
        }
    }

    /// The answer to an empty batch is that of the publish whose number it has.
    pub(crate) fn was_published(&mut self, wire: u32, receipt: PublishReceipt) -> Result<(), Violation> {
        if !receipt.is_consistent() {
            return Err(Violation::Offsets { request: wire });
        }
        self.sequence_used(wire)?;
        self.finish(wire, Ok(Answer::Published(receipt)));
        Ok(())
    }

    /// Another instance knows no number, and nothing that was sent can reach it: forgets the empty batches, and numbers
    /// the other requests anew, in their order.
    pub(super) fn renumber(&mut self) {
        let again = self.queue.again();
        let is_wanted = |wire: &u32| self.table.get(*wire).is_some_and(|request| request.id.is_some());
        let (kept, dropped): (Vec<_>, Vec<_>) = again.into_iter().partition(is_wanted);
        for wire in dropped {
            self.remove(wire);
        }
        let first = self.producer.assign_all(kept.len() as u64);
        for (wire, sequence) in kept.into_iter().zip(first..) {
            if let Some(request) = self.table.get_mut(wire) {
                self.queue.leave(request);
                (request.sequence, request.is_bound) = (Some(sequence), false);
                request.progress = Progress::Waiting;
                self.queue.push_again(request);
            }
        }
    }

    /// An answer that is no longer awaited, or not yet known: the request is not in flight, and its number is filled.
    pub(crate) fn fill_unless_sent(&mut self, wire: u32) {
        let is_waiting = self
            .table
            .get(wire)
            .is_some_and(|request| !request.is_sent() && is_numbered(&self.producer, request));
        if is_waiting {
            self.fill(wire, Reason::NotSent);
        }
    }
}

impl Reason {
    /// The answer to the application.
    pub(super) fn error(self, request: &Request) -> RequestError {
        let topic = Arc::clone(&request.topic);
        match self {
            Self::Refused(refusal) => {
                RequestError::Refused { topic: request.topic_of(refusal.operation), refusal }
            }
            Self::HeldBack(refusal) => RequestError::HeldBack { topic, refusal },
            Self::NotApplied => RequestError::NotApplied { topic },
            Self::NotSent => RequestError::NotSent { topic },
        }
    }
}

/// Appends an empty batch that uses up the number of a request.
pub(super) fn write_empty_batch(request: u32, identity: ProducerIdentity, sequence: u64, out: &mut BytesMut) {
    let producer = Some(Producer { id: identity.id, epoch: identity.epoch, sequence });
    let empty = OperationsBuilder::default();
    let batch = Batch { request, ack: AckLevel::Accepted, producer, operations: empty.operations() };
    ClientFrame::Batch(batch).encode(out);
}

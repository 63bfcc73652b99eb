//! The outcomes of publishes and batches (rules P1 to P4): accepted, refused, resent, or given up.

use std::sync::Arc;

use zaichik_proto::{Refusal, RefusalCode, Timestamp};

use super::request::{PublishState, Reason, Request, RequestKind};
use super::{Requests, is_numbered};
use crate::answer::{Answer, PublishReceipt};
use crate::error::{RequestError, Violation};

impl Requests {
    /// The publish whose answer is due next.
    pub(crate) fn first_publish(&self) -> Option<u32> {
        self.publishes.front().copied()
    }

    /// The number of records of a publish whose answer is due next.
    pub(crate) fn records_of_first_publish(&self, wire: u32) -> Result<u32, Violation> {
        let RequestKind::Publish(publish) = self.sent_kind(wire)? else {
            return Err(Violation::Answer { request: wire });
        };
        if self.first_publish() != Some(wire) {
            return Err(Violation::Answer { request: wire });
        }
        Ok(publish.size.records)
    }

    /// The broker accepted the publish whose answer is due next.
    pub(crate) fn publish_accepted(&mut self, wire: u32, receipt: PublishReceipt) -> Result<(), Violation> {
        if !receipt.is_consistent() {
            return Err(Violation::Offsets { request: wire });
        }
        self.sequence_used(wire)?;
        self.publishes.pop_front();
        self.answer(wire, Ok(Answer::Published(receipt)));
        Ok(())
    }

    /// The broker refused a publish or a batch.
    pub(crate) fn publish_refused(
        &mut self,
        wire: u32,
        state: PublishState,
        refusal: Refusal,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let request = self.sent(wire)?;
        let sequence = request.sequence;
        if let RequestKind::Publish(_) = request.kind {
            self.records_of_first_publish(wire)?;
            self.publishes.pop_front();
        }
        if let Some(sequence) = sequence {
            return self.numbered_refused(wire, sequence, state, refusal, now);
        }
        if !(refusal.code.is_retryable() && self.retry_publish(wire, state, refusal, now)) {
            self.finish_refused(wire, refusal);
        }
        Ok(())
    }

    /// Answers a publish or a batch for good; subscriptions that waited for its outcome may resume.
    pub(crate) fn finish(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        let uncertain = self.table.get(wire).filter(|request| request.may_be_applied);
        self.settled.extend(uncertain.into_iter().flat_map(Request::committed_subscriptions));
        self.answer(wire, result);
    }

    /// A request was answered, which used up its sequence number, if it has one.
    pub(crate) fn sequence_used(&mut self, wire: u32) -> Result<(), Violation> {
        let request = self.sent(wire)?;
        let may_be_repeated = request.may_be_applied;
        if request.sequence.is_some() {
            let written_at = self.producer.answered(wire).ok_or(Violation::Answer { request: wire })?;
            // A repeated answer does not show how long the broker will remember the producer.
            self.producer.used(Some(written_at).filter(|_| !may_be_repeated));
        }
        Ok(())
    }

    /// A producer's request was refused: for good, which uses up its number, or temporarily, and then it was not
    /// applied.
    fn numbered_refused(
        &mut self,
        wire: u32,
        sequence: u64,
        state: PublishState,
        refusal: Refusal,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let code = refusal.code;
        if code == RefusalCode::SequenceGap || code.is_retryable() {
            if code == RefusalCode::SequenceGap && refusal.value >= sequence {
                return Err(Violation::Answer { request: wire });
            }
            let written_at = self.producer.answered(wire).ok_or(Violation::Answer { request: wire })?;
            self.unapplied(wire, state, refusal, written_at, now);
            return Ok(());
        }
        self.sequence_used(wire)?;
        // Another owner says nothing about what was applied before.
        let is_fenced = code == RefusalCode::ProducerFenced
            && self.get(wire).is_some_and(|request| request.may_be_applied);
        if code == RefusalCode::SequenceTooOld || is_fenced {
            self.give_up(wire);
        } else {
            self.finish_refused(wire, refusal);
        }
        Ok(())
    }

    /// A producer's request, written at `written_at`, was not applied. It is resent with its number, before everything
    /// behind it; an empty batch is sent instead if it is too late for that, or if nobody waits for the answer.
    fn unapplied(
        &mut self,
        wire: u32,
        mut state: PublishState,
        refusal: Refusal,
        written_at: Timestamp,
        now: Timestamp,
    ) {
        let is_gap = refusal.code == RefusalCode::SequenceGap;
        let is_first = self.producer.held_by().is_none();
        self.producer.hold(now, written_at, refusal);
        if is_gap && is_first {
            self.fill_missing(refusal.value);
        }
        let Some(request) = self.table.get(wire) else {
            return;
        };
        let (is_wanted, deadline) = (request.id.is_some(), request.deadline);
        let is_fill = matches!(request.kind, RequestKind::Fill(_));
        // The subscriptions in which it commits are not those of this connection, and wait until it is settled.
        let is_too_late = request.may_be_applied && request.has_commits();
        if is_too_late {
            self.abandon(wire, Reason::NotApplied);
        } else if !is_wanted {
            self.fill(wire, Reason::NotSent);
        }
        if is_first || !is_gap {
            let at = now.plus_micros(state.backoff.next_after(refusal, &mut self.jitter));
            if is_wanted && !is_fill && !is_too_late && at >= deadline {
                let reason = if is_gap { Reason::HeldBack(refusal) } else { Reason::Refused(refusal) };
                self.abandon(wire, reason);
            } else {
                self.producer.hold_until(at, refusal);
                state.refusal = if is_gap { state.refusal } else { Some(refusal) };
            }
        }
        if let Some(request) = self.table.get_mut(wire) {
            request.set_publish_state(state);
            self.queue.push_again(request);
        }
    }

    /// Reschedules a refused publish without a sequence number, if its deadline leaves time for that.
    fn retry_publish(
        &mut self,
        wire: u32,
        mut state: PublishState,
        refusal: Refusal,
        now: Timestamp,
    ) -> bool {
        let Some(request) = self.table.get_mut(wire).filter(|request| request.id.is_some()) else {
            return false;
        };
        let at = now.plus_micros(state.backoff.next_after(refusal, &mut self.jitter));
        if at >= request.deadline {
            return false;
        }
        state.refusal = Some(refusal);
        request.set_publish_state(state);
        self.retry_at(wire, at);
        true
    }

    /// Reports a refusal that is final, or that the deadline makes final.
    fn finish_refused(&mut self, wire: u32, refusal: Refusal) {
        let Some(request) = self.table.get(wire) else {
            return;
        };
        let topic = request.topic_of(refusal.operation);
        let lost_subscription = request.may_be_applied && request.has_commits();
        let error = if lost_subscription && refusal.code == RefusalCode::NotSubscribed {
            // The subscription existed when the batch was made, on the connection that broke.
            RequestError::NotApplied { topic }
        } else {
            RequestError::Refused { topic, refusal }
        };
        self.finish(wire, Err(error));
    }

    /// The deadline of a publish or batch leaves no time to send it; `own` is why it was refused itself, if it was.
    pub(crate) fn finish_held(&mut self, wire: u32, own: Option<Refusal>) {
        let reason = match (own, self.held_by(wire)) {
            (Some(refusal), _) => Reason::Refused(refusal),
            (None, Some(refusal)) => Reason::HeldBack(refusal),
            (None, None) => Reason::NotSent,
        };
        self.abandon(wire, reason);
    }

    /// The refusal because of which the request's producer sends nothing, if there is one.
    fn held_by(&self, wire: u32) -> Option<Refusal> {
        let request = self.table.get(wire).filter(|request| is_numbered(&self.producer, request));
        request.and_then(|_| self.producer.held_by())
    }

    /// It stays unknown whether a publish or batch took effect.
    pub(crate) fn give_up(&mut self, wire: u32) {
        if let Some(request) = self.table.get(wire) {
            let topic = Arc::clone(&request.topic);
            self.finish(wire, Err(RequestError::Unknown { topic }));
        }
    }
}

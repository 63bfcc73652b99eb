//! What becomes of a request that the broker refused.

use std::sync::Arc;

use zaichik_proto::{Refusal, RefusalCode};

use super::Client;
use super::answer::SubscriptionId;
use super::backoff::Backoff;
use super::error::{RequestError, Violation};
use super::event::Event;
use super::pending::{Kind, PublishState};
use zaichik_proto::Timestamp;

impl Client {
    /// Keeps account of refusals that no request waits for.
    pub(super) fn count_refused(&mut self, count: u32, refusal: Refusal) {
        let before = self.refused.map_or(0, |(count, _)| count);
        self.refused = Some((before.saturating_add(u64::from(count)), refusal));
    }

    pub(super) fn request_refused(&mut self, wire: u32, refusal: Refusal) -> Result<(), Violation> {
        let kind = self.sent_kind(wire)?;
        match kind {
            Kind::Publish(state) | Kind::Batch(state) => return self.publish_refused(wire, state, refusal),
            Kind::Resubscribe(id, backoff) => {
                self.resubscribe_refused(wire, id, backoff, refusal);
                return Ok(());
            }
            Kind::Subscribe(id) => self.subscriptions.remove(id),
            // The broker ended it first, or refused to begin it: it is over all the same.
            Kind::Unsubscribe(id) => {
                self.subscriptions.leave(id);
                let answer = self.end_locally(id);
                self.inflight.answer(wire, Ok(answer));
                return Ok(());
            }
            Kind::Nack(..) | Kind::Seek(..) => self.rewind_failed(kind),
            Kind::CreateTopic
            | Kind::AlterTopic
            | Kind::PublishQuiet(_)
            | Kind::Commit(..)
            | Kind::SeekDurable
            | Kind::RemoveDurable
            | Kind::Describe(_)
            | Kind::Ping => {}
        }
        let topic = self.topic_of(wire);
        self.inflight.answer(wire, Err(RequestError::Refused { topic, refusal }));
        Ok(())
    }

    fn resubscribe_refused(&mut self, wire: u32, id: SubscriptionId, mut backoff: Backoff, refusal: Refusal) {
        if self.subscriptions.get(id).is_some_and(|state| state.is_ending) {
            // The Unsubscribe that follows it on the wire will be refused, and ends it.
            self.inflight.remove(wire);
            return;
        }
        if refusal.code.is_retryable() {
            let delay = backoff.next(&mut self.jitter).max(busy_micros(refusal));
            if let Some(kind) = self.inflight.kind_mut(wire) {
                *kind = Kind::Resubscribe(id, backoff);
            }
            self.inflight.retry_at(wire, self.now.plus_micros(delay));
            return;
        }
        let is_fenced = refusal.code == RefusalCode::SubscriptionFenced;
        let event = if is_fenced { Event::Fenced } else { Event::Refused(refusal) };
        self.subscriptions.update(id, |state| state.end(event));
        self.inflight.remove(wire);
    }

    fn publish_refused(&mut self, wire: u32, state: PublishState, refusal: Refusal) -> Result<(), Violation> {
        if let Kind::Publish(_) = self.sent_kind(wire)? {
            self.first_publish(wire)?;
            self.inflight.pop_publish();
        }
        if let Some(sequence) = self.inflight.sequence(wire) {
            return self.numbered_refused(wire, sequence, state, refusal);
        }
        if !(refusal.code.is_retryable() && self.retry_publish(wire, state, refusal)) {
            self.finish_refused(wire, refusal);
        }
        Ok(())
    }

    /// A producer's request was refused: for good, which uses its number up, or it comes back.
    fn numbered_refused(
        &mut self,
        wire: u32,
        sequence: u64,
        state: PublishState,
        refusal: Refusal,
    ) -> Result<(), Violation> {
        let code = refusal.code;
        if code == RefusalCode::SequenceGap || code.is_retryable() {
            if code == RefusalCode::SequenceGap && refusal.value >= sequence {
                return Err(Violation::Answer { request: wire });
            }
            self.number_answered(wire)?;
            self.comes_back(wire, sequence, state, refusal);
            return Ok(());
        }
        self.number_used(wire)?;
        if code == RefusalCode::SequenceTooOld {
            let topic = self.topic_of(wire);
            self.finish(wire, Err(RequestError::Unknown { topic }));
        } else {
            self.finish_refused(wire, refusal);
        }
        Ok(())
    }

    /// A producer's request was not applied, and its number is free. It goes out again before everything behind it, unless
    /// that is too late.
    fn comes_back(&mut self, wire: u32, sequence: u64, mut state: PublishState, refusal: Refusal) {
        let is_gap = refusal.code == RefusalCode::SequenceGap;
        let is_first = self.inflight.producer.held_by().is_none();
        let next_sequence = match (is_gap, is_first) {
            (true, _) => Some(refusal.value),
            (false, true) => Some(sequence),
            (false, false) => None,
        };
        self.inflight.producer.hold(self.now, next_sequence, refusal);
        if is_first {
            // What an earlier connection may have brought to the broker stands behind this one, so it was not applied.
            for waiting in self.inflight.producer.returned() {
                self.not_applied(waiting);
            }
        }
        if !self.not_applied(wire) {
            return;
        }
        if is_first || !is_gap {
            let delay = state.backoff.next(&mut self.jitter).max(busy_micros(refusal));
            let at = self.now.plus_micros(delay);
            if self.inflight.get(wire).is_some_and(|request| at >= request.deadline) {
                self.finish_held(wire, Some(refusal).filter(|_| !is_gap));
                return;
            }
            self.inflight.producer.wait(at, refusal);
            state.refusal = if is_gap { state.refusal } else { Some(refusal) };
            self.set_publish_state(wire, state);
        }
        self.inflight.put_back(wire);
    }

    /// It is certain that a request was not applied. Returns whether it is to be sent again.
    fn not_applied(&mut self, wire: u32) -> bool {
        let Some(request) = self.inflight.get(wire) else {
            return false;
        };
        let (topic, is_awaited) = (Arc::clone(&request.topic), request.id.is_some());
        if self.commits_lost(wire) {
            self.finish(wire, Err(RequestError::NotApplied { topic }));
            return false;
        }
        self.inflight.not_applied(wire);
        if !is_awaited {
            self.inflight.remove(wire);
        }
        is_awaited
    }

    /// Schedules a refused publish without a number again, if its deadline leaves time for that.
    fn retry_publish(&mut self, wire: u32, mut state: PublishState, refusal: Refusal) -> bool {
        let Some(request) = self.inflight.get(wire).filter(|request| request.id.is_some()) else {
            return false;
        };
        let deadline = request.deadline;
        let delay = state.backoff.next(&mut self.jitter).max(busy_micros(refusal));
        let at = self.now.plus_micros(delay);
        if at >= deadline {
            return false;
        }
        state.refusal = Some(refusal);
        self.set_publish_state(wire, state);
        self.inflight.retry_at(wire, at);
        true
    }

    /// Tells the application of a refusal that is final, or that its deadline makes so.
    fn finish_refused(&mut self, wire: u32, refusal: Refusal) {
        if self.commits_lost(wire) && refusal.code == RefusalCode::NotSubscribed {
            // The subscription was there when the batch was made: the connection that broke had it.
            let topic = self.topic_of_operation(wire, refusal.operation);
            self.finish(wire, Err(RequestError::NotApplied { topic }));
            return;
        }
        let topic = self.topic_of_operation(wire, refusal.operation);
        self.finish(wire, Err(RequestError::Refused { topic, refusal }));
    }

    /// The deadline of a publish or batch leaves no time to send it; `own` says why it was refused itself, if it was.
    pub(super) fn finish_held(&mut self, wire: u32, own: Option<Refusal>) {
        if let Some(refusal) = own {
            self.finish_refused(wire, refusal);
            return;
        }
        let topic = self.topic_of(wire);
        let error = match self.inflight.producer.held_by().filter(|_| self.inflight.is_numbered(wire)) {
            Some(refusal) => RequestError::HeldBack { topic, refusal },
            None => RequestError::NotSent { topic },
        };
        self.finish(wire, Err(error));
    }

    /// The broker's answer to a numbered request came, whose turn it must be; returns when it was written.
    fn number_answered(&mut self, wire: u32) -> Result<Timestamp, Violation> {
        self.inflight.producer.answered(wire).ok_or(Violation::Answer { request: wire })
    }

    /// The answer to a request came, and used up its number if it has one.
    pub(super) fn number_used(&mut self, wire: u32) -> Result<(), Violation> {
        if let Some(sequence) = self.inflight.sequence(wire) {
            let written_at = self.number_answered(wire)?;
            // A stored answer tells nothing about how long the broker will still know the producer.
            let is_first = self.inflight.get(wire).is_some_and(|request| !request.may_be_applied);
            self.inflight.producer.used(sequence, is_first.then_some(written_at));
        }
        Ok(())
    }

    /// Whether a request is a batch that commits what came on a connection that is gone.
    fn commits_lost(&self, wire: u32) -> bool {
        let entries = self.inflight.lost_entries(wire);
        entries.is_some_and(|entries| entries.iter().any(super::batch::Entry::is_commit))
    }

    fn set_publish_state(&mut self, wire: u32, state: PublishState) {
        if let Some(Kind::Publish(old) | Kind::Batch(old)) = self.inflight.kind_mut(wire) {
            *old = state;
        }
    }

    pub(super) fn topic_of(&self, wire: u32) -> Arc<str> {
        self.inflight.get(wire).map(|request| Arc::clone(&request.topic)).unwrap_or_default()
    }

    fn topic_of_operation(&self, wire: u32, operation: u32) -> Arc<str> {
        let entries = self.inflight.entries(wire);
        let entry = entries.as_ref().and_then(|entries| entries.get(operation as usize));
        entry.map_or_else(|| self.topic_of(wire), |entry| Arc::clone(entry.topic()))
    }
}

/// How long a busy broker asks to wait, in microseconds.
fn busy_micros(refusal: Refusal) -> u64 {
    // A day is more than any deadline; the cap keeps a wrong number from stopping a subscription for ever.
    let wait = if refusal.code == RefusalCode::Busy { refusal.value } else { 0 };
    wait.min(86_400_000_000)
}

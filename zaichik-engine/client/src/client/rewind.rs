//! Going back and elsewhere: nacks and seeks (semantics A4, D6).

use core::time::Duration;
use std::sync::Arc;

use zaichik_proto::{ClientFrame, Nack, Refusal, RefusalCode, Seek, SeekTarget, Start, TopicName, micros};

use super::Client;
use super::publish::{SMALL_FRAME, encode};
use super::subscribe::check_durable_name;
use crate::answer::{Answer, RequestId, SubscriptionId};
use crate::error::{RequestError, Violation};
use crate::requests::request::Kind;
use crate::subscriptions::subscription::{Phase, Subscription};
use zaichik_proto::Timestamp;

/// More than a Seek by name needs, in bytes.
const SEEK_FRAME: usize = 600;

impl Client {
    /// Delivery goes back to `offset` after `delay` and goes on from there in order; answered by [`Answer::Rewound`]
    /// (semantics A4).
    ///
    /// From the call on nothing is handed out that was received before, and a commit at or beyond `offset` needs the
    /// message to be taken again. What is committed stays so: a nack of it has no effect. A connection that breaks ends
    /// the delay, since the next one delivers what is uncommitted at once.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with `CommitsOff` for `window = 0`, and with `NackAhead` for an offset that was not
    /// taken; [`NoSubscription`](RequestError::NoSubscription), [`Full`](RequestError::Full),
    /// [`Closed`](RequestError::Closed). Nothing was sent.
    pub fn nack(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
        delay: Duration,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.admit()?;
        let state = self.active(subscription)?;
        let topic = Arc::clone(&state.topic);
        let refusal = if state.options.window == 0 {
            Some(Refusal::new(RefusalCode::CommitsOff))
        } else if offset >= state.taken_to() {
            Some(Refusal::with_value(RefusalCode::NackAhead, state.taken_to()))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err(RequestError::Refused { topic, refusal });
        }
        let rewind = state.rewind();
        let is_committed = offset < state.cursor();
        if is_committed || state.phase != Phase::Active || !state.was_delivered(offset) {
            if !is_committed {
                self.subscriptions.update(subscription, |state| state.go_back(offset));
            }
            return Ok(self.inflight.answer_at_once(Ok(Answer::Rewound { rewind })));
        }
        self.subscriptions.update(subscription, |state| state.nack_sent(offset));
        let (kind, deadline) = (Kind::Nack(subscription, offset), self.after(self.config.request_timeout));
        let (_, id) = self.inflight.insert(topic, kind, deadline, |request| {
            let nack = Nack { request, subscription: subscription.0, offset, delay_micros: micros(delay) };
            encode(&mut self.arena, SMALL_FRAME, &ClientFrame::Nack(nack))
        });
        self.settle();
        Ok(id)
    }

    /// Delivery goes on at another position; answered by [`Answer::Rewound`] (semantics D6).
    ///
    /// From the call on nothing is handed out that was received before, and what was committed means nothing. After a
    /// reconnect a subscription that is not durable goes on at that position, or after what it committed since.
    ///
    /// # Errors
    /// [`RequestError::Disconnected`] for a durable subscription that has no connection now,
    /// [`NoSubscription`](RequestError::NoSubscription), [`Full`](RequestError::Full),
    /// [`Closed`](RequestError::Closed). Nothing was sent.
    pub fn seek(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        to: Start,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.admit()?;
        let state = self.active(subscription)?;
        let topic = Arc::clone(&state.topic);
        let (phase, is_durable) = (state.phase, state.options.durable.is_some());
        let goes_first = match phase {
            Phase::Active | Phase::Subscribing(_) => true,
            Phase::Resubscribing(wire) => self.inflight.is_sent(wire),
            Phase::Detached | Phase::Over => false,
        };
        if !goes_first && is_durable {
            return Err(RequestError::Disconnected { topic });
        }
        if !goes_first {
            return Ok(self.seek_locally(subscription, phase, to));
        }
        self.subscriptions.update(subscription, |state| state.seek_sent(to));
        let target = SeekTarget::Subscription(subscription.0);
        let kind = Kind::Seek(subscription, to);
        Ok(self.send_seek(topic, kind, target, to))
    }

    /// Moves the cursor of a durable subscription, attached or not, whoever holds it; answered by
    /// [`Answer::Rewound`] (semantics D6).
    ///
    /// # Errors
    /// [`RequestError::InvalidTopic`], [`InvalidDurableName`](RequestError::InvalidDurableName),
    /// [`Full`](RequestError::Full), [`Closed`](RequestError::Closed). Nothing was sent.
    pub fn seek_durable(
        &mut self,
        now: Timestamp,
        topic: &str,
        name: &str,
        to: Start,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        let parsed = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        check_durable_name(name)?;
        self.admit()?;
        let shared = self.shared_topic(parsed);
        let target = SeekTarget::Durable { topic: topic.as_bytes(), name };
        Ok(self.send_seek(shared, Kind::SeekDurable, target, to))
    }

    /// The answer to a Nack or Seek: the subscription's rewind number.
    pub(super) fn rewound(&mut self, wire: u32, kind: Kind, value: u64) -> Result<(), Violation> {
        let rewind = u32::try_from(value).map_err(|_| Violation::Answer { request: wire })?;
        if let Kind::Nack(id, offset) = kind {
            self.subscriptions.update(id, |state| state.rewound(rewind, Some(offset)));
        } else if let Kind::Seek(id, _) = kind {
            self.subscriptions.update(id, |state| state.rewound(rewind, None));
        }
        self.inflight.answer(wire, Ok(Answer::Rewound { rewind }));
        Ok(())
    }

    /// A Nack or Seek had no effect.
    pub(super) fn rewind_failed(&mut self, kind: Kind) {
        if let Kind::Nack(id, _) | Kind::Seek(id, _) = kind {
            let is_seek = matches!(kind, Kind::Seek(..));
            self.subscriptions.update(id, |state| state.rewind_answered(is_seek));
        }
    }

    /// What a Nack or Seek comes to whose connection is gone; `None` if it may be sent on the next one.
    pub(super) fn rewind_lost(&self, kind: Kind, topic: Arc<str>) -> Option<Result<Answer, RequestError>> {
        let (Kind::Nack(id, _) | Kind::Seek(id, _)) = kind else {
            return None;
        };
        let state = self.subscriptions.get(id);
        if state.is_some_and(|state| matches!(state.phase, Phase::Subscribing(_))) {
            // The Subscribe is sent again too, and asks for the old position.
            return None;
        }
        let is_durable = state.is_some_and(|state| state.options.durable.is_some());
        if is_durable && matches!(kind, Kind::Seek(..)) {
            // Its cursor is the broker's, which may not have heard of it.
            return Some(Err(RequestError::Disconnected { topic }));
        }
        // The client asks for what comes next by itself.
        Some(Ok(Answer::Rewound { rewind: state.map_or(0, Subscription::rewind) }))
    }

    /// Moves a subscription that the broker does not have now.
    fn seek_locally(&mut self, id: SubscriptionId, phase: Phase, to: Start) -> RequestId {
        let rewind = self.subscriptions.get(id).map_or(0, Subscription::rewind);
        self.subscriptions.update(id, |state| state.seek_locally(to));
        if let Phase::Resubscribing(wire) = phase {
            // It asks for the old position.
            self.inflight.remove(wire);
            self.subscriptions.update(id, |state| state.phase = Phase::Detached);
            self.go_on(id);
        }
        let answered = self.inflight.answer_at_once(Ok(Answer::Rewound { rewind }));
        self.settle();
        answered
    }

    fn send_seek(&mut self, topic: Arc<str>, kind: Kind, target: SeekTarget<'_>, to: Start) -> RequestId {
        let deadline = self.after(self.config.request_timeout);
        let (_, id) = self.inflight.insert(topic, kind, deadline, |request| {
            encode(&mut self.arena, SEEK_FRAME, &ClientFrame::Seek(Seek { request, target, to }))
        });
        self.settle();
        id
    }
}

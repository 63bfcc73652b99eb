//! Moving a subscription's position: nacks and seeks (rules A4, D6).

use core::time::Duration;
use std::sync::Arc;

use zaichik_proto::{
    ClientFrame, Nack, Refusal, RefusalCode, Seek, SeekTarget, Start, Timestamp, Version, micros,
};

use super::Client;
use super::subscribe::check_durable_name;
use crate::answer::{Answer, RequestId, SubscriptionId};
use crate::error::RequestError;
use crate::requests::RequestKind;
use crate::subscription::SubscriptionState;

impl Client {
    /// Rewinds delivery to `offset` after `delay`; from there it continues in order; answered by [`Answer::Rewound`]
    /// (rule A4).
    ///
    /// After the call, messages received before it are no longer handed out, and a commit at or beyond `offset`
    /// requires that the message be taken again. Committed messages stay committed: a nack of one is refused. A
    /// broken connection ends the delay, since the next one delivers uncommitted messages at once.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with `CommitsOff` for `window = 0`, and with `NackAhead` for an offset that was not
    /// taken, and with `NackCommitted` for one that is committed (version 1 of the protocol reports success instead);
    /// [`NoSubscription`](RequestError::NoSubscription), [`Full`](RequestError::Full),
    /// [`Closed`](RequestError::Closed). Nothing was sent.
    pub fn nack(
        &mut self,
        now: Timestamp,
        subscription: SubscriptionId,
        offset: u64,
        delay: Duration,
    ) -> Result<RequestId, RequestError> {
        self.tick(now);
        self.check_room()?;
        let version = self.connection.version();
        let (topic, rewind, is_sent) = self.subscriptions.change_usable(subscription, |state| {
            state.check_nack(offset)?;
            let rewind = state.rewind_number();
            let is_committed = offset < state.cursor();
            if is_committed && version > Version::One {
                let refusal = Refusal::with_value(RefusalCode::NackCommitted, state.cursor());
                return Err(RequestError::Refused { topic: Arc::clone(state.topic()), refusal });
            }
            let is_sent = !is_committed && state.is_active() && state.was_delivered(offset);
            if is_sent {
                state.nack_sent(offset);
            } else if !is_committed {
                state.go_back(offset);
            }
            Ok((Arc::clone(state.topic()), rewind, is_sent))
        })?;
        if !is_sent {
            return Ok(self.requests.answer_at_once(Answer::Rewound { rewind }));
        }
        let new = self.with_timeout(topic, RequestKind::Nack(subscription, offset));
        let (_, id) = self.requests.insert(new, |request| {
            let nack = Nack { request, subscription: subscription.0, offset, delay_micros: micros(delay) };
            self.encoder.small(&ClientFrame::Nack(nack))
        });
        self.settle();
        Ok(id)
    }

    /// Continues delivery at another position; answered by [`Answer::Rewound`] (rule D6).
    ///
    /// After the call, messages received before it are no longer handed out, and earlier commits are void. After a
    /// reconnect a subscription that is not durable resumes at that position, or after its last commit since.
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
        self.check_room()?;
        let state = self.subscriptions.usable(subscription)?;
        let topic = Arc::clone(state.topic());
        let is_at_broker = match state.state() {
            SubscriptionState::Active | SubscriptionState::Subscribing(_) => true,
            SubscriptionState::Resubscribing(wire) => self.requests.sent(wire).is_ok(),
            SubscriptionState::Detached | SubscriptionState::Ended => false,
        };
        if is_at_broker {
            self.subscriptions.change(subscription, |state| state.seek_sent(to));
            let target = SeekTarget::Subscription(subscription.0);
            return Ok(self.send_seek(topic, RequestKind::Seek(subscription, to), target, to));
        }
        if state.is_durable() {
            return Err(RequestError::Disconnected { topic });
        }
        let rewind = self.seek_locally(subscription, to)?;
        let id = self.requests.answer_at_once(Answer::Rewound { rewind });
        self.settle();
        Ok(id)
    }

    /// Moves the cursor of a durable subscription, attached or not, whichever connection holds it; answered by
    /// [`Answer::Rewound`] (rule D6).
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
        let shared = self.check_topic(topic)?;
        check_durable_name(name)?;
        self.check_room()?;
        let target = SeekTarget::Durable { topic: topic.as_bytes(), name };
        Ok(self.send_seek(shared, RequestKind::SeekDurable, target, to))
    }

    /// Moves a subscription that the broker does not currently have; returns its rewind number.
    fn seek_locally(&mut self, id: SubscriptionId, to: Start) -> Result<u32, RequestError> {
        let (withdrawn, rewind) = self.subscriptions.change_usable(id, |state| {
            state.seek_locally(to);
            Ok((state.withdraw(), state.rewind_number()))
        })?;
        if let Some(wire) = withdrawn {
            // The withdrawn Subscribe asked for the old position.
            self.requests.remove(wire);
            if self.connection.is_open() {
                self.outcomes().resume(id);
            }
        }
        Ok(rewind)
    }

    fn send_seek(
        &mut self,
        topic: Arc<str>,
        kind: RequestKind,
        target: SeekTarget<'_>,
        to: Start,
    ) -> RequestId {
        let new = self.with_timeout(topic, kind);
        let (_, id) = self
            .requests
            .insert(new, |request| self.encoder.small(&ClientFrame::Seek(Seek { request, target, to })));
        self.settle();
        id
    }
}

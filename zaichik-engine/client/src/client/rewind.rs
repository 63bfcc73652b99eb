//! Moving a subscription's position: nacks and seeks (rules A4, D6).

use core::time::Duration;
use std::sync::Arc;

use zaichik_proto::{ClientFrame, Nack, Seek, SeekTarget, Start, Timestamp, micros};

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
    /// requires that the message be taken again. A broken connection ends the delay, since the next one delivers
    /// uncommitted messages at once. A nack of a durable subscription whose connection broke before the answer ends with
    /// [`RequestError::Unknown`], or with [`Disconnected`](RequestError::Disconnected) if it was not sent: the messages
    /// are redelivered in either case, but only the broker counts failures. Of any other subscription the client itself
    /// keeps the position, so that the nack succeeds.
    ///
    /// # Errors
    /// [`RequestError::AlreadyCommitted`] for a message that is committed, which is not redelivered (rule A4).
    /// [`Disconnected`](RequestError::Disconnected) for a message of a durable subscription that was not delivered on the
    /// connection that is open now. [`RequestError::Refused`] with `CommitsOff` for `window = 0`, and with `NackAhead` for an offset that was not
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
        self.check_room()?;
        let number = self.subscriptions.number(subscription);
        let (topic, rewind, is_sent) = self.subscriptions.change_usable(subscription, |state| {
            state.check_nack(offset)?;
            let (topic, rewind) = (Arc::clone(state.topic()), state.rewind_number());
            let is_sent = state.is_active() && state.was_delivered(offset);
            if is_sent {
                state.nack_sent(offset);
            } else if state.is_durable() {
                return Err(RequestError::Disconnected { topic });
            } else {
                state.go_back(offset);
            }
            Ok((topic, rewind, is_sent))
        })?;
        if !is_sent {
            return Ok(self.requests.answer_at_once(Answer::Rewound { rewind }));
        }
        Ok(self.request(topic, RequestKind::Nack(subscription, offset), |request| {
            ClientFrame::Nack(Nack { request, subscription: number, offset, delay_micros: micros(delay) })
        }))
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
            let target = SeekTarget::Subscription(self.subscriptions.number(subscription));
            return Ok(self.request(topic, RequestKind::Seek(subscription, to), |request| {
                ClientFrame::Seek(Seek { request, target, to })
            }));
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
        let target = SeekTarget::Durable { topic: topic.as_bytes(), name };
        self.ask(shared, RequestKind::SeekDurable, |request| ClientFrame::Seek(Seek { request, target, to }))
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
}

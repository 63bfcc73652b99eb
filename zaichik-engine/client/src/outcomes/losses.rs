//! The effect of a lost connection on each request (rules P4, P5).

use std::sync::Arc;

use zaichik_proto::Start;

use super::Outcomes;
use crate::answer::{Answer, SubscriptionId};
use crate::error::RequestError;
use crate::requests::{LostRequest, PublishState, Request, RequestKind, Settlement};
use crate::subscription::{Subscription, SubscriptionState};

impl Outcomes<'_> {
    /// The connection is gone, for good if `is_over`, and only the bytes before `taken` were sent.
    pub(crate) fn connection_lost(&mut self, taken: u64, is_over: bool) {
        let mut waiting = Vec::new();
        for lost in self.requests.connection_lost(taken) {
            if self.requests.numbered_lost(lost.wire, is_over) {
                continue;
            }
            match self.commit_to_confirm(lost.wire).filter(|_| !is_over) {
                Some(commit) => waiting.extend(Some(commit).filter(|_| !lost.is_waiting)),
                None => self.request_lost(lost, is_over),
            }
        }
        self.subscriptions.connection_lost();
        for (id, wire, offset, generation) in waiting {
            self.subscriptions
                .change(id, |subscription| subscription.wait_with_commit(wire, offset, generation));
        }
        for id in self.requests.unsettled() {
            self.subscriptions.change(id, Subscription::commit_unsettled);
        }
    }

    /// Answers a request without a sequence number, forgets it, or keeps it for the next connection.
    fn request_lost(&mut self, LostRequest { wire, has_left, is_waiting }: LostRequest, is_over: bool) {
        let Some(request) = self.requests.get(wire) else {
            return;
        };
        let kind = request.kind;
        let is_quiet = matches!(kind, RequestKind::QuietPublish(_));
        if request.is_internal() || (request.id.is_none() && !is_quiet) {
            self.requests.remove(wire);
            return;
        }
        let result = if let RequestKind::Unsubscribe(id) = kind {
            // The subscription ended with the connection.
            Some(Ok(self.end_locally(id)))
        } else {
            self.result_without_answer(request, has_left, is_over)
        };
        match result {
            Some(result) => self.requests.answer(wire, result),
            None if is_over => {
                if let RequestKind::Subscribe(id) = kind {
                    self.subscriptions.remove(id);
                }
                self.requests.answer(wire, Err(RequestError::Closed));
            }
            None if is_waiting => {}
            // Queued when it is known where its topics resume.
            None if matches!(kind, RequestKind::Subscribe(id) if self.is_pattern(id)) => {}
            None => self.requests.requeue(wire),
        }
    }

    /// The result of a request whose answer can no longer arrive; `None` if the next connection may carry the request.
    fn result_without_answer(
        &self,
        request: &Request,
        has_left: bool,
        is_over: bool,
    ) -> Option<Result<Answer, RequestError>> {
        let topic = Arc::clone(&request.topic);
        match request.kind {
            RequestKind::Publish(_) | RequestKind::Batch(_) if has_left => {
                Some(Err(RequestError::Unknown { topic }))
            }
            RequestKind::Publish(PublishState { refusal: Some(refusal), .. })
            | RequestKind::Batch(PublishState { refusal: Some(refusal), .. })
                if is_over =>
            {
                Some(Err(RequestError::Refused { topic, refusal }))
            }
            RequestKind::Batch(_) if request.has_commits() => Some(Err(RequestError::NotApplied { topic })),
            // A subscription belongs to one connection, so asking again on the next one is harmless.
            RequestKind::Publish(_)
            | RequestKind::Batch(_)
            | RequestKind::QuietPublish(_)
            | RequestKind::Subscribe(_) => None,
            // The client resumes after this offset, whether or not the broker applied the commit.
            RequestKind::Commit(_, offset, _) if !is_over => {
                Some(Ok(Answer::Committed { cursor: offset.saturating_add(1) }))
            }
            RequestKind::Nack(id, _) if !is_over && self.is_durable(id) => {
                // Its messages are redelivered in any case, but the broker may or may not count a failure.
                let unknown = RequestError::Unknown { topic: Arc::clone(&topic) };
                Some(Err(if has_left { unknown } else { RequestError::Disconnected { topic } }))
            }
            RequestKind::Nack(id, _) if !is_over => self.lost_rewind(id, false, topic),
            RequestKind::Seek(id, _) if !is_over => self.lost_rewind(id, true, topic),
            RequestKind::Commit(id, ..) if has_left || self.is_durable(id) => {
                Some(Err(RequestError::Unknown { topic }))
            }
            RequestKind::Nack(..) | RequestKind::Seek(..) => {
                has_left.then_some(Err(RequestError::Unknown { topic }))
            }
            // What is left of its effect is that they come back, which the end of the connection does as well.
            RequestKind::Settle(Settlement::GiveBack | Settlement::Extend) => {
                Some(Err(RequestError::Returned { topic }))
            }
            RequestKind::Settle(Settlement::Ack) => {
                let returned = RequestError::Returned { topic: Arc::clone(&topic) };
                Some(Err(if has_left { RequestError::Unknown { topic } } else { returned }))
            }
            // Again, it could remove records that were accepted since.
            RequestKind::TrimTopic(Start::Latest) if has_left => Some(Err(RequestError::Unknown { topic })),
            RequestKind::CreateTopic
            | RequestKind::AlterTopic
            | RequestKind::TrimTopic(_)
            | RequestKind::Fill(_)
            | RequestKind::Resubscribe(..)
            | RequestKind::Unsubscribe(_)
            | RequestKind::Continue(_)
            | RequestKind::Leave(_)
            | RequestKind::Commit(..)
            | RequestKind::SeekDurable
            | RequestKind::RemoveDurable
            | RequestKind::Describe(_)
            | RequestKind::DescribeShared
            | RequestKind::Ping => has_left.then_some(Err(RequestError::Disconnected { topic })),
        }
    }

    /// A commit that only the broker can confirm: its subscription, its id in frames, its offset and its generation.
    fn commit_to_confirm(&self, wire: u32) -> Option<(SubscriptionId, u32, u64, u32)> {
        let request = self.requests.get(wire).filter(|request| request.id.is_some())?;
        let RequestKind::Commit(id, offset, generation) = request.kind else {
            return None;
        };
        self.is_durable(id).then_some((id, wire, offset, generation))
    }

    fn is_pattern(&self, id: SubscriptionId) -> bool {
        self.subscriptions.get(id).is_some_and(Subscription::is_pattern)
    }

    fn is_durable(&self, id: SubscriptionId) -> bool {
        self.subscriptions.get(id).is_some_and(Subscription::is_durable)
    }

    /// Like [`result_without_answer`](Self::result_without_answer), for a Nack or Seek.
    fn lost_rewind(
        &self,
        id: SubscriptionId,
        is_seek: bool,
        topic: Arc<str>,
    ) -> Option<Result<Answer, RequestError>> {
        let Some(subscription) = self.subscriptions.get(id) else {
            return Some(Err(RequestError::Disconnected { topic }));
        };
        if let SubscriptionState::Subscribing(_) = subscription.state() {
            // The Subscribe is resent too, and asks for the old position.
            return None;
        }
        if subscription.is_durable() && is_seek {
            // The broker keeps its cursor, and may not have received the seek.
            return Some(Err(RequestError::Disconnected { topic }));
        }
        // The client's Subscribe asks for the right position.
        Some(Ok(Answer::Rewound { rewind: subscription.rewind_number() }))
    }
}

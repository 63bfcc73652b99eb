//! Requests that the broker refused, and requests whose deadline passed.

use std::sync::Arc;

use zaichik_proto::{Refusal, RefusalCode};

use super::Outcomes;
use crate::answer::SubscriptionId;
use crate::error::{RequestError, Violation};
use crate::event::Event;
use crate::requests::{Fill, Progress, PublishState, RequestKind};
use crate::subscription::Subscription;

impl Outcomes<'_> {
    /// The broker refused a request.
    pub(crate) fn refused(&mut self, wire: u32, refusal: Refusal) -> Result<(), Violation> {
        let request = self.requests.sent(wire)?;
        let (kind, topic) = (request.kind, Arc::clone(&request.topic));
        match kind {
            RequestKind::Publish(state)
            | RequestKind::Batch(state)
            | RequestKind::Fill(Fill { state, .. }) => {
                return self.requests.publish_refused(wire, state, refusal, self.now);
            }
            RequestKind::Resubscribe(id, _) => {
                self.resubscribe_refused(wire, id, refusal);
                return Ok(());
            }
            RequestKind::Subscribe(id) => self.subscriptions.remove(id),
            // The broker ended the subscription first, or refused to begin it: either way it has ended.
            RequestKind::Unsubscribe(id) => {
                self.subscriptions.leave(id);
                let answer = self.end_locally(id);
                self.requests.answer(wire, Ok(answer));
                return Ok(());
            }
            RequestKind::Nack(..) | RequestKind::Seek(..) => self.rewind_failed(kind),
            RequestKind::Leave(alias) => self.subscriptions.left(alias),
            RequestKind::CreateTopic
            | RequestKind::AlterTopic
            | RequestKind::TrimTopic(_)
            | RequestKind::QuietPublish(_)
            | RequestKind::Continue(_)
            | RequestKind::Commit(..)
            | RequestKind::SeekDurable
            | RequestKind::RemoveDurable
            | RequestKind::Settle(_)
            | RequestKind::Describe(_)
            | RequestKind::DescribeShared
            | RequestKind::Ping => {}
        }
        self.requests.answer(wire, Err(RequestError::Refused { topic, refusal }));
        Ok(())
    }

    /// Resends requests whose delay has passed, and fails those whose deadline has; `true` if there was one. `is_unread`
    /// says that answers are not read.
    pub(crate) fn next_due(&mut self, is_unread: bool) -> bool {
        let Some(request) = self.requests.pop_due(self.now) else {
            return false;
        };
        let (wire, kind, topic) = (request.wire, request.kind, Arc::clone(&request.topic));
        let (is_sent, may_be_applied) = (request.is_sent(), request.may_be_applied);
        if self.now < request.deadline && request.progress == Progress::Waiting {
            self.requests.retry_now(wire);
            return true;
        }
        // One in flight behind a publish that was refused unapplied need not be refused as well: if the connection breaks,
        // the next one may use up the numbers before it first, and its bytes may arrive after all.
        if is_sent && is_unread {
            self.requests.answer_early(wire, Err(RequestError::Unread { topic }));
        } else if is_sent || may_be_applied {
            self.requests.answer_early(wire, Err(RequestError::Unknown { topic }));
            self.requests.fill_unless_sent(wire);
        } else {
            self.deadline_passed_unsent(wire, kind, topic);
        }
        true
    }

    fn deadline_passed_unsent(&mut self, wire: u32, kind: RequestKind, topic: Arc<str>) {
        if let RequestKind::Publish(PublishState { refusal, .. })
        | RequestKind::Batch(PublishState { refusal, .. }) = kind
        {
            self.requests.finish_held(wire, refusal);
        } else if let RequestKind::Commit(id, ..) = kind
            && self.subscriptions.get(id).is_some_and(Subscription::is_durable)
        {
            // It may have been sent on an earlier connection, and the client still commits it with a redelivery.
            self.subscriptions.change(id, |subscription| subscription.forget_commit(wire));
            self.requests.answer(wire, Err(RequestError::Unknown { topic }));
        } else {
            self.rewind_failed(kind);
            self.requests.answer(wire, Err(RequestError::NotSent { topic }));
        }
    }

    fn resubscribe_refused(&mut self, wire: u32, id: SubscriptionId, refusal: Refusal) {
        if self.subscriptions.get(id).is_some_and(Subscription::is_ending) {
            // The Unsubscribe that follows it on the wire will be refused too, and ends it.
            self.requests.remove(wire);
            return;
        }
        if refusal.code.is_retryable() {
            self.requests.retry_resubscribe(wire, refusal, self.now);
            return;
        }
        let is_fenced = refusal.code == RefusalCode::SubscriptionFenced;
        let event = if is_fenced { Event::Fenced } else { Event::Refused(refusal) };
        self.subscriptions.end_topics(id, true);
        self.subscriptions.change(id, |subscription| subscription.end(event));
        self.requests.remove(wire);
    }
}

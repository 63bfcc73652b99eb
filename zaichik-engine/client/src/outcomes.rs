//! The effects of answers, refusals and lost connections on requests and their subscriptions together.

mod answers;
mod losses;
mod refusals;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{ClientFrame, Durable, Start, Subscribe, Timestamp, micros};

use crate::answer::{Answer, SubscriptionId};
use crate::backoff::Backoff;
use crate::error::RequestError;
use crate::requests::{NewRequest, RequestKind, Requests};
use crate::subscription::{Subscription, SubscriptionState};
use crate::subscriptions::Subscriptions;

/// The parts of a client that an outcome changes, and the current time.
pub(crate) struct Outcomes<'c> {
    pub(crate) now: Timestamp,
    pub(crate) requests: &'c mut Requests,
    pub(crate) subscriptions: &'c mut Subscriptions,
}

impl Outcomes<'_> {
    /// Subscribes again to everything on a new connection, before anything else is sent.
    pub(crate) fn resume_all(&mut self, same_instance: bool) {
        let mut subscribes = Vec::new();
        for id in self.subscriptions.ids() {
            subscribes.extend(self.resubscribe(id, same_instance));
        }
        self.requests.send_first(&subscribes);
    }

    /// Subscribes again on the open connection, if the subscription waits for that.
    pub(crate) fn resume(&mut self, id: SubscriptionId) {
        let subscribe = self.resubscribe(id, true);
        self.requests.send_first(subscribe.as_slice());
    }

    /// Releases subscriptions that waited for the outcome of batches; on an open connection they resume.
    pub(crate) fn resume_settled(&mut self, is_open: bool) {
        for id in self.requests.take_settled() {
            self.subscriptions.change(id, Subscription::commit_settled);
            if is_open {
                self.resume(id);
            }
        }
    }

    /// Ends a subscription locally: the broker does not have it, or has just refused to end it.
    pub(crate) fn end_locally(&mut self, id: SubscriptionId) -> Answer {
        match self.subscriptions.get(id).map(Subscription::state) {
            Some(SubscriptionState::Subscribing(wire)) => {
                if let Some(request) = self.requests.get(wire) {
                    let topic = Arc::clone(&request.topic);
                    self.requests.answer(wire, Err(RequestError::Disconnected { topic }));
                }
            }
            Some(SubscriptionState::Resubscribing(wire)) => {
                self.requests.remove(wire);
            }
            Some(SubscriptionState::Detached | SubscriptionState::Active | SubscriptionState::Ended)
            | None => {}
        }
        self.requests.commits_settled(id, None);
        let last_offset = self.subscriptions.change(id, Subscription::end_locally).flatten();
        Answer::Unsubscribed { last_offset }
    }

    /// A Nack or Seek had no effect.
    fn rewind_failed(&mut self, kind: RequestKind) {
        if let RequestKind::Nack(id, _) | RequestKind::Seek(id, _) = kind {
            let is_seek = matches!(kind, RequestKind::Seek(..));
            self.subscriptions.change(id, |subscription| subscription.rewind_finished(is_seek));
        }
    }

    fn resubscribe(&mut self, id: SubscriptionId, same_instance: bool) -> Option<u32> {
        let Self { requests, subscriptions, .. } = self;
        subscriptions.get(id).filter(|subscription| subscription.may_resume())?;
        subscriptions.change(id, |subscription| {
            let start = subscription.resume(same_instance);
            let new = NewRequest {
                topic: Arc::clone(subscription.topic()),
                kind: RequestKind::Resubscribe(id, Backoff::PUBLISH),
                deadline: Timestamp::MAX,
                operations: None,
            };
            let (wire, _) = requests.insert(new, |wire| encode_subscribe(wire, subscription, start));
            subscription.resubscribing(wire);
            wire
        })
    }
}

/// A Subscribe in its own buffer, since it may be kept for long.
pub(crate) fn encode_subscribe(request: u32, subscription: &Subscription, start: Start) -> Bytes {
    let options = subscription.options();
    let mut out = BytesMut::new();
    let frame = ClientFrame::Subscribe(Subscribe {
        request,
        subscription: subscription.id().0,
        topic: subscription.topic().as_bytes(),
        start,
        window: options.window,
        window_bytes: options.window_bytes,
        max_attempts: options.max_attempts,
        dead_letter: options.dead_letter.as_bytes(),
        durable: options.durable.as_ref().map(|durable| Durable {
            name: &durable.name,
            on_conflict: durable.on_conflict,
            epoch: subscription.epoch(),
            inactive_ttl_micros: micros(durable.inactive_ttl),
        }),
    });
    frame.encode(&mut out);
    out.freeze()
}

//! What a broken connection means for requests and subscriptions, and what the next one restores (semantics P4, P5).

use std::sync::Arc;

use super::Client;
use super::answer::{Answer, SubscriptionId};
use super::backoff::Backoff;
use super::error::RequestError;
use super::incoming::Incoming;
use super::inflight::{Kind, Phase};
use super::request::encode_subscribe;
use super::subscription;
use crate::time::Timestamp;

impl Client {
    /// Asks for every subscription again on a new connection, before anything else is sent.
    pub(super) fn resubscribe_all(&mut self, same_instance: bool) {
        let mut requests = Vec::new();
        for id in self.subscriptions.ids() {
            requests.extend(self.resubscribe(id, same_instance));
        }
        self.inflight.send_first(&requests);
    }

    fn resubscribe(&mut self, id: SubscriptionId, same_instance: bool) -> Option<u32> {
        let subscription = self.subscriptions.get(id)?;
        if subscription.phase != subscription::Phase::Detached {
            return None;
        }
        let (topic, options) = (Arc::clone(&subscription.topic), subscription.options);
        let start = self.subscriptions.update(id, |subscription| subscription.resume(same_instance))?;
        let kind = Kind::Resubscribe(id, Backoff::PUBLISH);
        let name = Arc::clone(&topic);
        let (wire, _) = self
            .inflight
            .insert(topic, kind, Timestamp::MAX, |wire| encode_subscribe(wire, id, &name, &options, start));
        self.subscriptions.update(id, |subscription| {
            subscription.phase = subscription::Phase::Resubscribing(wire);
        });
        Some(wire)
    }

    /// The connection is gone, for good if `is_over`: decides about each request what its outcome can be.
    pub(super) fn requests_lost(&mut self, is_over: bool) {
        let taken = self.outbound.taken();
        for (wire, phase) in self.inflight.link_lost() {
            // A frame that was not written to its last byte can't have taken effect.
            let may_have_effect = matches!(phase, Phase::Sent { end } if end <= taken);
            self.request_lost(wire, phase, may_have_effect, is_over);
        }
        for id in self.subscriptions.ids() {
            self.subscriptions.update(id, |subscription| {
                if matches!(
                    subscription.phase,
                    subscription::Phase::Active | subscription::Phase::Resubscribing(_)
                ) {
                    subscription.phase = subscription::Phase::Detached;
                }
            });
        }
    }

    fn request_lost(&mut self, wire: u32, phase: Phase, may_have_effect: bool, is_over: bool) {
        let Some(request) = self.inflight.get(wire) else {
            return;
        };
        let (topic, kind) = (Arc::clone(&request.topic), request.kind);
        let is_awaited = request.id.is_some();
        let result = match kind {
            Kind::Resubscribe(..) => {
                self.inflight.remove(wire);
                return;
            }
            Kind::PublishQuiet(_) => None,
            _ if !is_awaited => {
                self.inflight.remove(wire);
                return;
            }
            Kind::Publish(_) if may_have_effect => Some(Err(RequestError::Unknown { topic })),
            Kind::Publish(publish) => match publish.refusal {
                Some(refusal) if is_over => Some(Err(RequestError::Refused { topic, refusal })),
                _ => None,
            },
            // The client goes on after this offset, whatever the broker saw of the commit.
            Kind::Commit(_, offset) if !is_over => {
                Some(Ok(Answer::Committed { cursor: offset.saturating_add(1) }))
            }
            Kind::CreateTopic | Kind::AlterTopic | Kind::Commit(..) | Kind::Ping if may_have_effect => {
                Some(Err(RequestError::Disconnected { topic }))
            }
            // A subscription lives on one connection: asking again on the next does no harm.
            Kind::CreateTopic | Kind::AlterTopic | Kind::Commit(..) | Kind::Ping | Kind::Subscribe(_) => None,
            // The connection took the subscription with it.
            Kind::Unsubscribe(id) => Some(Ok(self.end_locally(id))),
        };
        match result {
            Some(result) => self.inflight.answer(wire, result),
            None if is_over => {
                if let Kind::Subscribe(id) = kind {
                    self.subscriptions.remove(id);
                }
                self.inflight.answer(wire, Err(RequestError::Closed));
            }
            None if phase == Phase::Retry => {}
            None => self.inflight.requeue(wire),
        }
    }

    /// Ends a subscription without the broker: there is no connection on which it could go on.
    pub(super) fn end_locally(&mut self, id: SubscriptionId) -> Answer {
        match self.subscriptions.get(id).map(|subscription| subscription.phase) {
            Some(subscription::Phase::Subscribing(wire)) => {
                let topic = self.inflight.get(wire).map(|request| Arc::clone(&request.topic));
                let topic = topic.unwrap_or_default();
                self.inflight.answer(wire, Err(RequestError::Disconnected { topic }));
            }
            Some(subscription::Phase::Resubscribing(wire)) => self.inflight.remove(wire),
            Some(subscription::Phase::Detached | subscription::Phase::Active | subscription::Phase::Over)
            | None => {}
        }
        let last_offset = self.subscriptions.update(id, |subscription| {
            subscription.is_ending = true;
            let last_offset = subscription.last_delivered();
            subscription.end(Incoming::Ended(last_offset));
            last_offset
        });
        Answer::Unsubscribed { last_offset: last_offset.flatten() }
    }
}

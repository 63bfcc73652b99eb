//! What a broken connection means for requests and subscriptions, and what the next one restores (semantics P4, P5).

use std::sync::Arc;

use super::answer::{Answer, SubscriptionId};
use super::backoff::Backoff;
use super::batch::Entry;
use super::error::RequestError;
use super::event::Event;
use super::pending::{Kind, Phase, PublishState};
use super::subscribe::encode_subscribe;
use super::{Client, Link, subscription};
use crate::planted::{Defect, is_planted};
use zaichik_proto::Timestamp;

impl Client {
    /// Asks for every subscription again on a new connection, before anything else is sent.
    pub(super) fn resubscribe_all(&mut self, same_instance: bool) {
        let mut requests = Vec::new();
        for id in self.subscriptions.ids() {
            requests.extend(self.resubscribe(id, same_instance));
        }
        self.inflight.send_first(&requests);
    }

    /// A subscription that waited may be asked for again on the connection that is open, if one is.
    pub(super) fn go_on(&mut self, id: SubscriptionId) {
        if self.link == Link::Open {
            let request = self.resubscribe(id, true);
            self.inflight.send_first(request.as_slice());
        }
    }

    fn resubscribe(&mut self, id: SubscriptionId, same_instance: bool) -> Option<u32> {
        self.subscriptions.get(id).filter(|subscription| subscription.may_resume())?;
        let start = self.subscriptions.update(id, |subscription| subscription.resume(same_instance))?;
        let subscription = self.subscriptions.get(id)?;
        let kind = Kind::Resubscribe(id, Backoff::PUBLISH);
        let topic = Arc::clone(&subscription.topic);
        let (wire, _) = self
            .inflight
            .insert(topic, kind, Timestamp::MAX, |wire| encode_subscribe(wire, subscription, start));
        self.subscriptions.update(id, |subscription| {
            subscription.phase = subscription::Phase::Resubscribing(wire);
        });
        Some(wire)
    }

    /// The connection is gone, for good if `is_over`: decides about each request what its outcome can be.
    pub(super) fn requests_lost(&mut self, is_over: bool) {
        let taken = self.outbound.taken();
        for (wire, phase) in self.inflight.link_lost(taken) {
            if self.inflight.is_numbered(wire) {
                self.numbered_lost(wire, is_over);
                continue;
            }
            // A frame that was not written to its last byte can't have taken effect.
            let may_have_effect = matches!(phase, Phase::Sent { end } if end <= taken);
            self.request_lost(wire, phase, may_have_effect, is_over);
        }
        for id in self.subscriptions.ids() {
            self.subscriptions.update(id, subscription::Subscription::detach);
        }
        for wire in self.inflight.uncertain() {
            for entry in self.inflight.entries(wire).iter().flat_map(|entries| entries.iter()) {
                if let Entry::Commit { subscription, .. } = *entry {
                    self.subscriptions.update(subscription, |state| state.waits_for_batch(true));
                }
            }
        }
    }

    /// Publishes and batches that an earlier connection may have brought to the broker are not sent again.
    pub(super) fn give_up_uncertain(&mut self) {
        for wire in self.inflight.uncertain() {
            let topic = self.topic_of(wire);
            self.finish(wire, Err(RequestError::Unknown { topic }));
        }
    }

    /// A request of a producer lost its connection: it goes out again, if it may have been applied with its number.
    fn numbered_lost(&mut self, wire: u32, is_over: bool) {
        let Some(request) = self.inflight.get(wire) else {
            return;
        };
        let topic = Arc::clone(&request.topic);
        let (Kind::Publish(state) | Kind::Batch(state)) = request.kind else {
            return;
        };
        let (is_awaited, may_be_applied) = (request.id.is_some(), request.may_be_applied);
        let result = match (may_be_applied, state.refusal) {
            (true, _) if !is_over => {
                if !is_planted(Defect::ResendForgotten) {
                    self.inflight.put_back(wire);
                }
                return;
            }
            (true, _) => RequestError::Unknown { topic },
            (false, _) if !is_awaited => {
                self.inflight.remove(wire);
                return;
            }
            (false, Some(refusal)) if is_over => RequestError::Refused { topic, refusal },
            (false, None) if is_over => RequestError::Closed,
            // The deliveries that it commits are gone with the connection.
            (false, _) if self.has_commits(wire) => RequestError::NotApplied { topic },
            (false, _) => {
                self.inflight.requeue(wire);
                return;
            }
        };
        self.inflight.answer(wire, Err(result));
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
            Kind::Publish(_) | Kind::Batch(_) if may_have_effect => {
                Some(Err(RequestError::Unknown { topic }))
            }
            Kind::Publish(PublishState { refusal: Some(refusal), .. })
            | Kind::Batch(PublishState { refusal: Some(refusal), .. })
                if is_over =>
            {
                Some(Err(RequestError::Refused { topic, refusal }))
            }
            Kind::Batch(_) if self.has_commits(wire) => Some(Err(RequestError::NotApplied { topic })),
            // A subscription lives on one connection: asking again on the next does no harm.
            Kind::Publish(_) | Kind::Batch(_) | Kind::Subscribe(_) => None,
            // The client goes on after this offset, whatever the broker saw of the commit.
            Kind::Commit(_, offset) if !is_over => {
                Some(Ok(Answer::Committed { cursor: offset.saturating_add(1) }))
            }
            Kind::Nack(..) | Kind::Seek(..) if !is_over => self.rewind_lost(kind, topic),
            // The connection took the subscription with it.
            Kind::Unsubscribe(id) => Some(Ok(self.end_locally(id))),
            Kind::CreateTopic
            | Kind::AlterTopic
            | Kind::Commit(..)
            | Kind::Nack(..)
            | Kind::Seek(..)
            | Kind::SeekDurable
            | Kind::RemoveDurable
            | Kind::Describe(_)
            | Kind::Ping => may_have_effect.then_some(Err(RequestError::Disconnected { topic })),
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

    fn has_commits(&self, wire: u32) -> bool {
        let entries = self.inflight.entries(wire);
        entries.is_some_and(|entries| entries.iter().any(Entry::is_commit))
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
            subscription.end(Event::Ended(last_offset));
            last_offset
        });
        Answer::Unsubscribed { last_offset: last_offset.flatten() }
    }
}

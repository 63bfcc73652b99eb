//! The effects of answers, refusals and lost connections on requests and their subscriptions together.

mod answers;
mod losses;
mod patterns;
mod refusals;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{
    ClientFrame, Durable, Refusal, RefusalCode, Start, Subscribe, SubscribeShared, Timestamp, micros,
};

use crate::answer::{Answer, SubscriptionId};
use crate::backoff::Backoff;
use crate::config::{SharedOptions, SubscribeOptions};
use crate::error::RequestError;
use crate::event::Event;
use crate::requests::{NewRequest, RequestKind, Requests};
use crate::subscription::{Release, Subscription, SubscriptionState};
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
        self.resume_topics(same_instance);
        let mut subscribes = Vec::new();
        for id in self.subscriptions.ids() {
            subscribes.extend(self.resubscribe(id, same_instance));
        }
        self.requests.send_first(&subscribes);
    }

    /// The broker does not offer some subscriptions: ends those that there are.
    pub(crate) fn refuse_all(&mut self, are: impl Fn(&Subscription) -> bool) {
        let refusal = Refusal::new(RefusalCode::Unsupported);
        for id in self.subscriptions.ids() {
            if !self.subscriptions.get(id).is_some_and(&are) {
                continue;
            }
            self.subscriptions.end_topics(id, true);
            let Some(subscription) = self.subscriptions.get(id) else { continue };
            if let SubscriptionState::Subscribing(wire) = subscription.state() {
                let topic = Arc::clone(subscription.topic());
                self.subscriptions.remove(id);
                self.requests.answer(wire, Err(RequestError::Refused { topic, refusal }));
            } else {
                self.subscriptions.change(id, |subscription| subscription.end(Event::Refused(refusal)));
            }
        }
    }

    /// Subscribes again on the open connection, if the subscription waits for that.
    pub(crate) fn resume(&mut self, id: SubscriptionId) {
        // A topic of a pattern resumes with it.
        let pattern = self.subscriptions.get(id).and_then(Subscription::pattern);
        let subscribe = self.resubscribe(pattern.unwrap_or(id), true);
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

    /// Sends or answers commits that waited for their connection.
    pub(crate) fn release_commits(&mut self) {
        for (wire, release) in self.subscriptions.take_released() {
            match release {
                Release::Send => self.requests.requeue(wire),
                Release::Confirmed(cursor) => self.requests.answer(wire, Ok(Answer::Committed { cursor })),
                Release::Void => self.requests.give_up(wire),
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
        self.subscriptions.end_topics(id, true);
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
        let subscription = self.subscriptions.get(id).filter(|one| one.pattern().is_none())?;
        let (is_pattern, may_resume) = (subscription.is_pattern(), subscription.may_resume());
        let start = if is_pattern { Some(self.pattern_start(id, same_instance)?) } else { None };
        let Self { requests, subscriptions, .. } = self;
        if !may_resume {
            return None;
        }
        subscriptions.change(id, |subscription| {
            let resumed = subscription.resume(same_instance);
            let start = start.unwrap_or(resumed);
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
    if subscription.is_pattern() {
        return patterns::encode_subscribe_pattern(request, subscription, start);
    }
    let options = subscription.options();
    let mut out = BytesMut::new();
    if let Some(shared) = &options.shared {
        shared_frame(request, subscription, options, shared, start).encode(&mut out);
        return out.freeze();
    }
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

fn shared_frame<'s>(
    request: u32,
    subscription: &'s Subscription,
    options: &'s SubscribeOptions,
    shared: &'s SharedOptions,
    start: Start,
) -> ClientFrame<'s> {
    ClientFrame::SubscribeShared(SubscribeShared {
        request,
        subscription: subscription.id().0,
        topic: subscription.topic().as_bytes(),
        name: &shared.name,
        start,
        window: options.window,
        window_bytes: options.window_bytes,
        max_attempts: options.max_attempts,
        dead_letter: options.dead_letter.as_bytes(),
        ack_deadline_micros: micros(shared.ack_deadline),
        max_span: shared.max_span,
        inactive_ttl_micros: micros(shared.inactive_ttl),
        by_key: shared.by_key,
    })
}

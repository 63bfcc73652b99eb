//! Patterns of topics: what the broker matched, and how each topic continues on another connection (chapter W).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{
    ClientFrame, Matched, NotMatched, PatternSubscribed, Seek, SeekTarget, Start, SubscribePattern,
    Timestamp, Unsubscribe,
};

use super::Outcomes;
use crate::answer::{Answer, PatternStart, SubscriptionId};
use crate::error::Violation;
use crate::requests::{NewRequest, RequestKind};
use crate::subscription::{Subscription, SubscriptionState};
use crate::subscriptions::MatchStep;

impl Outcomes<'_> {
    /// A topic belongs to a pattern. If the application knows it from an earlier connection, it continues where the application
    /// is, by a Seek before anything else that is sent about it.
    pub(crate) fn matched(&mut self, matched: &Matched<'_>) -> Result<(), Violation> {
        self.check_pattern(matched.subscription)?;
        let alias = matched.alias;
        let (kind, to) = match self.subscriptions.matched(matched)? {
            MatchStep::Nothing => return Ok(()),
            MatchStep::Seek(id, to) => (RequestKind::Continue(id), Some(to)),
            MatchStep::Leave => (RequestKind::Leave(alias), None),
        };
        let topic = self.subscriptions.get(SubscriptionId(matched.subscription));
        let topic = topic.map(|pattern| Arc::clone(pattern.topic())).unwrap_or_default();
        let new = NewRequest { topic, kind, deadline: Timestamp::MAX, operations: None };
        let (wire, _) = self.requests.insert(new, |request| encode_step(request, alias, to));
        self.requests.send_first(&[wire]);
        Ok(())
    }

    /// A topic could not be taken into a pattern.
    pub(crate) fn not_matched(&mut self, not_matched: &NotMatched<'_>) -> Result<(), Violation> {
        self.check_pattern(not_matched.subscription)?;
        self.subscriptions.not_matched(not_matched)
    }

    /// A pattern is subscribed to, or again.
    pub(crate) fn pattern_subscribed(&mut self, subscribed: PatternSubscribed) -> Result<(), Violation> {
        let PatternSubscribed { request, subscription, topics, .. } = subscribed;
        let id = self.subscribed_id(request, subscription, true)?;
        self.subscriptions.pattern_subscribed(id);
        let answer = PatternStart { subscription: id, topics };
        self.requests.answer(request, Ok(Answer::PatternSubscribed(answer)));
        Ok(())
    }

    /// The subscription that a Subscribe with this id is for, which has this number, and is a pattern or not.
    pub(super) fn subscribed_id(
        &self,
        request: u32,
        number: u32,
        is_pattern: bool,
    ) -> Result<SubscriptionId, Violation> {
        let kind = self.requests.sent_kind(request)?;
        let (RequestKind::Subscribe(id) | RequestKind::Resubscribe(id, _)) = kind else {
            return Err(Violation::Answer { request });
        };
        let is_expected = self.subscriptions.get(id).is_some_and(|one| one.is_pattern() == is_pattern);
        if id.0 != number || !is_expected {
            return Err(Violation::Answer { request });
        }
        Ok(id)
    }

    /// A new connection is open: the topics of patterns forget what was not taken.
    pub(super) fn resume_topics(&mut self, same_instance: bool) {
        for id in self.subscriptions.ids() {
            let is_topic = |one: &&Subscription| one.pattern().is_some() && !one.is_active();
            if let Some(SubscriptionState::Detached) =
                self.subscriptions.get(id).filter(is_topic).map(Subscription::state)
            {
                self.subscriptions.change(id, |subscription| subscription.resume(same_instance));
            }
        }
    }

    /// How a pattern is to be subscribed to again: `None` if it has to wait for the outcome of batches, or is not a pattern.
    /// A request of the application is sent again as it is.
    pub(super) fn pattern_start(&mut self, id: SubscriptionId, same_instance: bool) -> Option<Start> {
        if self.subscriptions.is_unsettled(id) {
            return None;
        }
        let pattern = self.subscriptions.get(id)?;
        match pattern.state() {
            SubscriptionState::Subscribing(wire) => {
                self.requests.send_again(wire);
                return None;
            }
            SubscriptionState::Detached => {}
            SubscriptionState::Resubscribing(_) | SubscriptionState::Active | SubscriptionState::Ended => {
                return None;
            }
        }
        // Each topic is moved to where the application is; most are there, at the end.
        let asked = if same_instance { Start::Latest } else { pattern.options().start };
        self.subscriptions.pattern_asks(id, asked, same_instance);
        Some(asked)
    }

    /// A pattern is subscribed to, or its request is on the way.
    fn check_pattern(&self, number: u32) -> Result<(), Violation> {
        let id = SubscriptionId(number);
        let is_awaited = match self.subscriptions.get(id).map(Subscription::state) {
            Some(SubscriptionState::Active) => true,
            Some(SubscriptionState::Subscribing(wire) | SubscriptionState::Resubscribing(wire)) => {
                self.requests.sent(wire).is_ok()
            }
            Some(SubscriptionState::Detached | SubscriptionState::Ended) | None => {
                self.subscriptions.is_leaving(id)
            }
        };
        if is_awaited { Ok(()) } else { Err(Violation::Pattern { subscription: number }) }
    }
}

/// A `SubscribePattern` in its own buffer, since it may be kept for long.
pub(super) fn encode_subscribe_pattern(request: u32, pattern: &Subscription, start: Start) -> Bytes {
    let options = pattern.options();
    let mut out = BytesMut::new();
    let frame = ClientFrame::SubscribePattern(SubscribePattern {
        request,
        subscription: pattern.id().0,
        pattern: pattern.topic().as_bytes(),
        start,
        window: options.window,
        window_bytes: options.window_bytes,
        max_attempts: options.max_attempts,
        dead_letter: options.dead_letter.as_bytes(),
        durable: None,
    });
    frame.encode(&mut out);
    out.freeze()
}

/// A Seek of a number, or its Unsubscribe.
fn encode_step(request: u32, subscription: u32, to: Option<Start>) -> Bytes {
    let mut out = BytesMut::new();
    let frame = match to {
        Some(to) => ClientFrame::Seek(Seek { request, target: SeekTarget::Subscription(subscription), to }),
        None => ClientFrame::Unsubscribe(Unsubscribe { request, subscription }),
    };
    frame.encode(&mut out);
    out.freeze()
}

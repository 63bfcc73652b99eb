//! Answers to requests: each must have the kind and the order that its request allows.

use std::sync::Arc;

use zaichik_proto::{
    AckRun, Acked, Batched, Counters, Members, Page, Published, Subscribed, SubscriptionItem, TopicItem,
    TopicReady, Trimmed, Unsubscribed,
};

use super::Outcomes;
use crate::answer::{Answer, PublishReceipt, SubscriptionId, SubscriptionStart, TrimReceipt};
use crate::batch::{self, SentOperation};
use crate::error::Violation;
use crate::event::Event;
use crate::info::{SubscriptionInfo, TopicInfo};
use crate::requests::{Described, Original, PageFrom, RequestKind};
use crate::subscription::{Subscription, SubscriptionState};

impl Outcomes<'_> {
    /// A topic was created, or existed.
    pub(crate) fn topic_ready(&mut self, ready: TopicReady) -> Result<(), Violation> {
        self.answered(ready.request, RequestKind::CreateTopic, Answer::Topic(ready.status))
    }

    /// The oldest records of a topic were removed.
    pub(crate) fn trimmed(&mut self, trimmed: Trimmed) -> Result<(), Violation> {
        let Trimmed { request, start, removed } = trimmed;
        let kind = self.requests.sent_kind(request)?;
        if !matches!(kind, RequestKind::TrimTopic(_)) {
            return Err(Violation::Answer { request });
        }
        self.answered(request, kind, Answer::Trimmed(TrimReceipt { start, removed }))
    }

    /// A run of publishes was accepted, with only offsets to report.
    pub(crate) fn acknowledged(&mut self, run: AckRun) -> Result<(), Violation> {
        let mut wire = run.request;
        let mut first_offset = run.first_offset;
        for remaining in (0..run.requests).rev() {
            let count = self.requests.records_of_first_publish(wire)?;
            let receipt = PublishReceipt {
                first_offset: Some(first_offset),
                count,
                duplicates: Vec::new(),
                created: false,
                repeated: false,
            };
            self.requests.publish_accepted(wire, receipt)?;
            first_offset = first_offset.saturating_add(u64::from(count));
            if remaining > 0 {
                wire = self.requests.first_publish().ok_or(Violation::Answer { request: wire })?;
            }
        }
        Ok(())
    }

    /// A publish was accepted.
    pub(crate) fn published(&mut self, published: &Published<'_>) -> Result<(), Violation> {
        let fill = self.requests.sent_kind(published.request)?.fill_of(Original::Publish);
        let count = match fill {
            Some(fill) => fill.state.size.records,
            None => self.requests.records_of_first_publish(published.request)?,
        };
        let receipt = PublishReceipt {
            first_offset: published.first_offset,
            count,
            duplicates: published.duplicates.iter().collect(),
            created: published.created,
            repeated: published.repeated == Some(true),
        };
        if fill.is_some() {
            // Its original had been stored when it was given up.
            return self.requests.was_published(published.request, receipt);
        }
        self.requests.publish_accepted(published.request, receipt)
    }

    /// A batch took effect, with all of its commits.
    pub(crate) fn batched(&mut self, batched: &Batched<'_>) -> Result<(), Violation> {
        let request = batched.request;
        let sent = self.requests.sent(request)?;
        let operations = match (sent.kind, &sent.operations) {
            (RequestKind::Batch(_), Some(operations)) => Arc::clone(operations),
            (RequestKind::Fill(fill), operations) => {
                let operations = operations.clone();
                let original = self.requests.original(request, fill, batched);
                let Some(operations) = operations.filter(|_| original == Some(true)) else {
                    self.requests.sequence_used(request)?;
                    match original {
                        None => self.requests.filled(request, fill),
                        Some(_) => self.requests.give_up(request),
                    }
                    return Ok(());
                };
                operations
            }
            _ => return Err(Violation::Answer { request }),
        };
        let receipt = batch::receipt(batched, &operations).ok_or(Violation::Offsets { request })?;
        self.requests.sequence_used(request)?;
        for operation in operations.iter() {
            if let SentOperation::Commit { subscription, offset, generation, .. } = *operation {
                self.subscriptions.change(subscription, |subscription| {
                    if subscription.generation() == generation {
                        subscription.commit(offset);
                        subscription.commit_answered(offset.saturating_add(1), generation);
                    }
                });
            }
        }
        self.requests.finish(request, Ok(Answer::Batched(receipt)));
        Ok(())
    }

    /// A request that has at most a number as its result was done.
    pub(crate) fn done(&mut self, wire: u32, value: u64) -> Result<(), Violation> {
        let answer = match self.requests.sent_kind(wire)? {
            RequestKind::AlterTopic => Answer::Altered,
            RequestKind::Commit(id, _, generation) => {
                self.subscriptions.change(id, |subscription| subscription.commit_answered(value, generation));
                Answer::Committed { cursor: value }
            }
            RequestKind::RemoveDurable => Answer::Removed,
            // The topic counts as moved since it was sent.
            RequestKind::Continue(id) => {
                Answer::Rewound { rewind: self.subscriptions.get(id).map_or(0, Subscription::rewind_number) }
            }
            RequestKind::Nack(id, offset) => self.rewound(wire, Some(id), Some(offset), value)?,
            RequestKind::Seek(id, _) if self.awaits_subscribed(id) => return self.hold_seek(wire, id, value),
            RequestKind::Seek(id, _) => self.rewound(wire, Some(id), None, value)?,
            RequestKind::SeekDurable => self.rewound(wire, None, None, value)?,
            RequestKind::CreateTopic
            | RequestKind::TrimTopic(_)
            | RequestKind::Publish(_)
            | RequestKind::QuietPublish(_)
            | RequestKind::Batch(_)
            | RequestKind::Fill(_)
            | RequestKind::Subscribe(_)
            | RequestKind::Resubscribe(..)
            | RequestKind::Unsubscribe(_)
            | RequestKind::Leave(_)
            | RequestKind::Settle(_)
            | RequestKind::Describe(_)
            | RequestKind::DescribeShared
            | RequestKind::Ping => return Err(Violation::Answer { request: wire }),
        };
        self.requests.answer(wire, Ok(answer));
        Ok(())
    }

    /// A subscription began, or resumed.
    pub(crate) fn subscribed(&mut self, subscribed: &Subscribed) -> Result<(), Violation> {
        let Subscribed { request, subscription, epoch, rewind, start, end, created } = *subscribed;
        let id = self.subscribed_id(request, subscription, false)?;
        self.subscriptions.change(id, |subscription| subscription.subscribed(epoch, rewind, start));
        let answer = SubscriptionStart { subscription: id, created, start, end };
        self.requests.answer(request, Ok(Answer::Subscribed(answer)));
        for (wire, value) in
            self.subscriptions.change(id, Subscription::take_answered_seeks).unwrap_or_default()
        {
            self.done(wire, value)?;
        }
        Ok(())
    }

    /// Whether the Subscribed of a subscription is to arrive.
    fn awaits_subscribed(&self, id: SubscriptionId) -> bool {
        let state = self.subscriptions.get(id).map(Subscription::state);
        matches!(state, Some(SubscriptionState::Subscribing(_) | SubscriptionState::Resubscribing(_)))
    }

    /// The answer to a Seek has overtaken the Subscribed, which says where the Seek began: it counts after that.
    fn hold_seek(&mut self, wire: u32, id: SubscriptionId, value: u64) -> Result<(), Violation> {
        let is_new = self.subscriptions.change(id, |subscription| subscription.seek_answered(wire, value));
        if is_new == Some(true) { Ok(()) } else { Err(Violation::Answer { request: wire }) }
    }

    /// The broker ended a subscription, at the application's request or for its own reasons.
    pub(crate) fn unsubscribed(&mut self, unsubscribed: &Unsubscribed) -> Result<(), Violation> {
        let &Unsubscribed { request, subscription, last_offset } = unsubscribed;
        if request != 0 {
            let kind = match self.subscriptions.id_of(subscription)? {
                Some(id) => RequestKind::Unsubscribe(id),
                None => RequestKind::Leave(subscription),
            };
            self.answered(request, kind, Answer::Unsubscribed { last_offset })?;
        }
        self.subscriptions.ended(subscription, Event::Ended(last_offset))
    }

    pub(crate) fn counters(&mut self, counters: &Counters<'_>) -> Result<(), Violation> {
        let answer = Answer::Counters(counters.values.iter().collect());
        self.answered(counters.request, RequestKind::Describe(Described::Broker), answer)
    }

    pub(crate) fn topics(&mut self, page: &Page<'_, TopicItem<'_>>) -> Result<(), Violation> {
        let topics = page.items.iter().map(TopicInfo::from).collect();
        let answer = Answer::Topics { topics, next: page.next };
        let kind = self.requests.sent_kind(page.request)?;
        if !matches!(kind, RequestKind::Describe(Described::Topics(from)) if is_above(page.next, from)) {
            return Err(Violation::Answer { request: page.request });
        }
        self.answered(page.request, kind, answer)
    }

    pub(crate) fn subscriptions(&mut self, page: &Page<'_, SubscriptionItem<'_>>) -> Result<(), Violation> {
        let subscriptions = page.items.iter().map(SubscriptionInfo::from).collect();
        let answer = Answer::Subscriptions { subscriptions, next: page.next };
        let kind = self.requests.sent_kind(page.request)?;
        if !matches!(kind, RequestKind::Describe(Described::Subscriptions(from)) if is_above(page.next, from))
        {
            return Err(Violation::Answer { request: page.request });
        }
        self.answered(page.request, kind, answer)
    }

    /// Messages of a shared subscription were settled.
    pub(crate) fn acked(&mut self, acked: &Acked<'_>) -> Result<(), Violation> {
        let Acked { request, cursor, not_held } = *acked;
        let kind = self.requests.sent_kind(request)?;
        if !matches!(kind, RequestKind::Settle(_)) {
            return Err(Violation::Answer { request });
        }
        self.answered(request, kind, Answer::Acked { cursor, not_held: not_held.iter().collect() })
    }

    pub(crate) fn members(&mut self, members: &Members<'_>) -> Result<(), Violation> {
        let answer = Answer::Shared(Box::new(members.into()));
        self.answered(members.request, RequestKind::DescribeShared, answer)
    }

    /// A Pong arrived; if it does not answer a ping of the application, it answers a heartbeat.
    pub(crate) fn pong(&mut self, nonce: u64) {
        let Ok(wire) = u32::try_from(nonce) else {
            return;
        };
        if self.requests.sent_kind(wire) == Ok(RequestKind::Ping) {
            self.requests.answer(wire, Ok(Answer::Pong));
        }
    }

    /// Answers a request, which must be of this kind.
    fn answered(&mut self, wire: u32, kind: RequestKind, answer: Answer) -> Result<(), Violation> {
        if self.requests.sent_kind(wire)? != kind {
            return Err(Violation::Answer { request: wire });
        }
        self.requests.answer(wire, Ok(answer));
        Ok(())
    }

    /// The answer to a Nack or Seek: the subscription's rewind number.
    fn rewound(
        &mut self,
        wire: u32,
        subscription: Option<SubscriptionId>,
        nack: Option<u64>,
        value: u64,
    ) -> Result<Answer, Violation> {
        let rewind = u32::try_from(value).map_err(|_| Violation::Answer { request: wire })?;
        if let Some(id) = subscription {
            self.subscriptions.change(id, |subscription| subscription.rewound(rewind, nack));
        }
        Ok(Answer::Rewound { rewind })
    }
}

/// Whether the next page, if there is one, begins above this one; otherwise a list would never end.
fn is_above(next: Option<u32>, PageFrom(from): PageFrom) -> bool {
    next.is_none_or(|next| next > from)
}

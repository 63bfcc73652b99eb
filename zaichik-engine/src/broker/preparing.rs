//! Settling the deaths that a request depends on, before it is applied (rule S14).
//!
//! A million records may die at one instant. Their deaths are settled in steps, and a request that depends on which
//! records are live waits in its place until none is left. Every attempt makes progress.

use zaichik_proto::{
    Batch, ClientFrame, Operation, SeekTarget, Subject, Subscribe, SubscribeShared, Timestamp,
};

use super::memory::Memory;
use super::sessions::Sessions;
use super::subscriptions::Subscriptions;
use super::topics::{Topics, topic_name};
use crate::id::{SessionId, TopicId};
use crate::planted::{Defect, is_planted};
use crate::topic::Topic;

/// Steps for which deaths are settled even if the exchange has used its share, so that every attempt makes progress.
const LEAST_STEPS: u64 = 64;

/// Whether a request may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepared {
    Ready,
    /// A bounded part of what it waits for was done.
    InPart,
    /// It waits for records that are only in the store; the session is woken when they are there.
    Awaited,
}

/// The parts of the broker that this needs.
#[derive(Debug)]
pub(super) struct Preparing<'b> {
    pub(super) now: Timestamp,
    /// The step at which the exchange has used its share.
    pub(super) last_step: u64,
    pub(super) sessions: &'b Sessions,
    pub(super) topics: &'b mut Topics,
    pub(super) subscriptions: &'b Subscriptions,
    pub(super) memory: &'b mut Memory,
}

impl Preparing<'_> {
    /// Whether a request may be applied now; if not, a bounded part of what it waits for was done.
    pub(super) fn prepare(&mut self, session: SessionId, frame: &ClientFrame<'_>) -> bool {
        if is_planted(Defect::UnsettledWalk) {
            return true;
        }
        match frame {
            ClientFrame::Publish(publish) => self.settle_named(publish.topic),
            ClientFrame::Batch(batch) => self.settle_batch(batch),
            ClientFrame::CreateTopic(create) => self.settle_keys(create.topic),
            ClientFrame::AlterTopic(alter) => self.settle_keys(alter.topic),
            ClientFrame::TrimTopic(trim) => self.settle_named(trim.topic),
            ClientFrame::Subscribe(Subscribe { topic, .. })
            | ClientFrame::SubscribeShared(SubscribeShared { topic, .. }) => self.settle_named(topic),
            ClientFrame::Seek(seek) => match seek.target {
                SeekTarget::Subscription(number) => self.settle_numbered(session, number),
                SeekTarget::Durable { topic, .. } => self.settle_named(topic),
            },
            ClientFrame::Nack(nack) => self.settle_numbered(session, nack.subscription),
            ClientFrame::NackShared(nack) => self.settle_numbered(session, nack.subscription),
            ClientFrame::Describe(describe) => match describe.subject {
                Subject::Topic { topic } => self.settle_named(topic),
                Subject::Topics { from } => self.topics.nth(from).is_none_or(|id| self.settle(id)),
                Subject::Broker | Subject::Subscriptions { .. } | Subject::Durable { .. } => true,
            },
            ClientFrame::Commit(_)
            | ClientFrame::Unsubscribe(_)
            | ClientFrame::RemoveDurable(_)
            | ClientFrame::Hello(_)
            | ClientFrame::Shard(_)
            | ClientFrame::Ack(_)
            | ClientFrame::Extend(_)
            | ClientFrame::DescribeShared(_)
            | ClientFrame::SubscribePattern(_)
            | ClientFrame::Ping { .. }
            | ClientFrame::Pong { .. }
            | ClientFrame::Close
            | ClientFrame::Extension { .. } => true,
        }
    }

    /// Settles the topic that a request names, if it exists.
    pub(super) fn settle_named(&mut self, name: &[u8]) -> bool {
        self.find(name).is_none_or(|id| self.settle(id))
    }

    fn settle_keys(&mut self, name: &[u8]) -> bool {
        self.find(name).is_none_or(|id| self.settle_with(id, Topic::settle_keys))
    }

    fn settle_batch(&mut self, batch: &Batch<'_>) -> bool {
        batch.operations.iter().all(|operation| match operation {
            Operation::Publish { topic, .. } => self.settle_named(topic),
            Operation::Commit { .. } | Operation::Ack { .. } => true,
        })
    }

    /// Settles the topic of a subscription, and its dead-letter topic.
    fn settle_numbered(&mut self, session: SessionId, number: u32) -> bool {
        let Some(entry) = self.sessions.get(session) else { return true };
        let group = || Some(self.subscriptions.members.get(entry.member(number)?)?.group);
        let key = entry.subscriptions.get(&number).copied().or_else(group);
        let Some(subscription) = key.map(|key| &self.subscriptions[key]) else {
            return true;
        };
        let (topic, dead_letter) = (subscription.topic, subscription.terms.dead_letter);
        self.settle(topic) && dead_letter.is_none_or(|dead_letter| self.settle(dead_letter.topic))
    }

    fn settle(&mut self, id: TopicId) -> bool {
        self.settle_with(id, Topic::settle)
    }

    fn settle_with(&mut self, id: TopicId, settle: impl Fn(&mut Topic, Timestamp, u64) -> bool) -> bool {
        let left = self.last_step.saturating_sub(self.topics.steps()).max(LEAST_STEPS);
        let is_settled = settle(&mut self.topics[id], self.now, left);
        self.topics.settle(id, self.memory);
        is_settled
    }

    fn find(&self, name: &[u8]) -> Option<TopicId> {
        self.topics.find(topic_name(name).ok()?)
    }
}

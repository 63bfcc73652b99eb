//! One request between the application's call and its answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{HEADER_LEN, Limits, Refusal, RefusalCode, Start, Timestamp, Welcome};

use crate::answer::{RequestId, SubscriptionId};
use crate::backoff::Backoff;
use crate::batch::SentOperation;
use crate::error::RequestError;
use crate::size::Size;

/// A new request of the application, before it has an id.
pub(crate) struct NewRequest {
    pub(crate) topic: Arc<str>,
    pub(crate) kind: RequestKind,
    /// When the application stops waiting; [`Timestamp::MAX`] for never.
    pub(crate) deadline: Timestamp,
    /// The operations of a batch.
    pub(crate) operations: Option<Arc<[SentOperation]>>,
}

/// A request whose outcome is not known yet.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its id in frames.
    pub(crate) wire: u32,
    /// The application's name for it; `None` once it has its answer, or if it never wanted one.
    pub(crate) id: Option<RequestId>,
    /// Its number in the order in which requests were made.
    pub(crate) order: u64,
    /// Its place in the queue of requests to send: lower places are sent first.
    pub(crate) place: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) kind: RequestKind,
    pub(crate) progress: Progress,
    /// The complete frame, kept as long as it may be sent; an empty batch in its place has none until it is written.
    pub(crate) frame: Bytes,
    /// Its sequence number, from the first time that it is written on (rule P3). No other request ever gets it, unless
    /// it certainly never left.
    pub(crate) sequence: Option<u64>,
    /// Whether a connection that is gone may have carried the number to the broker, where it may still arrive.
    pub(crate) is_bound: bool,
    /// Whether it was sent on a connection that is gone, and no answer since has ruled out that it was applied.
    pub(crate) may_be_applied: bool,
    /// The operations of a batch.
    pub(crate) operations: Option<Arc<[SentOperation]>>,
    /// When it is due to be resent or given up; [`Timestamp::MAX`] for never.
    pub(crate) timer: Timestamp,
    /// When the application stops waiting; [`Timestamp::MAX`] for never.
    pub(crate) deadline: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    CreateTopic,
    AlterTopic,
    TrimTopic(Start),
    Publish(PublishState),
    /// A publish without acknowledgement; it is forgotten once it is written.
    QuietPublish(Size),
    Batch(PublishState),
    /// An empty batch that uses up the number of a publish or batch that was given up.
    Fill(Fill),
    Subscribe(SubscriptionId),
    /// Subscribe after a reconnect, made by the client itself.
    Resubscribe(SubscriptionId, Backoff),
    Unsubscribe(SubscriptionId),
    /// Seek of a topic that was matched again, to where the application is, made by the client itself.
    Continue(SubscriptionId),
    /// Unsubscribe of a topic that was matched again and that the application has left, under this number, made by the client
    /// itself.
    Leave(u32),
    /// With the offset, and the generation of the subscription in which it was made.
    Commit(SubscriptionId, u64, u32),
    Nack(SubscriptionId, u64),
    Seek(SubscriptionId, Start),
    SeekDurable,
    RemoveDurable,
    /// Of a shared subscription.
    Settle(Settlement),
    Describe(Described),
    DescribeShared,
    Ping,
}

/// What happens to messages of a shared subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    Ack,
    GiveBack,
    Extend,
}

/// The subject of a Describe, which decides the kind of frame that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Described {
    Broker,
    Topics(PageFrom),
    Subscriptions(PageFrom),
}

/// Where the requested page begins; the one that follows must begin above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageFrom(pub(crate) u32);

impl PageFrom {
    /// Of an answer with one item, which no page follows.
    pub(crate) const SINGLE: Self = Self(u32::MAX);
}

/// The progress of a publish or a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublishState {
    pub(crate) size: Size,
    pub(crate) backoff: Backoff,
    /// Why the broker last refused it.
    pub(crate) refusal: Option<Refusal>,
}

/// A publish or batch that was given up before its number was used up (rule P4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) state: PublishState,
    pub(crate) of: Original,
    pub(crate) reason: Reason,
}

/// The request whose number a fill uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Original {
    Publish,
    Batch,
}

/// Why a request was given up, which is its answer if it certainly was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Refused(Refusal),
    HeldBack(Refusal),
    NotApplied,
    NotSent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Waits in the queue for the connection, or for its producer's turn.
    Queued,
    /// Written to the output; its frame ends before byte `end`, counted over all bytes sent on all connections.
    Sent { end: u64 },
    /// In no queue: waits for its timer.
    Waiting,
}

/// A request whose connection is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LostRequest {
    pub(crate) wire: u32,
    /// Whether the connection carried its last byte; a request without it can't have taken effect.
    pub(crate) has_left: bool,
    /// Whether it waits for its timer, after a refusal.
    pub(crate) is_waiting: bool,
}

impl PublishState {
    pub(crate) const fn new(size: Size) -> Self {
        Self { size, backoff: Backoff::PUBLISH, refusal: None }
    }
}

impl RequestKind {
    /// The empty batch in the place of such a request, if it is one.
    pub(crate) fn fill_of(self, original: Original) -> Option<Fill> {
        if let Self::Fill(fill) = self { Some(fill).filter(|fill| fill.of == original) } else { None }
    }

    /// The publish or batch that it is.
    pub(crate) const fn original(self) -> Option<(PublishState, Original)> {
        if let Self::Publish(state) = self {
            Some((state, Original::Publish))
        } else if let Self::Batch(state) = self {
            Some((state, Original::Batch))
        } else {
            None
        }
    }
}

impl Request {
    /// Appends the frame to the output.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        let numbered = self.sequence.and_then(|sequence| {
            let (head, rest) = self.frame.split_at_checked(SEQUENCE_AT)?;
            Some((head, sequence.to_le_bytes(), rest.get(SEQUENCE_LEN..)?))
        });
        let Some((head, sequence, rest)) = numbered else {
            out.extend_from_slice(&self.frame);
            return;
        };
        out.extend_from_slice(head);
        out.extend_from_slice(&sequence);
        out.extend_from_slice(rest);
    }

    /// The sizes that the broker's limits apply to, for a request with records.
    const fn size(&self) -> Option<Size> {
        match self.kind {
            RequestKind::Publish(PublishState { size, .. })
            | RequestKind::Batch(PublishState { size, .. })
            | RequestKind::QuietPublish(size) => Some(size),
            RequestKind::Fill(_)
            | RequestKind::CreateTopic
            | RequestKind::AlterTopic
            | RequestKind::TrimTopic(_)
            | RequestKind::Subscribe(_)
            | RequestKind::Resubscribe(..)
            | RequestKind::Unsubscribe(_)
            | RequestKind::Continue(_)
            | RequestKind::Leave(_)
            | RequestKind::Commit(..)
            | RequestKind::Nack(..)
            | RequestKind::Seek(..)
            | RequestKind::SeekDurable
            | RequestKind::RemoveDurable
            | RequestKind::Settle(_)
            | RequestKind::Describe(_)
            | RequestKind::DescribeShared
            | RequestKind::Ping => None,
        }
    }

    /// Whether a broker with these limits and capabilities takes it.
    pub(crate) fn check(&self, limits: &Limits, capabilities: u64) -> Result<(), RequestError> {
        let is_trim = matches!(self.kind, RequestKind::TrimTopic(_));
        let is_shared = matches!(self.kind, RequestKind::DescribeShared);
        let needed = if is_trim { Welcome::TRIM } else { 0 } | if is_shared { Welcome::SHARED } else { 0 };
        if capabilities & needed != needed {
            let refusal = Refusal::new(RefusalCode::Unsupported);
            return Err(RequestError::Refused { topic: Arc::clone(&self.topic), refusal });
        }
        self.size().map_or(Ok(()), |size| size.check(limits))
    }

    pub(crate) const fn is_sent(&self) -> bool {
        matches!(self.progress, Progress::Sent { .. })
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.progress == Progress::Queued
    }

    /// Whether it is a publish or a batch with an answer, which a producer numbers.
    pub(crate) const fn is_acknowledged_publish(&self) -> bool {
        matches!(self.kind, RequestKind::Publish(_) | RequestKind::Batch(_) | RequestKind::Fill(_))
    }

    /// Whether a later publish without an acknowledgement waits for it (rule P6): once it is answered, it is not resent.
    pub(super) const fn is_ahead(&self) -> bool {
        self.sequence.is_some() && self.id.is_some()
    }

    /// Whether it is an empty batch whose original is answered.
    pub(super) const fn is_given_up(&self) -> bool {
        matches!(self.kind, RequestKind::Fill(_)) && self.id.is_none()
    }

    /// Whether it is a publish without an answer.
    pub(crate) const fn is_quiet_publish(&self) -> bool {
        matches!(self.kind, RequestKind::QuietPublish(_))
    }

    /// Whether the client itself made it.
    pub(crate) const fn is_internal(&self) -> bool {
        matches!(self.kind, RequestKind::Resubscribe(..) | RequestKind::Continue(_) | RequestKind::Leave(_))
    }

    /// Whether its answer is no longer awaited and only its sequence number keeps it.
    pub(crate) const fn is_abandoned(&self) -> bool {
        self.id.is_none() && self.is_acknowledged_publish()
    }

    /// Whether it is a batch that publishes anything.
    pub(crate) fn has_publishes(&self) -> bool {
        let operations = self.operations.as_deref().unwrap_or_default();
        operations.iter().any(|operation| operation.committed_subscription().is_none())
    }

    /// Whether it is a batch that commits anything.
    pub(crate) fn has_commits(&self) -> bool {
        self.committed_subscriptions().next().is_some()
    }

    /// Whether it is a batch that names matched topics, by numbers that mean others on the next connection.
    pub(crate) fn names_aliases(&self) -> bool {
        let operations = self.operations.as_deref().unwrap_or_default();
        operations.iter().any(SentOperation::names_alias)
    }

    /// The subscriptions in which a batch commits, once for each commit.
    pub(crate) fn committed_subscriptions(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        let operations = self.operations.iter().flat_map(|operations| operations.iter());
        operations.filter_map(SentOperation::committed_subscription)
    }

    /// The topic of an operation of a batch, counted from 0; of the request itself if there is no such operation.
    pub(crate) fn topic_of(&self, operation: u32) -> Arc<str> {
        let operations = self.operations.as_deref().unwrap_or_default();
        let operation = operations.get(operation as usize);
        Arc::clone(operation.map_or(&self.topic, SentOperation::topic))
    }

    /// Replaces the state of a publish or batch.
    pub(crate) const fn set_publish_state(&mut self, state: PublishState) {
        if let RequestKind::Publish(old)
        | RequestKind::Batch(old)
        | RequestKind::Fill(Fill { state: old, .. }) = &mut self.kind
        {
            *old = state;
        }
    }
}

/// Where the sequence number is in a Publish or Batch frame: after request, count, ack, the flag, id and epoch.
const SEQUENCE_AT: usize = HEADER_LEN + 4 + 4 + 1 + 1 + 16 + 4;
const SEQUENCE_LEN: usize = 8;

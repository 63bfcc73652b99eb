//! One request between the application's call and the answer to it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zaichik_proto::{HEADER_LEN, Refusal, Start};

use crate::answer::{RequestId, SubscriptionId};
use crate::backoff::Backoff;
use crate::client::batch::Entry;
use crate::size::Size;
use zaichik_proto::Timestamp;

/// A request whose answer is not known yet.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) wire: u32,
    /// The application's name for it; `None` when it asks nothing of it any more, or never did.
    pub(crate) id: Option<RequestId>,
    /// In which order requests were made.
    pub(crate) order: u64,
    /// Where it stands among those that wait for the connection.
    pub(crate) place: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) phase: Phase,
    /// The whole frame, kept until it can't be sent any more.
    pub(crate) frame: Bytes,
    /// Its producer's number, while the broker has it or may have it (semantics P3).
    pub(crate) sequence: Option<u64>,
    /// Whether it left on a connection that is gone, and nothing told since that it was not applied.
    pub(crate) may_be_applied: bool,
    /// What a batch consists of.
    pub(crate) entries: Option<Arc<[Entry]>>,
    /// When the request is to be looked at; [`Timestamp::MAX`] for never.
    pub(crate) timer: Timestamp,
    /// When the application stops waiting.
    pub(crate) deadline: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CreateTopic,
    AlterTopic,
    Publish(PublishState),
    /// A publish that wants no answer; it is forgotten when it is written.
    PublishQuiet(Size),
    Batch(PublishState),
    Subscribe(SubscriptionId),
    /// After a reconnect, for a subscription that was active.
    Resubscribe(SubscriptionId, Backoff),
    Unsubscribe(SubscriptionId),
    Commit(SubscriptionId, u64),
    Nack(SubscriptionId, u64),
    Seek(SubscriptionId, Start),
    SeekDurable,
    RemoveDurable,
    Describe(About),
    Ping,
}

/// What a description is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Broker,
    Topics,
    Subscriptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublishState {
    pub(crate) size: Size,
    pub(crate) backoff: Backoff,
    /// Why the broker refused it last.
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for the connection, or for its producer's turn.
    Unsent,
    /// Written to the output; the frame's last byte is the one before `end` of all bytes ever sent.
    Sent { end: u64 },
    /// Refused for the moment: waits for its timer.
    Retry,
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

    /// What the broker's limits bound in it.
    pub(crate) const fn size(&self) -> Option<Size> {
        match self.kind {
            Kind::Publish(PublishState { size, .. })
            | Kind::Batch(PublishState { size, .. })
            | Kind::PublishQuiet(size) => Some(size),
            Kind::CreateTopic
            | Kind::AlterTopic
            | Kind::Subscribe(_)
            | Kind::Resubscribe(..)
            | Kind::Unsubscribe(_)
            | Kind::Commit(..)
            | Kind::Nack(..)
            | Kind::Seek(..)
            | Kind::SeekDurable
            | Kind::RemoveDurable
            | Kind::Describe(_)
            | Kind::Ping => None,
        }
    }

    /// Whether nobody waits for it and only its number keeps it.
    pub(crate) const fn is_abandoned(&self) -> bool {
        self.id.is_none() && matches!(self.kind, Kind::Publish(_) | Kind::Batch(_))
    }
}

/// Where a producer's number stands in a Publish or Batch frame: behind request, count, ack, the flag, id and epoch.
const SEQUENCE_AT: usize = HEADER_LEN + 4 + 4 + 1 + 1 + 16 + 4;
const SEQUENCE_LEN: usize = 8;

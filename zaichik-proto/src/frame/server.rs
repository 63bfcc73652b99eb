//! Frames that the broker sends.

use super::batch::Batched;
use super::connection::{Fatal, Goodbye, Welcome};
use super::delivery::{Delivery, Fenced, Gap};
use super::describe::{Counters, SubscriptionItem, TopicItem};
use super::members::Members;
use super::pattern::{Matched, NotMatched, PatternSubscribed};
use super::publish::{Acks, Published};
use super::shared::Acked;
use super::subscribe::{Subscribed, Unsubscribed};
use super::topic::{TopicReady, Trimmed};
use crate::page::Page;
use crate::refusal::Refusal;

/// A frame from the broker to a client (docs/protocol.md §7).
///
/// Exhaustive: a client must handle every frame, so a new one must break its build.
///
/// Subscribed, Delivery, Gap, Fenced and Unsubscribed travel in the *stream lane*, all others in the *control
/// lane*. Frames are ordered within a lane only (rule A7). A Goodbye that answers Close, or a Fatal, is the last
/// frame of a connection.
///
/// ```
/// use bytes::BytesMut;
/// use zaichik_proto::ServerFrame;
/// let mut wire = BytesMut::new();
/// ServerFrame::Pong { nonce: 7 }.encode(&mut wire);
/// assert_eq!(&wire[..], [8, 0, 0, 0, 0x4e, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// The first frame of a connection.
    Welcome(Welcome<'a>),
    /// Answers `CreateTopic`.
    TopicReady(TopicReady),
    /// Answers publishes that appended all of their records to existing topics.
    Acks(Acks<'a>),
    /// Answers one publish in full.
    Published(Published<'a>),
    /// Answers a batch.
    Batched(Batched<'a>),
    /// Answers a refused request, or counts refused publishes that requested no acknowledgement.
    Refused(Refused),
    /// Answers `AlterTopic`, Commit, Nack, Seek and `RemoveDurable`.
    Done(Done),
    /// Answers Subscribe.
    Subscribed(Subscribed),
    /// Delivers records to one subscription.
    Delivery(Delivery<'a>),
    /// Reports offsets that will not be delivered to a subscription.
    Gap(Gap),
    /// Reports that another connection took over a durable subscription.
    Fenced(Fenced),
    /// Answers Unsubscribe, or reports that the broker ended a subscription.
    Unsubscribed(Unsubscribed),
    /// Answers a Describe of the broker.
    Counters(Counters<'a>),
    /// Answers a Describe of topics.
    Topics(Page<'a, TopicItem<'a>>),
    /// Answers a Describe of subscriptions.
    Subscriptions(Page<'a, SubscriptionItem<'a>>),
    /// Answers `TrimTopic`; from version 2 on.
    Trimmed(Trimmed),
    /// Answers Ack, `NackShared` and Extend; from version 2 on.
    Acked(Acked<'a>),
    /// Answers `DescribeShared`; from version 2 on.
    Members(Members<'a>),
    /// Answers `SubscribePattern`; from version 2 on.
    PatternSubscribed(PatternSubscribed),
    /// Announces a topic that a pattern matches; from version 2 on.
    Matched(Matched<'a>),
    /// Reports a topic that a pattern matches and does not receive; from version 2 on.
    NotMatched(NotMatched<'a>),
    /// Requests a Pong.
    Ping {
        /// A number that the Pong repeats.
        nonce: u64,
    },
    /// Answers a Ping.
    Pong {
        /// The nonce of the Ping.
        nonce: u64,
    },
    /// Announces that the broker will close the connection in an orderly way.
    Goodbye(Goodbye),
    /// Reports the error that ends the connection; the last frame of a connection.
    Fatal(Fatal<'a>),
    /// A frame of a later version (kind 0x80 and above), to be ignored.
    Extension {
        /// The frame's kind byte.
        kind: u8,
        /// Its body.
        body: &'a [u8],
    },
}

/// Reports a refused request, or several refused publishes that requested no acknowledgement.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Refusal, RefusalCode, Refused};
/// let refusal = Refusal::with_value(RefusalCode::Busy, 50_000);
/// let refused = Refused { request: 3, count: 1, refusal, repeated: None };
/// let mut wire = BytesMut::new();
/// ServerFrame::Refused(refused).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Refused(refused), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The request's id; 0 for publishes without acknowledgement.
    pub request: u32,
    /// Number of refused requests: 1 for an answer, otherwise the number since the last such frame with this code.
    pub count: u32,
    /// The reason; that of the latest request if there are several.
    pub refusal: Refusal,
    /// Whether the request had been refused before, and this is the stored answer; `None` in version 1, and only there.
    pub repeated: Option<bool>,
}

/// Reports that a request succeeded.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Done};
/// let done = Done { request: 3, value: 42 }; // of a Commit: the cursor
/// let mut wire = BytesMut::new();
/// ServerFrame::Done(done).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Done(done), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The request's id.
    pub request: u32,
    /// After a Commit the cursor; after a Nack or Seek the subscription's new rewind number; after `AlterTopic` and
    /// `RemoveDurable` 0.
    pub value: u64,
}

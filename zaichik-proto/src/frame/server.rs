//! Frames that the broker sends.

use super::batch::Batched;
use super::connection::{Fatal, Goodbye, Welcome};
use super::delivery::{Delivery, Fenced, Gap};
use super::describe::{Counters, SubscriptionItem, TopicItem};
use super::publish::{Acks, Published};
use super::subscribe::{Subscribed, Unsubscribed};
use super::topic::TopicReady;
use crate::page::Page;
use crate::refusal::Refusal;

/// A frame from the broker to a client (docs/protocol.md §7).
///
/// Exhaustive: a client has to handle each of them, so a new one must not compile unnoticed.
///
/// Subscribed, Delivery, Gap, Fenced and Unsubscribed travel in the *stream lane*, all others in the *control
/// lane*; order holds within a lane (semantics A7). The Goodbye that answers Close, and Fatal, come last of
/// all.
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
    /// Answers a run of publishes that were plainly accepted.
    Acks(Acks<'a>),
    /// Answers one publish in full.
    Published(Published<'a>),
    /// Answers a batch.
    Batched(Batched<'a>),
    /// Answers any request that was refused, or counts refused publishes that wanted no answer.
    Refused(Refused),
    /// Answers `AlterTopic`, Commit, Nack, Seek and `RemoveDurable`.
    Done(Done),
    /// Answers Subscribe.
    Subscribed(Subscribed),
    /// Records of one subscription.
    Delivery(Delivery<'a>),
    /// Offsets that this subscription will not get.
    Gap(Gap),
    /// Another connection took the durable subscription over.
    Fenced(Fenced),
    /// Answers Unsubscribe, or tells that the broker ended a subscription.
    Unsubscribed(Unsubscribed),
    /// Answers a Describe of the broker.
    Counters(Counters<'a>),
    /// Answers a Describe of topics.
    Topics(Page<'a, TopicItem<'a>>),
    /// Answers a Describe of subscriptions.
    Subscriptions(Page<'a, SubscriptionItem<'a>>),
    /// Asks for a Pong.
    Ping {
        /// Comes back in the Pong.
        nonce: u64,
    },
    /// Answers a Ping.
    Pong {
        /// The Ping's.
        nonce: u64,
    },
    /// The broker will close the connection in an orderly way.
    Goodbye(Goodbye),
    /// The connection is over because something broke; the last frame of a connection.
    Fatal(Fatal<'a>),
    /// A frame of a later version (kind 0x80 and above): to be skipped.
    Extension {
        /// The frame's kind byte.
        kind: u8,
        /// Its body.
        body: &'a [u8],
    },
}

/// A request was refused, or several publishes that wanted no answer were.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Refusal, RefusalCode, Refused};
/// let refused = Refused { request: 3, count: 1, refusal: Refusal::with_value(RefusalCode::Busy, 50_000) };
/// let mut wire = BytesMut::new();
/// ServerFrame::Refused(refused).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Refused(refused), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The request's id; 0 for publishes that wanted no answer.
    pub request: u32,
    /// How many requests: 1 for an answer, else how many since the last such frame with this code.
    pub count: u32,
    /// Why; of the latest one if there were several.
    pub refusal: Refusal,
}

/// A request succeeded.
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
    /// Commit: the cursor. Nack and Seek: the subscription's rewind number, now. `AlterTopic` and
    /// `RemoveDurable`: 0.
    pub value: u64,
}

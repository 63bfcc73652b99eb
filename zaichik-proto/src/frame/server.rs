//! Frames that the broker sends.

use crate::describe::{CounterValue, Page, SubscriptionItem, TopicItem};
use crate::error::FaultCode;
use crate::limits::Limits;
use crate::list::{AckRun, BatchDuplicate, BatchResult, Duplicate, List};
use crate::record::Records;
use crate::refusal::Refusal;

/// A frame from the broker to a client (docs/protocol.md §7).
///
/// Subscribed, Delivery, Gap, Fenced and Unsubscribed travel in the *stream lane*, all others in the *control
/// lane*; order holds within a lane (semantics A7). The Goodbye that answers Close, and Fatal, come last of
/// all.
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

/// The broker's half of the handshake (docs/protocol.md §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The protocol version that both will speak.
    pub version: u16,
    /// The broker's instance: offsets, cursors and sequences hold within one instance only (semantics P5).
    pub instance: u128,
    /// What the connection may carry.
    pub limits: Limits,
    /// What the broker calls itself, with its version.
    pub server: &'a str,
}

/// What `CreateTopic` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicStatus {
    /// The topic existed with the same settings.
    Unchanged,
    /// The topic is new.
    Created,
    /// The topic existed implicitly and has the settings now.
    Adopted,
}

/// Answers `CreateTopic` (semantics T2 to T4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicReady {
    /// The request's id.
    pub request: u32,
    /// What became of it.
    pub status: TopicStatus,
}

/// Answers publishes that were plainly accepted (semantics P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acks<'a> {
    /// The runs, in request order; at least one.
    pub runs: List<'a, AckRun>,
}

/// Answers one publish in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published<'a> {
    /// The request's id.
    pub request: u32,
    /// Whether the publish created its topic.
    pub created: bool,
    /// Offset of the first record appended, the others follow it; `None` if all were duplicates.
    pub first_offset: Option<u64>,
    /// The records that were not appended, in order.
    pub duplicates: List<'a, Duplicate>,
}

/// Answers a batch (semantics X).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batched<'a> {
    /// The request's id.
    pub request: u32,
    /// One entry for each publish operation, in order.
    pub results: List<'a, BatchResult>,
    /// The records that were not appended, in order.
    pub duplicates: List<'a, BatchDuplicate>,
}

/// A request was refused, or several publishes that wanted no answer were.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The request's id.
    pub request: u32,
    /// Commit: the cursor. Nack and Seek: the subscription's rewind number, now. `AlterTopic` and
    /// `RemoveDurable`: 0.
    pub value: u64,
}

/// What the broker counted (docs/protocol.md §7.16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters<'a> {
    /// The request's id.
    pub request: u32,
    /// The counters that are not 0, or may be of use all the same.
    pub values: List<'a, CounterValue>,
}

/// A subscription has begun (semantics R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribed {
    /// The request's id.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The durable subscription's epoch; 0 for one that is not durable.
    pub epoch: u32,
    /// The rewind number of the deliveries that follow.
    pub rewind: u32,
    /// Whether the topic was created by this request.
    pub created: bool,
    /// The first offset that can be delivered.
    pub start: u64,
    /// The topic's end: the offset of the next record to be accepted.
    pub end: u64,
}

/// Records of one subscription, with consecutive offsets (semantics A5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The subscription's number.
    pub subscription: u32,
    /// The subscription's rewind number; a delivery with an old one is to be dropped (semantics A4).
    pub rewind: u32,
    /// How often each of these records was delivered to this subscription, this time included.
    pub attempt: u32,
    /// Offset of the first record.
    pub first_offset: u64,
    /// The records.
    pub records: Records<'a>,
}

/// What stands before the records of a delivery, for a sender that has their bytes elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryHead {
    /// The subscription's number.
    pub subscription: u32,
    /// The subscription's rewind number.
    pub rewind: u32,
    /// How often each of these records was delivered to this subscription, this time included.
    pub attempt: u32,
    /// How many records follow.
    pub count: u32,
    /// Offset of the first one.
    pub first_offset: u64,
}

/// Why offsets are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// The records expired.
    Expired,
    /// A limit of the topic removed records here.
    Limit,
}

/// Offsets that this subscription will not get (semantics R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The subscription's number.
    pub subscription: u32,
    /// The subscription's rewind number.
    pub rewind: u32,
    /// Why.
    pub reason: GapReason,
    /// The first missing offset.
    pub from: u64,
    /// The first offset after the gap.
    pub to: u64,
}

/// Another connection took a durable subscription over (semantics D3). Final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    /// The subscription's number.
    pub subscription: u32,
    /// The newer attachment's epoch.
    pub epoch: u32,
}

/// A subscription has ended; no delivery of it follows (semantics A9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribed {
    /// The request's id; 0 if the broker ended it.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The highest offset delivered on this connection; `None` if none was.
    pub last_offset: Option<u64>,
}

/// Why the broker says goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoodbyeReason {
    /// The client asked for it.
    Closed,
    /// The broker stops: commit what is done; the connection closes when the grace time is over.
    Draining,
}

/// The broker will close the connection in an orderly way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goodbye {
    /// Why.
    pub reason: GoodbyeReason,
    /// How long it stays open at most, in milliseconds; 0 with [`GoodbyeReason::Closed`].
    pub grace_millis: u32,
}

/// The connection is over because something broke (docs/protocol.md §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fatal<'a> {
    /// What broke.
    pub code: FaultCode,
    /// Where in the client's stream the offending frame starts, in bytes; 0 if it is not about a frame.
    pub offset: u64,
    /// The same for people; at most [`Limits::MAX_TEXT`] bytes.
    pub text: &'a str,
}

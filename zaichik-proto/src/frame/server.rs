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

/// The broker's half of the handshake (docs/protocol.md §3).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Limits, ServerDecoder, ServerFrame, Welcome};
/// let limits = Limits::default();
/// let welcome = Welcome { version: 1, instance: 7, limits, server: "zaichik 0.1.0" };
/// let mut wire = BytesMut::new();
/// ServerFrame::Welcome(welcome).encode(&mut wire);
/// let mut decoder = ServerDecoder::handshake(&limits);
/// let (frame, _) = decoder.decode(&wire)?.expect("a whole frame");
/// assert_eq!(frame, ServerFrame::Welcome(welcome));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
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
///
/// ```
/// use zaichik_proto::TopicStatus;
/// let is_new = |status| matches!(status, TopicStatus::Created);
/// assert!(is_new(TopicStatus::Created) && !is_new(TopicStatus::Adopted));
/// ```
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
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, TopicReady, TopicStatus};
/// let ready = TopicReady { request: 1, status: TopicStatus::Created };
/// let mut wire = BytesMut::new();
/// ServerFrame::TopicReady(ready).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::TopicReady(ready), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicReady {
    /// The request's id.
    pub request: u32,
    /// What became of it.
    pub status: TopicStatus,
}

/// Answers publishes that were plainly accepted (semantics P1).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, AckRun, Acks, List};
/// let mut bytes = Vec::new();
/// // Requests 1 to 3, whose records have the offsets from 40 on.
/// let runs = List::encode_into(&mut bytes, [AckRun { request: 1, requests: 3, first_offset: 40 }]);
/// let acks = Acks { runs };
/// let mut wire = BytesMut::new();
/// ServerFrame::Acks(acks).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Acks(acks), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acks<'a> {
    /// The runs, in request order; at least one.
    pub runs: List<'a, AckRun>,
}

/// Answers one publish in full.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Duplicate, List, Published};
/// let mut bytes = Vec::new();
/// let duplicates = List::encode_into(&mut bytes, [Duplicate { record: 1, offset: 7 }]);
/// let published = Published { request: 1, created: false, first_offset: Some(40), duplicates };
/// let mut wire = BytesMut::new();
/// ServerFrame::Published(published).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Published(published), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
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
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Batched, List};
/// let batched = Batched { request: 8, results: List::EMPTY, duplicates: List::EMPTY };
/// let mut wire = BytesMut::new();
/// ServerFrame::Batched(batched).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Batched(batched), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
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

/// What the broker counted (docs/protocol.md §7.16).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Counter, CounterValue, Counters, List};
/// let mut bytes = Vec::new();
/// let values = List::encode_into(&mut bytes, [CounterValue { counter: Counter::Topics, value: 7 }]);
/// let counters = Counters { request: 6, values };
/// let mut wire = BytesMut::new();
/// ServerFrame::Counters(counters).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Counters(counters), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters<'a> {
    /// The request's id.
    pub request: u32,
    /// The counters that are not 0, or may be of use all the same.
    pub values: List<'a, CounterValue>,
}

/// A subscription has begun (semantics R3).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Subscribed};
/// let subscribed =
///     Subscribed { request: 1, subscription: 0, epoch: 0, rewind: 0, created: true, start: 0, end: 0 };
/// let mut wire = BytesMut::new();
/// ServerFrame::Subscribed(subscribed).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Subscribed(subscribed), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
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
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Delivery, Record, Records};
/// let mut bytes = Vec::new();
/// Record { body: b"one tea", ..Record::default() }.encode(&mut bytes);
/// let records = Records::from_encoded(1, &bytes);
/// let delivery = Delivery { subscription: 0, rewind: 0, attempt: 1, first_offset: 40, records };
/// let mut wire = BytesMut::new();
/// ServerFrame::Delivery(delivery).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Delivery(delivery), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
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
///
/// ```
/// use bytes::BytesMut;
/// use zaichik_proto::DeliveryHead;
/// let head = DeliveryHead { subscription: 0, rewind: 0, attempt: 1, count: 3, first_offset: 40 };
/// let mut out = BytesMut::new();
/// head.encode(300, &mut out); // and behind it three records of 300 bytes, from where they are
/// assert_eq!(out.len(), DeliveryHead::LEN);
/// ```
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
///
/// ```
/// use zaichik_proto::GapReason;
/// let why = |reason| match reason {
///     GapReason::Expired => "too old",
///     GapReason::Limit => "too many",
/// };
/// assert_eq!(why(GapReason::Limit), "too many");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// The records expired.
    Expired,
    /// A limit of the topic removed records here.
    Limit,
}

/// Offsets that this subscription will not get (semantics R9).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Gap, GapReason};
/// let gap = Gap { subscription: 0, rewind: 0, reason: GapReason::Limit, from: 3, to: 40 };
/// let mut wire = BytesMut::new();
/// ServerFrame::Gap(gap).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Gap(gap), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
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
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Fenced};
/// let fenced = Fenced { subscription: 0, epoch: 2 };
/// let mut wire = BytesMut::new();
/// ServerFrame::Fenced(fenced).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Fenced(fenced), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    /// The subscription's number.
    pub subscription: u32,
    /// The newer attachment's epoch.
    pub epoch: u32,
}

/// A subscription has ended; no delivery of it follows (semantics A9).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Unsubscribed};
/// let unsubscribed = Unsubscribed { request: 2, subscription: 0, last_offset: Some(41) };
/// let mut wire = BytesMut::new();
/// ServerFrame::Unsubscribed(unsubscribed).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Unsubscribed(unsubscribed), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
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
///
/// ```
/// use zaichik_proto::GoodbyeReason;
/// let connects_again = |reason| reason == GoodbyeReason::Draining;
/// assert!(connects_again(GoodbyeReason::Draining) && !connects_again(GoodbyeReason::Closed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoodbyeReason {
    /// The client asked for it.
    Closed,
    /// The broker stops: commit what is done; the connection closes when the grace time is over.
    Draining,
}

/// The broker will close the connection in an orderly way.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Goodbye, GoodbyeReason};
/// let goodbye = Goodbye { reason: GoodbyeReason::Draining, grace_millis: 10_000 };
/// let mut wire = BytesMut::new();
/// ServerFrame::Goodbye(goodbye).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Goodbye(goodbye), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goodbye {
    /// Why.
    pub reason: GoodbyeReason,
    /// How long it stays open at most, in milliseconds; 0 with [`GoodbyeReason::Closed`].
    pub grace_millis: u32,
}

/// The connection is over because something broke (docs/protocol.md §9).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Fatal, FaultCode};
/// let fatal = Fatal { code: FaultCode::UnknownKind, offset: 25, text: "frame kind 0x3f is unknown" };
/// let mut wire = BytesMut::new();
/// ServerFrame::Fatal(fatal).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Fatal(fatal), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fatal<'a> {
    /// What broke.
    pub code: FaultCode,
    /// Where in the client's stream the offending frame starts, in bytes; 0 if it is not about a frame.
    pub offset: u64,
    /// The same for people; at most [`Limits::MAX_TEXT`] bytes.
    pub text: &'a str,
}

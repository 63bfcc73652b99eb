//! Frames that a client sends.

use crate::describe::Subject;
use crate::options::TopicOptions;
use crate::record::Records;

/// A frame from a client to the broker (docs/protocol.md §6).
///
/// ```
/// use bytes::BytesMut;
/// use zaichik_proto::ClientFrame;
/// let mut wire = BytesMut::new();
/// ClientFrame::Ping { nonce: 7 }.encode(&mut wire);
/// assert_eq!(&wire[..], [8, 0, 0, 0, 0x0b, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// The first frame of a connection.
    Hello(Hello<'a>),
    /// Creates or adopts a topic.
    CreateTopic(CreateTopic<'a>),
    /// Changes a topic's settings in place.
    AlterTopic(AlterTopic<'a>),
    /// Appends records to one topic.
    Publish(Publish<'a>),
    /// Starts a subscription.
    Subscribe(Subscribe<'a>),
    /// Ends a subscription.
    Unsubscribe(Unsubscribe),
    /// Everything up to and including an offset is done.
    Commit(Commit),
    /// Go back: deliver again from an offset.
    Nack(Nack),
    /// Moves a cursor.
    Seek(Seek<'a>),
    /// Several operations, all or none.
    Batch(Batch<'a>),
    /// Asks what the broker has and counted.
    Describe(Describe<'a>),
    /// Ends a durable subscription for good.
    RemoveDurable(RemoveDurable<'a>),
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
    /// The client is done: the broker answers what it owes and closes.
    Close,
    /// A frame of a later version (kind 0x80 and above): to be skipped.
    Extension {
        /// The frame's kind byte.
        kind: u8,
        /// Its body.
        body: &'a [u8],
    },
}

/// The client's half of the handshake (docs/protocol.md §3).
///
/// ```
/// use zaichik_proto::{Hello, PROTOCOL_VERSION};
/// let hello = Hello { version: PROTOCOL_VERSION, name: "billing", token: b"secret" };
/// assert!(!format!("{hello:?}").contains("secret"), "not in a log");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The highest protocol version that the client speaks.
    pub version: u16,
    /// What the client calls itself, for logs; at most 255 bytes, may be empty.
    pub name: &'a str,
    /// The shared token; empty for none, at most 1,024 bytes.
    pub token: &'a [u8],
}

impl core::fmt::Debug for Hello<'_> {
    /// Leaves the token out: it is a secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { version, name, token } = self;
        let token = if token.is_empty() { "none" } else { "redacted" };
        f.debug_struct("Hello").field("version", version).field("name", name).field("token", &token).finish()
    }
}

/// Creates a topic, or gives an implicit one its settings (semantics T2 to T4).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, CreateTopic, TopicOptions};
/// let create = CreateTopic { request: 1, topic: b"orders", options: TopicOptions::new().retain_forever() };
/// let mut wire = BytesMut::new();
/// ClientFrame::CreateTopic(create).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::CreateTopic(create), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateTopic<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// Its settings.
    pub options: TopicOptions,
}

/// Changes the settings of a topic in place (semantics T7); what is `None` stays as it is.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, AlterTopic, TopicOptions};
/// let alter = AlterTopic { request: 1, topic: b"orders", options: TopicOptions::new().max_messages(10) };
/// let mut wire = BytesMut::new();
/// ClientFrame::AlterTopic(alter).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::AlterTopic(alter), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlterTopic<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// The settings to change.
    pub options: TopicOptions,
}

/// How much a publish wants to know (semantics P2).
///
/// ```
/// use zaichik_proto::AckLevel;
/// assert_eq!(AckLevel::default(), AckLevel::Accepted);
/// assert!(AckLevel::None < AckLevel::Accepted && AckLevel::Accepted < AckLevel::Durable);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AckLevel {
    /// No answer; refusals are counted and told at most once a second.
    None,
    /// An answer when the records are in the log.
    #[default]
    Accepted,
    /// An answer when they are on stable storage; a broker without storage refuses.
    Durable,
}

/// Who publishes, so that a retry is stored once (semantics P3).
///
/// ```
/// use zaichik_proto::Producer;
/// let first = Producer { id: 0x1234, epoch: 1, sequence: 0 };
/// let next = Producer { sequence: first.sequence + 1, ..first }; // the same one again is the same request
/// assert_ne!(first, next);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Chosen by the caller, unique among producers.
    pub id: u128,
    /// Raised by each new owner of the id.
    pub epoch: u32,
    /// Number of this request; one more than the producer's last one.
    pub sequence: u64,
}

/// Appends records to one topic (semantics P1); all of them in one step.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, AckLevel, Publish, Record, Records};
/// let mut bytes = Vec::new();
/// Record { key: Some(b"table-7"), body: b"one tea", ..Record::default() }.encode(&mut bytes);
/// let records = Records::from_encoded(1, &bytes);
/// let publish = Publish { request: 1, ack: AckLevel::Accepted, producer: None, topic: b"orders", records };
/// let mut wire = BytesMut::new();
/// ClientFrame::Publish(publish).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Publish(publish), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The request's id, above 0; it may be anything with [`AckLevel::None`].
    pub request: u32,
    /// Which answer is wanted.
    pub ack: AckLevel,
    /// Who publishes, for retries.
    pub producer: Option<Producer>,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// At least one record.
    pub records: Records<'a>,
}

/// Where a subscription begins (semantics R3).
///
/// ```
/// use zaichik_proto::Start;
/// let since_new_year = Start::Time(1_767_225_600_000_000);
/// assert_ne!(since_new_year, Start::default());
/// assert_eq!(Start::default(), Start::Earliest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// The first live record.
    #[default]
    Earliest,
    /// The next record to be accepted.
    Latest,
    /// The first live record at or after an offset; beyond the end, wait for that offset.
    Offset(u64),
    /// The first live record accepted at or after a time, in microseconds since the Unix epoch; the end if none was.
    Time(u64),
}

/// What an attach does when another connection holds the durable subscription (semantics D3).
///
/// ```
/// use zaichik_proto::OnConflict;
/// assert_eq!(OnConflict::default(), OnConflict::TakeOver);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Take over: the other one is fenced.
    #[default]
    TakeOver,
    /// Be refused.
    Reject,
}

/// A cursor that outlives its connection (semantics D).
///
/// ```
/// use zaichik_proto::{Durable, OnConflict};
/// let first = Durable { name: "billing", on_conflict: OnConflict::TakeOver, epoch: 0, inactive_ttl_micros: 0 };
/// let again = Durable { epoch: 1, ..first }; // after a reconnect, with the epoch that Subscribed told
/// assert_eq!(again.name, first.name);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable<'a> {
    /// Its name, unique within the topic; 1 to 255 bytes.
    pub name: &'a str,
    /// What to do when it is attached already.
    pub on_conflict: OnConflict,
    /// The epoch under which a reconnecting client held it last; 0 for a first attach.
    pub epoch: u32,
    /// How long it is kept while detached, in microseconds; 0 for the broker's default.
    pub inactive_ttl_micros: u64,
}

/// Starts a subscription (semantics R3, A1).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Start, Subscribe};
/// let subscribe = Subscribe {
///     request: 1,
///     subscription: 0,
///     topic: b"orders",
///     start: Start::Latest,
///     window: 64,
///     window_bytes: 0,
///     max_attempts: 0,
///     dead_letter: b"",
///     durable: None,
/// };
/// let mut wire = BytesMut::new();
/// ClientFrame::Subscribe(subscribe).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Subscribe(subscribe), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The number by which later frames name the subscription; chosen by the client, unique on the connection.
    pub subscription: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// Where it begins.
    pub start: Start,
    /// Most records delivered and not committed; 0 turns commits off.
    pub window: u32,
    /// The same in bytes of records; 0 for the broker's limit. One larger record is still delivered alone.
    pub window_bytes: u32,
    /// Failures of one record after which it goes to the dead-letter topic; 0 for no limit (semantics A6).
    pub max_attempts: u32,
    /// Where such a record goes; empty for nowhere.
    pub dead_letter: &'a [u8],
    /// Makes the cursor durable.
    pub durable: Option<Durable<'a>>,
}

/// Ends a subscription (semantics A9).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Unsubscribe};
/// let unsubscribe = Unsubscribe { request: 2, subscription: 0 };
/// let mut wire = BytesMut::new();
/// ClientFrame::Unsubscribe(unsubscribe).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Unsubscribe(unsubscribe), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
}

/// Everything up to and including an offset is done (semantics A2).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Commit};
/// let commit = Commit { request: 3, subscription: 0, offset: 41, quiet: true };
/// let mut wire = BytesMut::new();
/// ClientFrame::Commit(commit).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Commit(commit), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The last offset that is done.
    pub offset: u64,
    /// Whether only a refusal is to be answered.
    pub quiet: bool,
}

/// Delivery restarts at an offset (semantics A4).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Nack};
/// let nack = Nack { request: 4, subscription: 0, offset: 41, delay_micros: 1_000_000 };
/// let mut wire = BytesMut::new();
/// ClientFrame::Nack(nack).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Nack(nack), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The first offset to deliver again.
    pub offset: u64,
    /// How long to wait first, in microseconds.
    pub delay_micros: u64,
}

/// Which cursor to move.
///
/// ```
/// use zaichik_proto::SeekTarget;
/// let own = SeekTarget::Subscription(0);
/// let of_anybody = SeekTarget::Durable { topic: b"orders", name: "billing" };
/// assert_ne!(own, of_anybody);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTarget<'a> {
    /// A subscription of this connection.
    Subscription(u32),
    /// A durable subscription, attached or not.
    Durable {
        /// The topic's name, not yet checked.
        topic: &'a [u8],
        /// The subscription's name.
        name: &'a str,
    },
}

/// Moves a cursor (semantics D6).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Seek, SeekTarget, Start};
/// let seek = Seek { request: 5, target: SeekTarget::Subscription(0), to: Start::Offset(7) };
/// let mut wire = BytesMut::new();
/// ClientFrame::Seek(seek).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Seek(seek), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seek<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// Whose cursor.
    pub target: SeekTarget<'a>,
    /// Where to.
    pub to: Start,
}

/// Asks what the broker has and counted (docs/protocol.md §6.15).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Describe, Subject};
/// let describe = Describe { request: 6, subject: Subject::Topic { topic: b"orders" } };
/// let mut wire = BytesMut::new();
/// ClientFrame::Describe(describe).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Describe(describe), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// About what.
    pub subject: Subject<'a>,
}

/// Ends a durable subscription that no connection has, for good (docs/protocol.md §6.16).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, RemoveDurable};
/// let remove = RemoveDurable { request: 7, topic: b"orders", name: "billing" };
/// let mut wire = BytesMut::new();
/// ClientFrame::RemoveDurable(remove).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::RemoveDurable(remove), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveDurable<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// The subscription's name.
    pub name: &'a str,
}

/// Several operations, all or none (semantics X).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, AckLevel, Batch, Operation, OperationsBuilder};
/// let operations: OperationsBuilder = [Operation::Commit { subscription: 0, offset: 41 }].into_iter().collect();
/// let operations = operations.operations();
/// let batch = Batch { request: 8, ack: AckLevel::Accepted, producer: None, operations };
/// let mut wire = BytesMut::new();
/// ClientFrame::Batch(batch).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Batch(batch), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// Which answer is wanted; never [`AckLevel::None`].
    pub ack: AckLevel,
    /// Who publishes, for retries.
    pub producer: Option<Producer>,
    /// What to do, in order.
    pub operations: Operations<'a>,
}

/// One operation of a batch.
///
/// ```
/// use zaichik_proto::{Operation, OperationsBuilder};
/// let commits = [0, 1].map(|subscription| Operation::Commit { subscription, offset: 41 });
/// let builder: OperationsBuilder = commits.into_iter().collect();
/// assert!(builder.operations().iter().eq(commits));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Appends records to a topic.
    Publish {
        /// The topic's name, not yet checked.
        topic: &'a [u8],
        /// At least one record.
        records: Records<'a>,
    },
    /// Commits on a subscription of this connection.
    Commit {
        /// The subscription's number.
        subscription: u32,
        /// The last offset that is done.
        offset: u64,
    },
}

/// The operations of a batch, which stay in their frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations<'a> {
    pub(crate) count: u32,
    pub(crate) bytes: &'a [u8],
}

/// Collects the operations of a batch in their wire form.
///
/// ```
/// use zaichik_proto::{Operation, OperationsBuilder};
/// let builder: OperationsBuilder = [Operation::Commit { subscription: 0, offset: 41 }].into_iter().collect();
/// assert_eq!(builder.operations().iter().count(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct OperationsBuilder {
    pub(crate) count: u32,
    pub(crate) bytes: alloc::vec::Vec<u8>,
}

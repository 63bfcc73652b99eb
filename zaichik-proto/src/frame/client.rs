//! Frames that a client sends.

use crate::describe::Subject;
use crate::options::TopicOptions;
use crate::record::Records;

/// A frame from a client to the broker (docs/protocol.md §6).
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Take over: the other one is fenced.
    #[default]
    TakeOver,
    /// Be refused.
    Reject,
}

/// A cursor that outlives its connection (semantics D).
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
}

/// Everything up to and including an offset is done (semantics A2).
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// About what.
    pub subject: Subject<'a>,
}

/// Ends a durable subscription that no connection has, for good (docs/protocol.md §6.16).
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
#[derive(Debug, Clone, Default)]
pub struct OperationsBuilder {
    pub(crate) count: u32,
    pub(crate) bytes: alloc::vec::Vec<u8>,
}

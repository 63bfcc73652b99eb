//! Subscriptions begin and end.

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

//! Frames that begin and end subscriptions.

use bytes::{BufMut, BytesMut};

use crate::error::ProtocolFault;
use crate::read::Reader;
use crate::write::put_short;

/// Where a subscription begins (rule R3).
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
    /// The first live record at or after an offset; an offset beyond the end is waited for.
    Offset(u64),
    /// The first live record accepted at or after a time, in microseconds since the Unix epoch; the end of the topic if
    /// there is no such record.
    Time(u64),
}

impl Start {
    pub(crate) fn write(self, out: &mut BytesMut) {
        let (kind, value) = match self {
            Self::Earliest => (0, 0),
            Self::Latest => (1, 0),
            Self::Offset(offset) => (2, offset),
            Self::Time(time) => (3, time),
        };
        out.put_u8(kind);
        out.put_u64_le(value);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolFault> {
        match (r.u8()?, r.u64()?) {
            (0, 0) => Ok(Self::Earliest),
            (1, 0) => Ok(Self::Latest),
            (0 | 1, got) => Err(ProtocolFault::BadValue { field: "value for this start", got }),
            (2, offset) => Ok(Self::Offset(offset)),
            (3, time) => Ok(Self::Time(time)),
            (got, _) => Err(ProtocolFault::BadValue { field: "start", got: u64::from(got) }),
        }
    }
}

/// What happens when another connection holds the durable subscription (rule D3).
///
/// ```
/// use zaichik_proto::OnConflict;
/// assert_eq!(OnConflict::default(), OnConflict::TakeOver);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The subscription is taken over, and the other connection is fenced.
    #[default]
    TakeOver,
    /// The request is refused.
    Reject,
}

/// Makes a subscription durable: its cursor outlives the connection (chapter D).
///
/// ```
/// use zaichik_proto::{Durable, OnConflict};
/// let first = Durable { name: "billing", on_conflict: OnConflict::TakeOver, epoch: 0, inactive_ttl_micros: 0 };
/// let again = Durable { epoch: 1, ..first }; // after a reconnect, with the epoch from Subscribed
/// assert_eq!(again.name, first.name);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable<'a> {
    /// The subscription's name, unique within the topic; 1 to 255 bytes.
    pub name: &'a str,
    /// What happens if another connection holds the subscription.
    pub on_conflict: OnConflict,
    /// The epoch under which a reconnecting client last held the subscription; 0 for the first time.
    pub epoch: u32,
    /// How long the subscription is kept while no connection holds it, in microseconds; 0 for the broker's default.
    pub inactive_ttl_micros: u64,
}

impl<'a> Durable<'a> {
    /// Appends whether there is one, and its fields.
    pub(crate) fn write_optional(durable: Option<Self>, out: &mut BytesMut) {
        out.put_u8(u8::from(durable.is_some()));
        if let Some(durable) = durable {
            put_short(out, durable.name.as_bytes(), b"");
            out.put_u8(match durable.on_conflict {
                OnConflict::TakeOver => 0,
                OnConflict::Reject => 1,
            });
            out.put_u32_le(durable.epoch);
            out.put_u64_le(durable.inactive_ttl_micros);
        }
    }

    pub(crate) fn read_optional(r: &mut Reader<'a>) -> Result<Option<Self>, ProtocolFault> {
        if !r.bool("durable flag")? {
            return Ok(None);
        }
        let name = r.durable_name()?;
        let on_conflict = match r.u8()? {
            0 => OnConflict::TakeOver,
            1 => OnConflict::Reject,
            got => return Err(ProtocolFault::BadValue { field: "conflict rule", got: u64::from(got) }),
        };
        Ok(Some(Self { name, on_conflict, epoch: r.u32()?, inactive_ttl_micros: r.u64()? }))
    }
}

/// Starts a subscription (rules R3, A1).
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
    /// The number that identifies the subscription in later frames; chosen by the client, unique on the connection.
    pub subscription: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// Where the subscription begins.
    pub start: Start,
    /// Maximum number of uncommitted records; 0 turns commits off.
    pub window: u32,
    /// Maximum bytes of uncommitted records; 0 for the broker's limit. A larger record is still delivered, alone.
    pub window_bytes: u32,
    /// Number of failures after which a record goes to the dead-letter topic; 0 for no limit (rule A6).
    pub max_attempts: u32,
    /// The name of the dead-letter topic, not yet checked; empty for none.
    pub dead_letter: &'a [u8],
    /// Makes the subscription durable; `None` if it ends with its connection.
    pub durable: Option<Durable<'a>>,
}

/// Answers [`Subscribe`]: the subscription has begun (rule R3).
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
    /// The epoch of a durable subscription; 0 for other subscriptions.
    pub epoch: u32,
    /// The rewind number of the deliveries that follow.
    pub rewind: u32,
    /// Whether this request created the topic.
    pub created: bool,
    /// The first offset that can be delivered.
    pub start: u64,
    /// The topic's end: the offset of the next record to be accepted.
    pub end: u64,
}

/// Ends a subscription (rule A9).
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

/// Reports that a subscription has ended; none of its deliveries follow (rule A9).
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
    /// The highest offset delivered since this Subscribe; `None` if nothing was delivered.
    pub last_offset: Option<u64>,
}

//! Frames of shared subscriptions: several members, each record to one of them (docs/protocol.md §14.9).

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};

use super::subscribe::Start;
use crate::error::ProtocolFault;
use crate::limits::Limits;
use crate::list::{Entry, List};
use crate::read::Reader;
use crate::write::{put_short, put_topic};

/// Joins a shared subscription, which the first member creates; answered by
/// [`Subscribed`](crate::Subscribed).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Start, SubscribeShared, Version};
/// let join = SubscribeShared {
///     request: 3,
///     subscription: 0,
///     topic: b"orders",
///     name: "workers",
///     start: Start::Earliest,
///     window: 64,
///     window_bytes: 0,
///     max_attempts: 0,
///     dead_letter: b"",
///     ack_deadline_micros: 30_000_000,
///     max_span: 0,
///     inactive_ttl_micros: 0,
///     by_key: false,
/// };
/// let mut wire = BytesMut::new();
/// ClientFrame::SubscribeShared(join).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::SubscribeShared(join), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeShared<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The number by which this member names the subscription.
    pub subscription: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// The subscription's name, unique within the topic; 1 to 255 bytes.
    pub name: &'a str,
    /// Where the subscription begins if this member creates it.
    pub start: Start,
    /// Maximum number of records that this member holds; with 0 a record is acknowledged when it is put into the output.
    pub window: u32,
    /// Maximum size of those records in bytes; 0 for the limit of the connection.
    pub window_bytes: u32,
    /// After how many failures a record goes to the dead-letter topic; 0 for never.
    pub max_attempts: u32,
    /// The name of the dead-letter topic, not yet checked; empty for none.
    pub dead_letter: &'a [u8],
    /// How long a member may hold a record without acknowledging it, in microseconds; 0 for any time.
    pub ack_deadline_micros: u64,
    /// Maximum distance between the cursor and the records handed out; 0 for the broker's default.
    pub max_span: u32,
    /// How long the subscription is kept without members, in microseconds; 0 for the broker's default.
    pub inactive_ttl_micros: u64,
    /// Whether records with one key are held by one member at a time, in order.
    pub by_key: bool,
}

/// Consecutive offsets.
///
/// ```
/// use zaichik_proto::{List, OffsetRange};
/// let mut bytes = Vec::new();
/// let ranges = List::encode_into(&mut bytes, [OffsetRange { first: 40, count: 2 }, OffsetRange { first: 44, count: 1 }]);
/// let offsets = ranges.iter().flat_map(|range| range.first..range.end());
/// assert!(offsets.eq([40, 41, 44]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetRange {
    /// The first offset.
    pub first: u64,
    /// Number of offsets, at least 1.
    pub count: u32,
}

impl OffsetRange {
    /// The offset behind the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.first.saturating_add(self.count as u64)
    }
}

impl Entry for OffsetRange {
    const SIZE: usize = 12;
    const MAX_ELEMENTS: u32 = Limits::MAX_RECORDS;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (first, count) = (reader.u64().ok()?, reader.u32().ok()?);
        first.checked_add(u64::from(count))?;
        (count > 0).then_some(Self { first, count })
    }
}

/// Acknowledges records that this member holds, in any order; answered by [`Acked`].
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Ack, ClientDecoder, ClientFrame, Limits, List, OffsetRange, Version};
/// let mut bytes = Vec::new();
/// let ranges = List::encode_into(&mut bytes, [OffsetRange { first: 40, count: 2 }]);
/// let ack = Ack { request: 5, subscription: 0, rewind: 0, quiet: true, ranges };
/// let mut wire = BytesMut::new();
/// ClientFrame::Ack(ack).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Ack(ack), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The highest rewind number that the client had received for the subscription.
    pub rewind: u32,
    /// Whether the broker answers only if it refuses the request or if something named is not held.
    pub quiet: bool,
    /// The offsets: 1 to 1,024 ranges in any order.
    pub ranges: List<'a, OffsetRange>,
}

/// Gives records that this member holds back, to be redelivered to any member; answered by [`Acked`].
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, List, NackShared, OffsetRange, Version};
/// let mut bytes = Vec::new();
/// let ranges = List::encode_into(&mut bytes, [OffsetRange { first: 40, count: 1 }]);
/// let nack = NackShared { request: 6, subscription: 0, rewind: 0, delay_micros: 1_000_000, ranges };
/// let mut wire = BytesMut::new();
/// ClientFrame::NackShared(nack).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::NackShared(nack), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NackShared<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The highest rewind number that the client had received for the subscription.
    pub rewind: u32,
    /// Delay before the redelivery, in microseconds.
    pub delay_micros: u64,
    /// The offsets: 1 to 1,024 ranges in any order.
    pub ranges: List<'a, OffsetRange>,
}

/// Starts the time to acknowledge again, for records that this member holds; answered by [`Acked`].
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Extend, Limits, List, OffsetRange, Version};
/// let mut bytes = Vec::new();
/// let ranges = List::encode_into(&mut bytes, [OffsetRange { first: 40, count: 1 }]);
/// let extend = Extend { request: 7, subscription: 0, rewind: 0, ranges };
/// let mut wire = BytesMut::new();
/// ClientFrame::Extend(extend).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Extend(extend), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extend<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The highest rewind number that the client had received for the subscription.
    pub rewind: u32,
    /// The offsets: 1 to 1,024 ranges in any order.
    pub ranges: List<'a, OffsetRange>,
}

/// Answers [`Ack`], [`NackShared`] and [`Extend`].
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Acked, Limits, List, ServerDecoder, ServerFrame, Version};
/// let acked = Acked { request: 5, cursor: 42, not_held: List::EMPTY };
/// let mut wire = BytesMut::new();
/// ServerFrame::Acked(acked).encode(&mut wire);
/// let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Acked(acked), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked<'a> {
    /// The request's id.
    pub request: u32,
    /// The subscription's cursor after the request: the lowest offset that is not acknowledged.
    pub cursor: u64,
    /// What the request names and this member does not hold: there it has no effect.
    pub not_held: List<'a, OffsetRange>,
}

impl<'a> SubscribeShared<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.request);
        out.put_u32_le(self.subscription);
        self.start.write(out);
        out.put_u32_le(self.window);
        out.put_u32_le(self.window_bytes);
        out.put_u32_le(self.max_attempts);
        out.put_u64_le(self.ack_deadline_micros);
        out.put_u32_le(self.max_span);
        out.put_u64_le(self.inactive_ttl_micros);
        out.put_u8(u8::from(self.by_key));
        put_topic(out, self.topic);
        put_topic(out, self.dead_letter);
        put_short(out, self.name.as_bytes(), b"");
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self {
            request: r.request()?,
            subscription: r.u32()?,
            start: Start::read(r)?,
            window: r.u32()?,
            window_bytes: r.u32()?,
            max_attempts: r.u32()?,
            ack_deadline_micros: r.u64()?,
            max_span: r.u32()?,
            inactive_ttl_micros: r.u64()?,
            by_key: r.bool("by key flag")?,
            topic: r.short_bytes()?,
            dead_letter: r.short_bytes()?,
            name: r.durable_name()?,
        })
    }
}

impl<'a> Ack<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        put_member(out, self.request, self.subscription, self.rewind);
        out.put_u8(u8::from(self.quiet));
        put_ranges(out, self.ranges);
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self {
            request: r.request()?,
            subscription: r.u32()?,
            rewind: r.u32()?,
            quiet: r.bool("quiet flag")?,
            ranges: read_ranges(r)?,
        })
    }
}

impl<'a> NackShared<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        put_member(out, self.request, self.subscription, self.rewind);
        out.put_u64_le(self.delay_micros);
        put_ranges(out, self.ranges);
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self {
            request: r.request()?,
            subscription: r.u32()?,
            rewind: r.u32()?,
            delay_micros: r.u64()?,
            ranges: read_ranges(r)?,
        })
    }
}

impl<'a> Extend<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        put_member(out, self.request, self.subscription, self.rewind);
        put_ranges(out, self.ranges);
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self { request: r.request()?, subscription: r.u32()?, rewind: r.u32()?, ranges: read_ranges(r)? })
    }
}

impl<'a> Acked<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.request);
        out.put_u64_le(self.cursor);
        put_ranges(out, self.not_held);
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        let (request, cursor) = (r.request()?, r.u64()?);
        Ok(Self { request, cursor, not_held: List::read(r, "offsets that are not held")? })
    }
}

fn put_member(out: &mut BytesMut, request: u32, subscription: u32, rewind: u32) {
    out.put_u32_le(request);
    out.put_u32_le(subscription);
    out.put_u32_le(rewind);
}

/// Appends a count and that many ranges.
pub(crate) fn put_ranges(out: &mut impl BufMut, ranges: List<'_, OffsetRange>) {
    out.put_u32_le(u32::try_from(ranges.len()).unwrap_or(u32::MAX));
    out.put_slice(ranges.as_bytes());
}

/// Reads the offsets of a request: 1 to 1,024 ranges.
pub(crate) fn read_ranges<'a>(r: &mut Reader<'a>) -> Result<List<'a, OffsetRange>, ProtocolFault> {
    const FIELD: &str = "ranges of offsets";
    let ranges = List::read(r, FIELD)?;
    let count = ranges.len() as u64;
    if count == 0 {
        return Err(ProtocolFault::BadValue { field: FIELD, got: 0 });
    }
    if count > u64::from(Limits::MAX_ELEMENTS) {
        let limit = u64::from(Limits::MAX_ELEMENTS);
        return Err(ProtocolFault::CountTooLarge { field: FIELD, limit, got: count });
    }
    Ok(ranges)
}

//! What a subscription gets.

use crate::record::Records;

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
///     _ => "gone",
/// };
/// assert_eq!(why(GapReason::Limit), "too many");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
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

//! Frames that deliver records to subscriptions, or report why not.

use crate::record::Records;

/// Delivers records with consecutive offsets to one subscription (rule A5).
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
    /// The subscription's rewind number; deliveries with a previous number must be dropped (rule A4).
    pub rewind: u32,
    /// How often each of these records has been delivered to the subscription, including this time.
    pub attempt: u32,
    /// The offset of the first record.
    pub first_offset: u64,
    /// The records.
    pub records: Records<'a>,
}

/// The fields before the records of a delivery, for a sender that keeps the records elsewhere.
///
/// ```
/// use bytes::BytesMut;
/// use zaichik_proto::DeliveryHead;
/// let head = DeliveryHead { subscription: 0, rewind: 0, attempt: 1, count: 3, first_offset: 40 };
/// let mut out = BytesMut::new();
/// head.encode(300, &mut out); // then send three records, 300 bytes in all
/// assert_eq!(out.len(), DeliveryHead::LEN);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryHead {
    /// The subscription's number.
    pub subscription: u32,
    /// The subscription's rewind number.
    pub rewind: u32,
    /// How often each of these records has been delivered to the subscription, including this time.
    pub attempt: u32,
    /// Number of records that follow.
    pub count: u32,
    /// The offset of the first record.
    pub first_offset: u64,
}

/// The reason of a [`Gap`].
///
/// ```
/// use zaichik_proto::GapReason;
/// let why = |reason| match reason {
///     GapReason::Expired => "too old",
///     GapReason::Limit => "evicted",
///     _ => "gone",
/// };
/// assert_eq!(why(GapReason::Limit), "evicted");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GapReason {
    /// The records expired.
    Expired,
    /// A limit of the topic removed some of the records.
    Limit,
}

/// Reports offsets that will not be delivered to a subscription (rule R9).
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
    /// The reason.
    pub reason: GapReason,
    /// The first missing offset.
    pub from: u64,
    /// The first offset after the gap.
    pub to: u64,
}

/// Reports that another connection took over a durable subscription (rule D3).
///
/// It is the last frame of the subscription on this connection.
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
    /// The epoch under which the other connection holds the subscription.
    pub epoch: u32,
}

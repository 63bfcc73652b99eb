//! Frames of subscriptions to patterns of topics (docs/protocol.md §14.10).

use bytes::{BufMut, BytesMut};

use super::subscribe::{Durable, Start};
use crate::error::ProtocolFault;
use crate::read::Reader;
use crate::refusal::RefusalCode;
use crate::write::put_topic;

/// Subscribes to every topic that a pattern matches, those that exist and those created later; answered by
/// [`PatternSubscribed`].
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Start, SubscribePattern, Version};
/// let subscribe = SubscribePattern {
///     request: 3,
///     subscription: 0,
///     pattern: b"orders.*",
///     start: Start::Earliest,
///     window: 64,
///     window_bytes: 0,
///     max_attempts: 0,
///     dead_letter: b"",
///     durable: None,
/// };
/// let mut wire = BytesMut::new();
/// ClientFrame::SubscribePattern(subscribe).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::SubscribePattern(subscribe), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribePattern<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The number that identifies the pattern on this connection; below [`FIRST_ALIAS`](Self::FIRST_ALIAS).
    pub subscription: u32,
    /// The pattern, not yet checked.
    pub pattern: &'a [u8],
    /// Where the topics begin that exist now; the others begin at their first record.
    pub start: Start,
    /// Maximum number of uncommitted records of all topics together; 0 turns commits off.
    pub window: u32,
    /// Maximum bytes of those records; 0 for the broker's limit. A larger record is still delivered, alone.
    pub window_bytes: u32,
    /// Number of failures after which a record goes to the dead-letter topic; 0 for no limit (rule A6).
    pub max_attempts: u32,
    /// The name of the dead-letter topic, not yet checked; empty for none.
    pub dead_letter: &'a [u8],
    /// Makes the pattern and its subscriptions durable; `None` if they end with the connection.
    pub durable: Option<Durable<'a>>,
}

/// Answers [`SubscribePattern`]: every topic that existed before the request and matches was reported before this frame.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Limits, PatternSubscribed, ServerDecoder, ServerFrame, Version};
/// let subscribed = PatternSubscribed { request: 3, subscription: 0, epoch: 0, topics: 2 };
/// let mut wire = BytesMut::new();
/// ServerFrame::PatternSubscribed(subscribed).encode(&mut wire);
/// let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::PatternSubscribed(subscribed), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternSubscribed {
    /// The request's id.
    pub request: u32,
    /// The pattern's number.
    pub subscription: u32,
    /// The epoch of a durable pattern; 0 for others.
    pub epoch: u32,
    /// Number of topics that are subscribed to through the pattern now.
    pub topics: u32,
}

/// Announces a topic that a pattern matches: frames of its subscription, in both directions, carry the alias.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Limits, Matched, ServerDecoder, ServerFrame, SubscribePattern, Version};
/// let alias = SubscribePattern::FIRST_ALIAS;
/// let matched = Matched { subscription: 0, alias, epoch: 0, rewind: 0, start: 0, end: 7, topic: b"orders.new" };
/// let mut wire = BytesMut::new();
/// ServerFrame::Matched(matched).encode(&mut wire);
/// let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Matched(matched), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The pattern's number.
    pub subscription: u32,
    /// The number of the topic's subscription, chosen by the broker; never used again on this connection.
    pub alias: u32,
    /// The epoch of a durable subscription; 0 for others.
    pub epoch: u32,
    /// The rewind number of the deliveries that follow.
    pub rewind: u32,
    /// The first offset that can be delivered.
    pub start: u64,
    /// The topic's end: the offset of the next record to be accepted.
    pub end: u64,
    /// The topic's name.
    pub topic: &'a [u8],
}

/// Reports a topic that a pattern matches, but of which the connection receives nothing through it.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Limits, NotMatched, RefusalCode, ServerDecoder, ServerFrame, Version};
/// let code = RefusalCode::SubscriptionsFull;
/// let not_matched = NotMatched { subscription: 0, code, value: 1_000, others: 0, topic: b"orders.new" };
/// let mut wire = BytesMut::new();
/// ServerFrame::NotMatched(not_matched).encode(&mut wire);
/// let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::NotMatched(not_matched), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMatched<'a> {
    /// The pattern's number.
    pub subscription: u32,
    /// Why, as if a Subscribe to the topic had been refused.
    pub code: RefusalCode,
    /// A number whose meaning depends on the code.
    pub value: u64,
    /// How many further topics were not taken since, for whatever reason, without a frame of their own.
    pub others: u32,
    /// The topic's name.
    pub topic: &'a [u8],
}

impl SubscribePattern<'_> {
    /// The lowest alias. On a connection that has subscribed to a pattern, this number and those above it are the broker's.
    pub const FIRST_ALIAS: u32 = 1 << 31;
}

impl<'a> SubscribePattern<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.request);
        out.put_u32_le(self.subscription);
        self.start.write(out);
        out.put_u32_le(self.window);
        out.put_u32_le(self.window_bytes);
        out.put_u32_le(self.max_attempts);
        put_topic(out, self.pattern);
        put_topic(out, self.dead_letter);
        Durable::write_optional(self.durable, out);
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self {
            request: r.request()?,
            subscription: r.u32()?,
            start: Start::read(r)?,
            window: r.u32()?,
            window_bytes: r.u32()?,
            max_attempts: r.u32()?,
            pattern: r.short_bytes()?,
            dead_letter: r.short_bytes()?,
            durable: Durable::read_optional(r)?,
        })
    }
}

impl PatternSubscribed {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.request);
        out.put_u32_le(self.subscription);
        out.put_u32_le(self.epoch);
        out.put_u32_le(self.topics);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolFault> {
        Ok(Self { request: r.request()?, subscription: r.u32()?, epoch: r.u32()?, topics: r.u32()? })
    }
}

impl<'a> Matched<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.subscription);
        out.put_u32_le(self.alias);
        out.put_u32_le(self.epoch);
        out.put_u32_le(self.rewind);
        out.put_u64_le(self.start);
        out.put_u64_le(self.end);
        put_topic(out, self.topic);
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self {
            subscription: r.u32()?,
            alias: r.u32()?,
            epoch: r.u32()?,
            rewind: r.u32()?,
            start: r.u64()?,
            end: r.u64()?,
            topic: r.short_bytes()?,
        })
    }
}

impl<'a> NotMatched<'a> {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u32_le(self.subscription);
        out.put_u16_le(self.code.code());
        out.put_u64_le(self.value);
        out.put_u32_le(self.others);
        put_topic(out, self.topic);
    }

    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolFault> {
        Ok(Self {
            subscription: r.u32()?,
            code: RefusalCode::from_code(r.u16()?),
            value: r.u64()?,
            others: r.u32()?,
            topic: r.short_bytes()?,
        })
    }
}

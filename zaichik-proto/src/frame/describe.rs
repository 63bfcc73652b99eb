//! Frames that describe a broker: topics, subscriptions and counters.

use alloc::vec::Vec;

use crate::counter::CounterValue;
use crate::error::ProtocolFault;
use crate::list::List;
use crate::options::TopicOptions;
use crate::page::Item;
use crate::read::Reader;
use crate::write::put_short;

/// Requests a description of topics, subscriptions or counters (docs/protocol.md §6.15).
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
    /// What to describe.
    pub subject: Subject<'a>,
}

/// What a [`Describe`] asks about (docs/protocol.md §6.15).
///
/// ```
/// use zaichik_proto::Subject;
/// let next_page = |from| Subject::Topics { from };
/// assert_ne!(next_page(0), next_page(270));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The broker's counters.
    Broker,
    /// All topics in the order of their creation, a page at a time.
    Topics {
        /// Where the page begins: 0, or [`Page::next`](crate::Page::next) of the previous page.
        from: u32,
    },
    /// One topic; the request does not create it.
    Topic {
        /// The topic's name, not yet checked.
        topic: &'a [u8],
    },
    /// Subscriptions of one or all topics, a page at a time.
    Subscriptions {
        /// Where the page begins: 0, or [`Page::next`](crate::Page::next) of the previous page.
        from: u32,
        /// The topic's name, not yet checked; empty for all topics.
        topic: &'a [u8],
    },
    /// One durable subscription.
    Durable {
        /// The topic's name, not yet checked.
        topic: &'a [u8],
        /// The subscription's name.
        name: &'a str,
    },
}

/// The broker's counters (docs/protocol.md §7.16).
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
    /// The counters; those that are 0 may be left out.
    pub values: List<'a, CounterValue>,
}

/// The current state of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicItem<'a> {
    /// The topic's name.
    pub name: &'a str,
    /// Whether the settings were given by `CreateTopic` or `AlterTopic`.
    pub explicit: bool,
    /// The topic's settings; a broker reports all of them.
    pub settings: TopicOptions,
    /// The lowest offset that may be live; equals `end` if no record is live.
    pub start: u64,
    /// The offset of the next record.
    pub end: u64,
    /// Number of records from `start` to `end`; with [`CompactionMode::Latest`](crate::CompactionMode::Latest) without
    /// dead ones.
    pub messages: u64,
    /// Size of those records in bytes, as `max_bytes` counts it.
    pub bytes: u64,
    /// Number of keys as `max_keys` counts them (rule C4).
    pub keys: u64,
    /// Number of subscriptions, including detached ones.
    pub subscriptions: u32,
    /// Memory that the topic occupies, everything included, in bytes.
    pub memory: u64,
}

impl<'a> Item<'a> for TopicItem<'a> {
    const MIN_SIZE: usize = 1 + 1 + 2 + 6 * 8 + 4;

    fn write(&self, out: &mut Vec<u8>) {
        put_short(out, self.name.as_bytes(), b"");
        out.push(u8::from(self.explicit));
        self.settings.write(out);
        for value in [self.start, self.end, self.messages, self.bytes, self.keys] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.subscriptions.to_le_bytes());
        out.extend_from_slice(&self.memory.to_le_bytes());
    }

    fn read(rest: &mut &'a [u8]) -> Result<Self, ProtocolFault> {
        let mut reader = Reader::new(rest);
        let r = &mut reader;
        let item = Self {
            name: r.short_text("topic name")?,
            explicit: r.bool("explicit flag")?,
            settings: TopicOptions::read(r)?,
            start: r.u64()?,
            end: r.u64()?,
            messages: r.u64()?,
            bytes: r.u64()?,
            keys: r.u64()?,
            subscriptions: r.u32()?,
            memory: r.u64()?,
        };
        *rest = reader.rest();
        Ok(item)
    }
}

/// The current state of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionItem<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The name of a durable subscription; empty for a subscription that ends with its connection.
    pub name: &'a str,
    /// Whether a connection holds the subscription.
    pub attached: bool,
    /// The epoch of a durable subscription; 0 for other subscriptions.
    pub epoch: u32,
    /// Maximum number of uncommitted records, as last requested.
    pub window: u32,
    /// The first uncommitted offset.
    pub cursor: u64,
    /// The first undelivered offset.
    pub next: u64,
    /// The topic's end.
    pub end: u64,
    /// Time until the subscription is removed, in microseconds; `u64::MAX` while it is attached, or if it is kept forever.
    pub expires_in_micros: u64,
}

impl<'a> Item<'a> for SubscriptionItem<'a> {
    const MIN_SIZE: usize = 1 + 1 + 1 + 2 * 4 + 4 * 8;

    fn write(&self, out: &mut Vec<u8>) {
        put_short(out, self.topic.as_bytes(), b"");
        put_short(out, self.name.as_bytes(), b"");
        out.push(u8::from(self.attached));
        for value in [self.epoch, self.window] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.cursor, self.next, self.end, self.expires_in_micros] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn read(rest: &mut &'a [u8]) -> Result<Self, ProtocolFault> {
        let mut reader = Reader::new(rest);
        let r = &mut reader;
        let item = Self {
            topic: r.short_text("topic name")?,
            name: r.short_text("durable name")?,
            attached: r.bool("attached flag")?,
            epoch: r.u32()?,
            window: r.u32()?,
            cursor: r.u64()?,
            next: r.u64()?,
            end: r.u64()?,
            expires_in_micros: r.u64()?,
        };
        *rest = reader.rest();
        Ok(item)
    }
}

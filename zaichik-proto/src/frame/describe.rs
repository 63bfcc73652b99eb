//! What a broker tells about itself: topics, subscriptions and counters.

use alloc::vec::Vec;

use crate::counter::CounterValue;
use crate::error::ProtocolFault;
use crate::list::List;
use crate::options::TopicOptions;
use crate::page::Item;
use crate::read::Reader;
use crate::write::put_short;

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

/// What a Describe asks about (docs/protocol.md §6.15).
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
    /// All topics, in the order in which they were created, from the one with this number on.
    Topics {
        /// 0, or where the page before said that the next one begins.
        from: u32,
    },
    /// One topic, which is not created.
    Topic {
        /// Its name, not yet checked.
        topic: &'a [u8],
    },
    /// Subscriptions, from the one with this number on.
    Subscriptions {
        /// 0, or where the page before said that the next one begins.
        from: u32,
        /// Those of this topic only, not yet checked; of all topics if it is empty.
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

/// A topic as it is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicItem<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether `CreateTopic` or `AlterTopic` gave it its settings.
    pub explicit: bool,
    /// All of its settings.
    pub settings: TopicOptions,
    /// The lowest offset that may be live; where nothing is live it is the end.
    pub start: u64,
    /// The offset of the next record.
    pub end: u64,
    /// Records between them that are there, the superseded ones not counted.
    pub messages: u64,
    /// Their bytes, as `max_bytes` counts them.
    pub bytes: u64,
    /// Keys that it remembers.
    pub keys: u64,
    /// Its subscriptions, detached ones included.
    pub subscriptions: u32,
    /// Bytes of memory that it takes, everything included.
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
            explicit: r.bool("explicit")?,
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

/// A subscription as it is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionItem<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The durable name; empty for one that ends with its connection.
    pub name: &'a str,
    /// Whether a connection has it.
    pub attached: bool,
    /// Its epoch; 0 for one that is not durable.
    pub epoch: u32,
    /// Most records delivered and not committed, as asked for last.
    pub window: u32,
    /// The first offset that is not committed.
    pub cursor: u64,
    /// The first offset that was not delivered.
    pub next: u64,
    /// The topic's end.
    pub end: u64,
    /// How long it is still kept, in microseconds; `u64::MAX` while it is attached.
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
            attached: r.bool("attached")?,
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

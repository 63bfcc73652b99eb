//! What a broker tells about itself: pages of topics and subscriptions, and counters.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::codec::put_short;
use crate::error::{ProtocolFault, wire_codes};
use crate::limits::Limits;
use crate::list::Entry;
use crate::options::TopicOptions;
use crate::read::Reader;
use crate::refusal::RefusalCode;

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

/// One page of things that a broker has (docs/protocol.md §7.17, §7.18).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Items, Page};
/// let page = Page { request: 6, next: Some(270), items: Items::EMPTY }; // ask again, from 270 on
/// let mut wire = BytesMut::new();
/// ServerFrame::Topics(page).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Topics(page), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a, T> {
    /// The request's id.
    pub request: u32,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<u32>,
    /// The things of this page; there may be none although there are more.
    pub items: Items<'a, T>,
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

/// A thing on a page, of whatever size.
pub trait Item<'a>: Sized {
    /// Least bytes of one.
    const MIN_SIZE: usize;
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
    /// Takes it off the front of `rest`.
    ///
    /// # Errors
    /// It is not one.
    fn read(rest: &mut &'a [u8]) -> Result<Self, ProtocolFault>;
}

/// Things of a page that stay in their frame.
///
/// ```
/// use zaichik_proto::{Item, Items, SubscriptionItem};
/// # let subscription = SubscriptionItem { topic: "orders", name: "billing", attached: true, epoch: 1, window: 8, cursor: 0, next: 0, end: 0, expires_in_micros: u64::MAX };
/// let mut bytes = Vec::new();
/// subscription.write(&mut bytes);
/// let items = Items::<SubscriptionItem<'_>>::from_encoded(1, &bytes);
/// assert!(items.iter().eq([subscription]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Items<'a, T> {
    count: u32,
    bytes: &'a [u8],
    item: PhantomData<T>,
}

impl<'a, T: Item<'a>> Items<'a, T> {
    /// The page without things.
    pub const EMPTY: Self = Self { count: 0, bytes: &[], item: PhantomData };

    /// Things that [`Item::write`] wrote, so many of them.
    #[must_use]
    pub const fn from_encoded(count: u32, bytes: &'a [u8]) -> Self {
        Self { count, bytes, item: PhantomData }
    }

    /// The things, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut rest = self.bytes;
        // Each was read once when the page was, so none is left out.
        (0..self.count).map_while(move |_| T::read(&mut rest).ok())
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads a `u32` count and that many things, to the end of the frame.
    pub(crate) fn read(reader: &mut Reader<'a>, field: &'static str) -> Result<Self, ProtocolFault> {
        let count = reader.u32()?;
        let possible = reader.remaining().checked_div(T::MIN_SIZE).unwrap_or(0);
        let limit = possible.min(Limits::MAX_ELEMENTS as usize);
        if count as usize > limit {
            return Err(ProtocolFault::CountTooLarge { field, limit: limit as u64, got: u64::from(count) });
        }
        let bytes = reader.rest();
        let mut rest = bytes;
        for _ in 0..count {
            T::read(&mut rest)?;
        }
        Reader::new(rest).finish()?;
        Ok(Self { count, bytes, item: PhantomData })
    }
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

/// What a broker counted, and how much of it (docs/protocol.md §7.16).
///
/// ```
/// use zaichik_proto::{Counter, CounterValue};
/// let busy = CounterValue { counter: Counter::from_code(4_096 + 9), value: 2 };
/// assert_eq!(busy.counter.refusal_code(), Some(zaichik_proto::RefusalCode::Busy));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterValue {
    /// What.
    pub counter: Counter,
    /// How much.
    pub value: u64,
}

impl Entry for CounterValue {
    const SIZE: usize = 10;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counter.code().to_le_bytes());
        out.extend_from_slice(&self.value.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { counter: Counter::from_code(reader.u16().ok()?), value: reader.u64().ok()? })
    }
}

wire_codes! {
    /// Something that a broker counts (docs/protocol.md §7.16).
    ///
    /// ```
    /// use zaichik_proto::Counter;
    /// assert_eq!(Counter::RecordsIn.name(), "records_in");
    /// assert_eq!(Counter::from_code(7), Counter::RecordsIn);
    /// ```
    pub enum Counter {
        /// Microseconds since the broker was made.
        Uptime = 1,
        /// Connections that there are.
        Connections = 2,
        /// Connections that there ever were, those refused for the limit not counted.
        ConnectionsAccepted = 3,
        /// Topics.
        Topics = 4,
        /// Subscriptions, detached ones included.
        Subscriptions = 5,
        /// Durable ones among them.
        DurableSubscriptions = 6,
        /// Records accepted.
        RecordsIn = 7,
        /// Bytes of these.
        BytesIn = 8,
        /// Records put into the output of a connection.
        RecordsOut = 9,
        /// Bytes of these.
        BytesOut = 10,
        /// Records that were duplicates by their key.
        Duplicates = 11,
        /// Requests of producers that were answered from memory.
        Repeated = 12,
        /// Gaps put into the output of a connection.
        Gaps = 13,
        /// Offsets that subscriptions passed because a newer record of their key was there.
        Superseded = 14,
        /// Times that a subscription's position was moved.
        Rewinds = 15,
        /// Records copied to a dead-letter topic.
        DeadLetters = 16,
        /// Times that a dead-letter topic did not take one.
        DeadLettersRefused = 17,
        /// Durable subscriptions that one connection took from another.
        Takeovers = 18,
        /// Requests refused, whatever for.
        Refused = 19,
        /// Calls with a time before one that was told earlier.
        ClockStepsBack = 20,
        /// Bytes of memory held for topics.
        MemoryTopics = 32,
        /// Bytes that no topic needs any more and some connection still sends from.
        MemoryRetired = 33,
        /// Bytes of subscriptions and their windows.
        MemorySubscriptions = 34,
        /// Bytes of producers and the answers remembered for them.
        MemoryProducers = 35,
        /// Bytes of connections and their buffers.
        MemorySessions = 36,
        /// Bytes of all of this that the broker may hold.
        MemoryBudget = 37,
        /// Times that a connection's socket took nothing of what waited for it.
        WriteStalls = 64,
        /// Microseconds of processor time that the broker's process used.
        ProcessCpu = 65,
        /// Bytes of memory that it has.
        ProcessMemory = 66,
        /// Most bytes that it ever had.
        ProcessMemoryPeak = 67,
    }
}

/// From here on a counter counts the refusals with one code.
const FIRST_REFUSAL: u16 = 0x1000;

impl Counter {
    /// Its name, as metrics and tools show it; `unknown` for one that this version does not know, and `refused_with`
    /// for one that counts the refusals with one code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uptime => "uptime",
            Self::Connections => "connections",
            Self::ConnectionsAccepted => "connections_accepted",
            Self::Topics => "topics",
            Self::Subscriptions => "subscriptions",
            Self::DurableSubscriptions => "durable_subscriptions",
            Self::RecordsIn => "records_in",
            Self::BytesIn => "bytes_in",
            Self::RecordsOut => "records_out",
            Self::BytesOut => "bytes_out",
            Self::Duplicates => "duplicates",
            Self::Repeated => "repeated",
            Self::Gaps => "gaps",
            Self::Superseded => "superseded",
            Self::Rewinds => "rewinds",
            Self::DeadLetters => "dead_letters",
            Self::DeadLettersRefused => "dead_letters_refused",
            Self::Takeovers => "takeovers",
            Self::Refused => "refused",
            Self::ClockStepsBack => "clock_steps_back",
            Self::MemoryTopics => "memory_topics",
            Self::MemoryRetired => "memory_retired",
            Self::MemorySubscriptions => "memory_subscriptions",
            Self::MemoryProducers => "memory_producers",
            Self::MemorySessions => "memory_sessions",
            Self::MemoryBudget => "memory_budget",
            Self::WriteStalls => "write_stalls",
            Self::ProcessCpu => "process_cpu",
            Self::ProcessMemory => "process_memory",
            Self::ProcessMemoryPeak => "process_memory_peak",
            Self::Unknown(code) if code >= FIRST_REFUSAL => "refused_with",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The counter of refusals with that code.
    #[must_use]
    pub const fn refusals(code: RefusalCode) -> Self {
        Self::Unknown(FIRST_REFUSAL.saturating_add(code.code()))
    }

    /// Of which code it counts the refusals, if it does.
    #[must_use]
    pub const fn refusal_code(self) -> Option<RefusalCode> {
        match self.code().checked_sub(FIRST_REFUSAL) {
            Some(code) => Some(RefusalCode::from_code(code)),
            None => None,
        }
    }
}

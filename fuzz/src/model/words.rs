//! Requests, answers and events, in a form common to the engine and the model.

use std::rc::Rc;

use zaichik_proto::{AckLevel, Producer, RefusalCode};

use crate::model::sharing::{Described, Range, Settle};

/// Forever, and without limit.
pub(crate) const FOREVER: u64 = u64::MAX;

/// A topic whose name is not valid.
pub(crate) const INVALID: u32 = u32::MAX;

/// Why a request has no effect, and the refusal's value.
pub(crate) type Refusal = (RefusalCode, u64);

/// All settings of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) ttl: u64,
    pub(crate) window: u64,
    pub(crate) latest: bool,
    pub(crate) max_messages: u64,
    pub(crate) max_bytes: u64,
    pub(crate) reject: bool,
    pub(crate) max_keys: u64,
    pub(crate) tombstone_ttl: u64,
}

/// The settings in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<u64>,
    pub(crate) window: Option<u64>,
    pub(crate) latest: Option<bool>,
    pub(crate) max_messages: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) reject: Option<bool>,
    pub(crate) max_keys: Option<u64>,
    pub(crate) tombstone_ttl: Option<u64>,
}

/// Limits of the whole broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) first_offset: u64,
    pub(crate) max_message: u32,
    pub(crate) max_topics: u32,
    pub(crate) max_subscriptions: u32,
    pub(crate) max_window: u32,
    pub(crate) max_window_size: u32,
    pub(crate) max_durables: u32,
    pub(crate) inactive_ttl: u64,
    pub(crate) max_producers: u32,
    pub(crate) producer_ttl: u64,
}

/// A record as it was published.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ttl: Option<u64>,
    pub(crate) tombstone: bool,
}

/// Where a subscription begins, or where a seek goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    Offset(u64),
    Time(u64),
}

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Publish {
        ack: AckLevel,
        producer: Option<Producer>,
        topic: u32,
        records: Vec<Record>,
    },
    Batch {
        ack: AckLevel,
        producer: Option<Producer>,
        operations: Vec<Operation>,
    },
    Subscribe(Subscribe),
    Unsubscribe {
        number: u32,
    },
    /// The rewind number that it carries, from version 2 on.
    Commit {
        number: u32,
        offset: u64,
        rewind: Option<u32>,
    },
    Nack {
        number: u32,
        offset: u64,
        delay: u64,
    },
    Seek {
        target: Target,
        to: Start,
    },
    RemoveDurable {
        topic: u32,
        name: u32,
    },
    Create {
        topic: u32,
        options: Options,
    },
    Alter {
        topic: u32,
        options: Options,
    },
    /// From version 2 on, as those below.
    Trim {
        topic: u32,
        before: Start,
    },
    Join(Join),
    Settle(Settle),
    DescribeShared {
        topic: u32,
        name: u32,
    },
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Publish { topic: u32, records: Vec<Record> },
    Commit { number: u32, offset: u64, rewind: Option<u32> },
    Ack { number: u32, rewind: u32, ranges: Vec<Range> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) number: u32,
    pub(crate) topic: u32,
    pub(crate) start: Start,
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    pub(crate) max_attempts: u32,
    pub(crate) dead_letter: Option<u32>,
    pub(crate) durable: Option<Durable>,
}

/// A connection joins a shared subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) number: u32,
    pub(crate) topic: u32,
    pub(crate) name: u32,
    pub(crate) start: Start,
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    pub(crate) max_attempts: u32,
    pub(crate) dead_letter: Option<u32>,
    /// 0 for none.
    pub(crate) ack_deadline: u64,
    /// 0 for the broker's default.
    pub(crate) max_span: u32,
    pub(crate) inactive_ttl: u64,
    pub(crate) by_key: bool,
}

/// The durable options of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) name: u32,
    pub(crate) reject: bool,
    pub(crate) epoch: u32,
    pub(crate) inactive_ttl: u64,
}

/// The subscription that a seek moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Number(u32),
    Name { topic: u32, name: u32 },
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Published {
        created: bool,
        first: Option<u64>,
        duplicates: Vec<(u32, u64)>,
    },
    /// For each publish its operation, whether it created its topic, and its first offset; for each duplicate its
    /// operation, record and original.
    Batched {
        results: Vec<(u32, bool, Option<u64>)>,
        duplicates: Vec<(u32, u32, u64)>,
    },
    TopicReady(Ready),
    Trimmed {
        start: u64,
        removed: u64,
    },
    Subscribed {
        epoch: u32,
        rewind: u32,
        created: bool,
        start: u64,
        end: u64,
    },
    Unsubscribed {
        last: Option<u64>,
    },
    Done(u64),
    /// The cursor, and what the member does not hold.
    Acked {
        cursor: u64,
        not_held: Vec<Range>,
    },
    Members(Described),
    Refused {
        code: RefusalCode,
        value: u64,
        operation: u32,
    },
    /// A stored answer that says so, from version 2 on.
    Repeated(Box<Self>),
    /// Refused for one of several reasons, all of which apply; only the model gives this answer.
    RefusedFor(Vec<Refusal>),
}

/// What `CreateTopic` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Unchanged,
    Created,
    Adopted,
}

/// What a subscription receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Record { rewind: u32, attempt: u32, offset: u64, timestamp: u64, record: Rc<Record> },
    Gap { rewind: u32, from: u64, to: u64, limit: bool },
    Fenced { epoch: u32 },
}

/// A topic's name on the wire.
pub(crate) fn topic_name(topic: u32) -> String {
    if topic == INVALID { "$invalid".to_owned() } else { format!("topic-{topic}") }
}

/// A durable subscription's name on the wire.
pub(crate) fn durable_name(name: u32) -> String {
    format!("name-{name}")
}

impl Event {
    /// The offset of a record, the first one of a Gap.
    pub(crate) const fn offset(&self) -> u64 {
        match self {
            Self::Record { offset: at, .. } | Self::Gap { from: at, .. } => *at,
            Self::Fenced { .. } => 0,
        }
    }
}

impl Answer {
    pub(crate) const fn refused((code, value): Refusal) -> Self {
        Self::Refused { code, value, operation: 0 }
    }

    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::RefusedFor(_) => true,
            Self::Repeated(answer) => answer.is_refusal(),
            Self::Published { .. }
            | Self::Batched { .. }
            | Self::TopicReady(_)
            | Self::Trimmed { .. }
            | Self::Subscribed { .. }
            | Self::Unsubscribed { .. }
            | Self::Acked { .. }
            | Self::Members(_)
            | Self::Done(_) => false,
        }
    }

    /// The same, as version 1 says it.
    pub(crate) fn plain(self) -> Self {
        let plain = |code| if code == RefusalCode::StorageFull { RefusalCode::Busy } else { code };
        match self {
            Self::Repeated(answer) => answer.plain(),
            Self::Refused { code, value, operation } => Self::Refused { code: plain(code), value, operation },
            Self::RefusedFor(reasons) => {
                Self::RefusedFor(reasons.into_iter().map(|(code, value)| (plain(code), value)).collect())
            }
            Self::Published { .. }
            | Self::Batched { .. }
            | Self::TopicReady(_)
            | Self::Trimmed { .. }
            | Self::Subscribed { .. }
            | Self::Unsubscribed { .. }
            | Self::Acked { .. }
            | Self::Members(_)
            | Self::Done(_) => self,
        }
    }

    /// Whether this answer of the model allows an answer of the engine.
    pub(crate) fn allows(&self, answer: &Self) -> bool {
        if let Self::RefusedFor(reasons) = self {
            return reasons.iter().any(|reason| *answer == Self::refused(*reason));
        }
        match (self, answer) {
            (Self::Members(own), Self::Members(other)) => own.allows(other),
            _ => self == answer,
        }
    }
}

impl Record {
    /// Size in bytes when encoded (docs/protocol.md §4).
    pub(crate) fn len(&self) -> u64 {
        let ttl = if self.ttl.is_some() { 8 } else { 0 };
        let headers = if self.headers.is_empty() { 0 } else { 4 };
        16 + ttl + headers + self.message_len()
    }

    /// The size that `max_message` bounds.
    pub(crate) fn message_len(&self) -> u64 {
        let section = self.headers.iter().map(|(name, value)| 3 + name.len() + value.len()).sum::<usize>();
        let count = if self.headers.is_empty() { 0 } else { 2 };
        (self.key.as_ref().map_or(0, Vec::len) + count + section + self.body.len()) as u64
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.as_ref().map(|key| String::from_utf8_lossy(key));
        write!(f, "{}x{:?} key {key:?} ttl {:?}", self.body.len(), self.body.first(), self.ttl)?;
        for (name, value) in &self.headers {
            write!(f, " {name}={}", String::from_utf8_lossy(value))?;
        }
        f.write_str(if self.tombstone { " tombstone" } else { "" })
    }
}

impl Settings {
    pub(crate) fn with(self, options: &Options) -> Self {
        Self {
            ttl: options.ttl.unwrap_or(self.ttl),
            window: options.window.unwrap_or(self.window),
            latest: options.latest.unwrap_or(self.latest),
            max_messages: options.max_messages.unwrap_or(self.max_messages),
            max_bytes: options.max_bytes.unwrap_or(self.max_bytes),
            reject: options.reject.unwrap_or(self.reject),
            max_keys: options.max_keys.unwrap_or(self.max_keys),
            tombstone_ttl: options.tombstone_ttl.unwrap_or(self.tombstone_ttl),
        }
    }

    /// A bit for each setting that differs, in the order of docs/protocol.md §6.2.
    pub(crate) fn difference(&self, other: &Self) -> u64 {
        let bit = |differs: bool, bit: u32| u64::from(differs) << bit;
        bit(self.ttl != other.ttl, 0)
            | bit(self.window != other.window, 1)
            | bit(self.latest != other.latest, 2)
            | bit(self.max_messages != other.max_messages, 3)
            | bit(self.max_bytes != other.max_bytes, 4)
            | bit(self.reject != other.reject, 5)
            | bit(self.max_keys != other.max_keys, 6)
            | bit(self.tombstone_ttl != other.tombstone_ttl, 7)
    }

    /// A bit for each setting that is not valid.
    pub(crate) fn invalid(&self) -> u64 {
        let zero = |value: u64, bit: u32| u64::from(value == 0) << bit;
        zero(self.max_messages, 3) | zero(self.max_bytes, 4) | zero(self.max_keys, 6)
    }
}

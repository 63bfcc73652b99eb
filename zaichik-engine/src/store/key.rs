//! What identifies a row.

use core::fmt;

/// The key of a row. Keys are ordered as their bytes are.
///
/// ```
/// use zaichik_engine::store::Key;
/// let key = Key::Records { topic: 1, start: 500 };
/// let mut bytes = Vec::new();
/// key.encode(&mut bytes);
/// assert_eq!(bytes, [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0xf4]);
/// assert_eq!(Key::decode(&bytes), Ok(key.clone()));
/// assert!(key < Key::Records { topic: 1, start: 501 });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The broker itself; there is one row.
    Meta,
    /// A topic.
    Topic {
        /// Its number in the order of creation, from 0.
        topic: u32,
    },
    /// Records of a topic.
    Records {
        /// The topic's number.
        topic: u32,
        /// The first offset.
        start: u64,
    },
    /// A durable subscription.
    Cursor {
        /// The topic's number.
        topic: u32,
        /// The subscription's name, 1 to 255 bytes.
        name: Box<str>,
    },
    /// A producer.
    Producer {
        /// Its id.
        producer: u128,
    },
    /// Answers that a producer may ask for again.
    Answer {
        /// The producer's id.
        producer: u128,
        /// The number of the row among all that the producer ever had.
        number: u64,
    },
    /// Marks of the records of a block of offsets.
    Marks {
        /// The topic's number.
        topic: u32,
        /// The first offset of the record row.
        start: u64,
    },
    /// Remembered keys of records that have no row.
    Keys {
        /// The topic's number.
        topic: u32,
        /// The first offset.
        start: u64,
    },
    /// A shared subscription.
    Group {
        /// The topic's number.
        topic: u32,
        /// The subscription's name, 1 to 255 bytes.
        name: Box<str>,
    },
}

impl Key {
    pub(super) const META: u8 = 0;
    pub(super) const TOPIC: u8 = 1;
    pub(super) const RECORDS: u8 = 2;
    pub(super) const CURSOR: u8 = 4;
    pub(super) const PRODUCER: u8 = 5;
    pub(super) const ANSWER: u8 = 6;
    pub(super) const MARKS: u8 = 7;
    pub(super) const KEYS: u8 = 8;
    pub(super) const GROUP: u8 = 9;

    /// The kind of the row: the first byte of the key.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Meta => Self::META,
            Self::Topic { .. } => Self::TOPIC,
            Self::Records { .. } => Self::RECORDS,
            Self::Cursor { .. } => Self::CURSOR,
            Self::Producer { .. } => Self::PRODUCER,
            Self::Answer { .. } => Self::ANSWER,
            Self::Marks { .. } => Self::MARKS,
            Self::Keys { .. } => Self::KEYS,
            Self::Group { .. } => Self::GROUP,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("the broker's row"),
            Self::Topic { topic } => write!(f, "the row of topic {topic}"),
            Self::Records { topic, start } => write!(f, "the records of topic {topic} from {start} on"),
            Self::Cursor { topic, name } => write!(f, "the subscription {name} of topic {topic}"),
            Self::Group { topic, name } => write!(f, "the shared subscription {name} of topic {topic}"),
            Self::Producer { producer } => write!(f, "the producer {producer:032x}"),
            Self::Answer { producer, number } => write!(f, "the answer {number} of producer {producer:032x}"),
            Self::Marks { topic, start } => write!(f, "the marks of topic {topic} from {start} on"),
            Self::Keys { topic, start } => write!(f, "the keys of topic {topic} from {start} on"),
        }
    }
}

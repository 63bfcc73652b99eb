//! The rows, by their columns.

use bytes::Bytes;
use zaichik_proto::{RecordRef, Refusal, Timestamp};

use super::key::Key;
use crate::config::TopicSettings;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The broker.
    Meta(MetaRow),
    /// A topic.
    Topic(TopicRow),
    /// Records.
    Records(RecordsRow),
    /// A durable subscription.
    Cursor(CursorRow),
    /// A producer.
    Producer(ProducerRow),
    /// Answers to a producer.
    Answer(AnswerRow),
    /// Marks of records.
    Marks(MarksRow),
    /// Remembered keys.
    Keys(KeysRow),
    /// A shared subscription.
    Group(GroupRow),
}

/// The broker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaRow {
    /// Identifies the instance, which goes on (rule P5).
    pub instance: u128,
    /// A time that the broker had; every timestamp in the rows is one as well.
    pub now: Timestamp,
    /// For how long the broker had not run until then, in microseconds (rule O5).
    pub stopped_micros: u64,
}

/// A topic, without its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRow {
    /// Its number in the order of creation, from 0.
    pub topic: u32,
    /// Its name (rule T6).
    pub name: Box<str>,
    /// Its settings.
    pub settings: TopicSettings,
    /// Whether a request has given it its settings (rules T1 to T4).
    pub explicit: bool,
    /// The first offset of its record rows; the end of the topic if there are none.
    pub rows_from: u64,
    /// Records below this offset are gone; at least `rows_from`.
    pub first: u64,
    /// New subscriptions get nothing below this offset (rule R7).
    pub hidden_below: u64,
    /// The offset after the highest one that a limit removed (rule R9).
    pub limit_end: u64,
    /// Of the records from `first` on, limits have removed the oldest: at least so many. Not 0 only while the broker can't
    /// say which is the first one that is left, because those at the front are only in the store (rule B8).
    pub dropped_records: u64,
    /// The same in bytes: every record in front of which there are fewer.
    pub dropped_bytes: u64,
    /// When the times of `latest` compaction were changed (rule R7); zero in `first` mode.
    pub changed_at: Timestamp,
    /// The windows of `first` compaction for the keys that it remembers; none if it remembers none.
    /// The offsets rise.
    pub eras: Vec<Era>,
}

/// The smallest window in force since the records from an offset on were accepted (rule R7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era {
    /// The first offset. Keys of records below the first era are not remembered.
    pub from: u64,
    /// The window in microseconds.
    pub window_micros: u64,
}

/// Consecutive offsets of a topic and the records that are left of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsRow {
    /// The topic's number.
    pub topic: u32,
    /// The first offset.
    pub start: u64,
    /// When the last record was accepted, whether it is present or not.
    pub last_timestamp: Timestamp,
    /// What became of the offsets, from the first one on; neighbours differ in kind.
    pub runs: Vec<Run>,
    /// The records of the present offsets as the log holds them, in order (docs/protocol.md §4).
    pub data: Bytes,
}

/// Consecutive offsets of a record row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// What became of their records.
    pub kind: RunKind,
    /// Their number, at least 1.
    pub count: u64,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// It is in the row.
    Present,
    /// Its own time to live ended, and its space was reclaimed: a reader gets a Gap.
    Expired,
    /// It was superseded, or its time as a tombstone ended, and its space was reclaimed: a reader skips it silently.
    Superseded,
}

/// A durable subscription, without what ends with its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorRow {
    /// The topic's number.
    pub topic: u32,
    /// Its name, 1 to 255 bytes.
    pub name: Box<str>,
    /// The principal that owns it, at most 255 bytes; empty if nobody does.
    pub principal: Box<str>,
    /// Its newest epoch, at least 1 (rule D3).
    pub epoch: u32,
    /// The epoch under which its holder attached first.
    pub held_since: u32,
    /// How long it is kept while it is detached, in microseconds; it counts from the restart.
    pub inactive_micros: u64,
    /// The window of its newest Subscribe.
    pub window: u32,
    /// Its first uncommitted offset.
    pub cursor: u64,
    /// The position that Subscribe or Seek chose last; at most `cursor`.
    pub start: u64,
    /// How often its position was moved (rule A4).
    pub rewind: u32,
    /// `rewind` at the last Seek (rule A10); at most `rewind`.
    pub sought: u32,
    /// When a pause ends that a new attach does not shorten (rule A6), in time without that in which the broker did not run;
    /// zero without one.
    pub paused_until: Timestamp,
    /// What was delivered before, at or above the cursor: in order, without overlaps. At most 4,096.
    pub delivered: Vec<DeliveredRange>,
    /// Offsets at or above the cursor with their failures, at least 1 each: in order.
    pub failures: Vec<(u64, u32)>,
}

/// A shared subscription, without its members and what they hold (rule G1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// The topic's number.
    pub topic: u32,
    /// Its name, 1 to 255 bytes.
    pub name: Box<str>,
    /// The principal that owns it, at most 255 bytes; empty if nobody does.
    pub principal: Box<str>,
    /// Whether one record of a key at a time is handed out (rule G7).
    pub by_key: bool,
    /// How long it is kept without members, in microseconds; it counts from the restart.
    pub inactive_micros: u64,
    /// The window of its newest member.
    pub window: u32,
    /// Maximum distance between the cursor and what is handed out, at least 1 (rule G4).
    pub max_span: u32,
    /// How long a member may hold a record, in microseconds; `u64::MAX` for any time (rule G6).
    pub ack_deadline_micros: u64,
    /// The lowest offset that is not acknowledged.
    pub cursor: u64,
    /// How often it was moved.
    pub rewind: u32,
    /// What is acknowledged above the cursor: the first offset of each range and the one after its last. In order; they do not
    /// touch each other.
    pub done: Vec<(u64, u64)>,
    /// Offsets that are not acknowledged, with their failures, at least 1 each: in order.
    pub failures: Vec<(u64, u32)>,
    /// Offsets that came back with a delay and when it ends, in time without that in which the broker did not run: in order.
    pub delays: Vec<(u64, Timestamp)>,
}

/// Consecutive offsets that a subscription received equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveredRange {
    /// The first offset.
    pub from: u64,
    /// The offset after the last one.
    pub to: u64,
    /// How often they were delivered.
    pub attempts: u32,
    /// Whether they went to the dead-letter topic, and are not delivered again.
    pub is_done: bool,
}

/// A producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRow {
    /// Its id.
    pub producer: u128,
    /// The principal that owns it, at most 255 bytes; empty if nobody does.
    pub principal: Box<str>,
    /// Its newest epoch.
    pub epoch: u32,
    /// The sequence of the oldest answer that is remembered. Answers below it are forgotten, even if a row has them.
    pub oldest: u64,
    /// How many answers are remembered, at most 1,024. The next request has the sequence after them.
    pub count: u32,
}

/// Consecutive answers to a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow {
    /// The producer's id.
    pub producer: u128,
    /// The number of the row among all that the producer ever had.
    pub number: u64,
    /// The principal that owns the producer, at most 255 bytes; empty if nobody does.
    pub principal: Box<str>,
    /// The sequence of the request, or of the first one.
    pub sequence: u64,
    /// What was answered.
    pub answer: Answer,
}

/// What was answered to a request of a producer, or to several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Publishes were accepted whose first offsets are equally far apart.
    Run {
        /// Their number, at least 1.
        requests: u32,
        /// How far apart they are, at least 1.
        step: u32,
        /// The first offset of the first one.
        first_offset: u64,
    },
    /// A publish was accepted that created its topic, or has duplicates.
    Published {
        /// Whether it created the topic.
        created: bool,
        /// The offset of its first record; `None` if all were duplicates.
        first_offset: Option<u64>,
        /// Its duplicates, as the answer's frame has them (docs/protocol.md §7.4).
        duplicates: Bytes,
    },
    /// A batch was accepted.
    Batched {
        /// The results of its operations, as the answer's frame has them (docs/protocol.md §7.5).
        results: Bytes,
        /// Its duplicates, likewise.
        duplicates: Bytes,
    },
    /// It was refused.
    Refused(Refusal),
    /// The answer was too large to be remembered.
    Lost,
}

/// Which records of a block of offsets were superseded, or died as tombstones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarksRow {
    /// The topic's number.
    pub topic: u32,
    /// The first offset of the block: a multiple of [`Row::BLOCK`].
    pub start: u64,
    /// The marked records of the block, in order, without overlaps.
    pub runs: Vec<MarkedRun>,
}

/// Consecutive offsets with the same mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedRun {
    /// The first offset.
    pub from: u64,
    /// The offset after the last one.
    pub to: u64,
    /// The mark.
    pub mark: Mark,
}

/// What `latest` compaction did to a record that has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It was superseded; it lives on until its window is over (rule C6).
    Superseded,
    /// It is dead: readers skip it silently.
    Dead,
}

/// Remembered keys of records that have no row, of a block of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysRow {
    /// The topic's number.
    pub topic: u32,
    /// The keys, in the order of their records; at least one. Their records are in one block of [`Row::BLOCK`] offsets.
    pub keys: Vec<RememberedKey>,
}

/// A key that `first` compaction remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedKey {
    /// The offset of its record.
    pub offset: u64,
    /// When that was accepted.
    pub accepted: Timestamp,
    /// The key, at most 1,024 bytes.
    pub key: Bytes,
}

impl Row {
    /// Offsets of a block: marks, and keys of records that have no row, are divided among rows by the offset of their
    /// record. The first block begins at offset 0, and the divisions of record rows don't matter.
    pub const BLOCK: u64 = 128;

    /// The row's key.
    ///
    /// ```
    /// use zaichik_engine::Timestamp;
    /// use zaichik_engine::store::{Key, MetaRow, Row};
    /// let row = Row::Meta(MetaRow { instance: 7, now: Timestamp::from_micros(1), stopped_micros: 0 });
    /// assert_eq!(row.key(), Key::Meta);
    /// ```
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Meta(_) => Key::Meta,
            Self::Topic(row) => Key::Topic { topic: row.topic },
            Self::Records(row) => Key::Records { topic: row.topic, start: row.start },
            Self::Cursor(row) => Key::Cursor { topic: row.topic, name: row.name.clone() },
            Self::Producer(row) => Key::Producer { producer: row.producer },
            Self::Answer(row) => Key::Answer { producer: row.producer, number: row.number },
            Self::Marks(row) => Key::Marks { topic: row.topic, start: row.start },
            Self::Keys(row) => {
                let start = row.keys.first().map_or(0, |key| Self::block_of(key.offset));
                Key::Keys { topic: row.topic, start }
            }
            Self::Group(row) => Key::Group { topic: row.topic, name: row.name.clone() },
        }
    }

    /// The first offset of the block that an offset is in.
    pub(crate) const fn block_of(offset: u64) -> u64 {
        offset & !Self::BLOCK.saturating_sub(1)
    }

    /// The bytes that end the row's value as they are; all but records end with none.
    ///
    /// ```
    /// use zaichik_engine::Timestamp;
    /// use zaichik_engine::store::{MetaRow, Row};
    /// assert!(Row::Meta(MetaRow { instance: 7, now: Timestamp::from_micros(1), stopped_micros: 0 }).data().is_empty());
    /// ```
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match self {
            Self::Records(row) => &row.data,
            Self::Meta(_)
            | Self::Topic(_)
            | Self::Cursor(_)
            | Self::Producer(_)
            | Self::Answer(_)
            | Self::Marks(_)
            | Self::Keys(_)
            | Self::Group(_) => &[],
        }
    }
}

impl RecordsRow {
    /// The offset after the last one; saturates.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.runs.iter().fold(self.start, |end, run| end.saturating_add(run.count))
    }

    /// The records that are present, with their offsets, in order. Ends early if `data` has fewer, which no row has that
    /// was [decoded](Row::decode).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use zaichik_engine::Timestamp;
    /// use zaichik_engine::store::{RecordsRow, Run, RunKind};
    /// use zaichik_proto::Record;
    /// let mut data = Vec::new();
    /// Record { body: b"one tea", ..Record::default() }.encode(&mut data);
    /// let runs = vec![Run { kind: RunKind::Expired, count: 2 }, Run { kind: RunKind::Present, count: 1 }];
    /// let last_timestamp = Timestamp::from_micros(9);
    /// let row = RecordsRow { topic: 0, start: 5, last_timestamp, runs, data: Bytes::from(data) };
    /// let records: Vec<_> = row.records().map(|(offset, record)| (offset, record.body())).collect();
    /// assert_eq!(records, [(7, &b"one tea"[..])]);
    /// ```
    pub fn records(&self) -> impl Iterator<Item = (u64, RecordRef<'_>)> {
        let mut end = self.start;
        let runs = self.runs.iter().map(move |run| {
            let from = end;
            end = end.saturating_add(run.count);
            (run.kind, from..end)
        });
        let present = runs.filter(|(kind, _)| *kind == RunKind::Present);
        let mut rest = &*self.data;
        present.flat_map(|(_, offsets)| offsets).map_while(move |offset| {
            let (record, tail) = RecordRef::split_first(rest).ok()?;
            rest = tail;
            Some((offset, record))
        })
    }
}

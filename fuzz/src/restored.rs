//! A broker that is restored from the rows of another one, and what both have in common.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use zaichik_engine::store::{
    Answer as StoredAnswer, AnswerRow, Key, Mark, RecordsRow, RememberedKey, Row, RunKind, TopicRow,
};
use zaichik_engine::{Broker, BrokerConfig, Restore, Seed, Timestamp};
use zaichik_proto::{CompactionMode, RecordRef};

/// A broker from the rows of another one, with another key for hashing.
///
/// # Panics
/// If its rows differ, or it contradicts itself.
pub(crate) fn restored(broker: &Broker, config: &BrokerConfig, now: Timestamp) -> Broker {
    let rows: Vec<Row> = broker.rows().collect();
    let again = from_rows(&rows, config, now);
    again.verify().unwrap();
    assert_eq!(canonical(again.rows()), canonical(rows.iter().cloned()), "restored from {rows:#?}");
    again
}

fn from_rows(rows: &[Row], config: &BrokerConfig, now: Timestamp) -> Broker {
    let mut restore = Restore::new(config.clone(), Seed::new(3, 4)).unwrap();
    for row in rows {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        row.key().encode(&mut key);
        row.encode(&mut value);
        restore.row(&key, &value).unwrap_or_else(|error| panic!("{error}\n{row:#?}"));
    }
    restore.finish(now).unwrap_or_else(|error| panic!("{error}\n{rows:#?}"))
}

/// Checks that a store has the rows of a broker.
///
/// # Errors
/// What differs.
pub(crate) fn same_rows<'a>(stored: impl Iterator<Item = &'a Row>, broker: &Broker) -> Result<(), String> {
    let (mut stored, live) = (canonical(stored.cloned()), canonical(broker.rows()));
    // What is only in the store is in no row of the broker.
    stored.records.retain(|(topic, offset), _| !broker.is_cold(*topic, *offset));
    stored.keys.retain(|(topic, offset), _| !broker.is_cold(*topic, *offset));
    difference(&stored.others, &live.others)?;
    difference(&stored.records, &live.records)?;
    difference(&stored.holes, &live.holes)?;
    difference(&stored.marks, &live.marks)?;
    difference(&stored.keys, &live.keys)
}

/// The first thing that differs.
fn difference<K: Ord + Debug, V: PartialEq + Debug>(
    stored: &BTreeMap<K, V>,
    live: &BTreeMap<K, V>,
) -> Result<(), String> {
    let key = stored.keys().chain(live.keys()).find(|key| stored.get(key) != live.get(key));
    key.map_or(Ok(()), |key| {
        Err(format!("{key:?}: the store has {:?}, the broker {:?}", stored.get(key), live.get(key)))
    })
}

/// What rows say, however records, marks and keys are divided among them: without what is dead, of which a store may keep
/// more or less.
#[derive(Debug, Default, PartialEq, Eq)]
struct Canonical {
    others: BTreeMap<Key, Row>,
    records: BTreeMap<(u32, u64), Bytes>,
    /// Whether the record expired.
    holes: BTreeMap<(u32, u64), bool>,
    marks: BTreeMap<(u32, u64), Mark>,
    /// The time of acceptance and the key.
    keys: BTreeMap<(u32, u64), (Timestamp, Bytes)>,
}

fn canonical(rows: impl Iterator<Item = Row>) -> Canonical {
    let (mut canonical, mut topics, mut now) = (Canonical::default(), Vec::new(), Timestamp::ZERO);
    for row in rows {
        match row {
            Row::Records(row) => canonical.split(&row, &topics[row.topic as usize], now),
            Row::Marks(row) => {
                let first = topics[row.topic as usize].first;
                let offsets = row.runs.iter().flat_map(|run| (run.from..run.to).map(|at| (at, run.mark)));
                let offsets = offsets.filter(|(at, _)| *at >= first);
                canonical.marks.extend(offsets.map(|(at, mark)| ((row.topic, at), mark)));
            }
            Row::Keys(row) => {
                let topic = &topics[row.topic as usize];
                row.keys.into_iter().for_each(|key| canonical.remember(topic, key, now));
            }
            Row::Topic(row) => {
                let key = Key::Topic { topic: row.topic };
                topics.push(row.clone());
                canonical.others.insert(key, Row::Topic(TopicRow { rows_from: 0, ..row }));
            }
            Row::Meta(row) => {
                now = row.now;
                canonical.others.insert(Key::Meta, Row::Meta(row));
            }
            Row::Answer(row) => {
                let producer = Key::Producer { producer: row.producer };
                let oldest = match canonical.others.get(&producer) {
                    Some(Row::Producer(producer)) => producer.oldest,
                    _ => 0,
                };
                let row = without_forgotten(row, oldest);
                canonical
                    .others
                    .insert(Key::Answer { producer: row.producer, number: row.number }, Row::Answer(row));
            }
            Row::Group(mut row) => {
                if row.by_key {
                    // Which keys they would block is not known after a restart, so they end with it.
                    row.delays.clear();
                }
                canonical
                    .others
                    .insert(Key::Group { topic: row.topic, name: row.name.clone() }, Row::Group(row));
            }
            Row::Cursor(_) | Row::Producer(_) => {
                canonical.others.insert(row.key(), row);
            }
        }
    }
    canonical
}

/// Answers without those to requests below `oldest`, which are forgotten.
fn without_forgotten(mut row: AnswerRow, oldest: u64) -> AnswerRow {
    let forgotten = oldest.saturating_sub(row.sequence);
    if let StoredAnswer::Run { requests, step, first_offset } = &mut row.answer
        && forgotten < u64::from(*requests)
    {
        *requests -= u32::try_from(forgotten).unwrap();
        *first_offset += u64::from(*step) * forgotten;
        row.sequence += forgotten;
    }
    row
}

impl Canonical {
    /// Takes a row's records, with their keys, and its holes.
    fn split(&mut self, row: &RecordsRow, topic: &TopicRow, now: Timestamp) {
        let (mut offset, mut rest) = (row.start, row.data.clone());
        for run in &row.runs {
            for _ in 0..run.count {
                if run.kind == RunKind::Present {
                    let (record, _) = RecordRef::split_first(&rest).unwrap();
                    let accepted = Timestamp::from_micros(record.timestamp());
                    let key = record.key().map(Bytes::copy_from_slice);
                    let len = record.as_bytes().len();
                    if let Some(key) = key.filter(|_| topic.settings.compaction == CompactionMode::First) {
                        self.remember(topic, RememberedKey { offset, accepted, key }, now);
                    }
                    let record = rest.split_to(len);
                    if offset >= topic.first {
                        self.records.insert((row.topic, offset), record);
                    }
                } else if offset >= topic.first {
                    self.holes.insert((row.topic, offset), run.kind == RunKind::Expired);
                }
                offset += 1;
            }
        }
    }

    /// Takes a key while it is within its window.
    fn remember(&mut self, topic: &TopicRow, key: RememberedKey, now: Timestamp) {
        let window = topic.eras.iter().rev().find(|era| era.from <= key.offset).map(|era| era.window_micros);
        if window.is_some_and(|window| key.accepted.plus_micros(window) > now) {
            self.keys.insert((topic.topic, key.offset), (key.accepted, key.key));
        }
    }
}

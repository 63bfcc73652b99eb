//! A broker that is restored from the rows of another one, and what both have in common.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use zaichik_engine::store::{
    Answer as StoredAnswer, AnswerRow, GroupRow, Key, Mark, RecordsRow, Row, RunKind, TopicRow,
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
    let rows_again: Vec<Row> = again.rows().collect();
    assert_eq!(Canonical::of(&rows_again), Canonical::of(&rows), "restored from {rows:#?}");
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
    let mut live = Vec::with_capacity(stored.size_hint().0);
    live.extend(broker.rows());
    let (mut stored, live) = (Canonical::of(stored), Canonical::of(&live));
    if broker.cold_bytes() > 0 {
        // What is only in the store is in no row of the broker.
        stored.records.retain(|((topic, offset), _)| !broker.is_cold(*topic, *offset));
        stored.keys.retain(|((topic, offset), _)| !broker.is_cold(*topic, *offset));
    }
    difference(&stored.others, &live.others)?;
    difference(&stored.records, &live.records)?;
    difference(&stored.holes, &live.holes)?;
    difference(&stored.marks, &live.marks)?;
    difference(&stored.keys, &live.keys)
}

/// The first thing that differs, of two lists in the order of their keys.
fn difference<K: Ord + Debug, V: PartialEq + Debug>(
    stored: &[(K, V)],
    live: &[(K, V)],
) -> Result<(), String> {
    if stored == live {
        return Ok(());
    }
    let find = |list: &'_ [(K, V)], key: &K| list.binary_search_by(|(other, _)| other.cmp(key)).ok();
    let mut keys = stored.iter().chain(live).map(|(key, _)| key);
    let differs = keys.find_map(|key| {
        let was = find(stored, key).map(|at| &stored[at].1);
        let is = find(live, key).map(|at| &live[at].1);
        (was != is).then(|| format!("{key:?}: the store has {was:?}, the broker {is:?}"))
    });
    differs.map_or(Ok(()), Err)
}

/// What rows say, however records, marks and keys are divided among them: without what is dead, of which a store may keep
/// more or less. Each list is in the order of its keys.
///
/// It is made after most commits of a run, so it borrows what the rows have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Canonical<'a> {
    others: Vec<(Key, Cow<'a, Row>)>,
    records: Vec<(Place, &'a [u8])>,
    /// Whether the record expired.
    holes: Vec<(Place, bool)>,
    marks: Vec<(Place, Mark)>,
    /// The time of acceptance and the key.
    keys: Vec<(Place, (Timestamp, &'a [u8]))>,
}

/// A topic and an offset.
type Place = (u32, u64);

impl<'a> Canonical<'a> {
    fn of(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let rows = rows.into_iter();
        let (count, mut canonical) = (rows.size_hint().0, Self::default());
        canonical.others.reserve(count);
        canonical.records.reserve(count);
        let (mut topics, mut now) = (Vec::<&TopicRow>::new(), Timestamp::ZERO);
        // The oldest sequence that each producer remembers.
        let mut producers = BTreeMap::new();
        for row in rows {
            match row {
                Row::Records(row) => canonical.split(row, topics[row.topic as usize], now),
                Row::Marks(row) => {
                    let topic = topics[row.topic as usize];
                    let offsets = row.runs.iter().flat_map(|run| (run.from..run.to).map(|at| (at, run.mark)));
                    let offsets = offsets.filter(|(at, _)| *at >= topic.first);
                    canonical.marks.extend(offsets.map(|(at, mark)| ((row.topic, at), mark)));
                }
                Row::Keys(row) => {
                    let topic = topics[row.topic as usize];
                    row.keys.iter().for_each(|one| {
                        canonical.remember(topic, (one.offset, one.accepted, &one.key[..]), now);
                    });
                }
                Row::Topic(row) => {
                    topics.push(row);
                    let same = Row::Topic(TopicRow { rows_from: 0, ..row.clone() });
                    canonical.others.push((Key::Topic { topic: row.topic }, Cow::Owned(same)));
                }
                Row::Meta(meta) => {
                    now = meta.now;
                    canonical.others.push((Key::Meta, Cow::Borrowed(row)));
                }
                Row::Answer(answer) => {
                    let oldest = producers.get(&answer.producer).copied().unwrap_or(0);
                    let row = without_forgotten(answer.clone(), oldest);
                    let key = Key::Answer { producer: row.producer, number: row.number };
                    canonical.others.push((key, Cow::Owned(Row::Answer(row))));
                }
                Row::Producer(producer) => {
                    producers.insert(producer.producer, producer.oldest);
                    canonical.others.push((row.key(), Cow::Borrowed(row)));
                }
                Row::Group(group) if group.by_key => {
                    // Which keys they would block is not known after a restart, so they end with it.
                    let same = GroupRow { delays: Vec::new(), ..group.clone() };
                    canonical.others.push((row.key(), Cow::Owned(Row::Group(same))));
                }
                Row::Cursor(_) | Row::Group(_) => canonical.others.push((row.key(), Cow::Borrowed(row))),
            }
        }
        order(&mut canonical.others);
        order(&mut canonical.records);
        order(&mut canonical.holes);
        order(&mut canonical.marks);
        order(&mut canonical.keys);
        canonical
    }

    /// Takes a row's records, with their keys, and its holes.
    fn split(&mut self, row: &'a RecordsRow, topic: &TopicRow, now: Timestamp) {
        let (mut offset, mut rest) = (row.start, &row.data[..]);
        for run in &row.runs {
            for _ in 0..run.count {
                if run.kind == RunKind::Present {
                    let (record, after) = RecordRef::split_first(rest).unwrap();
                    if topic.settings.compaction == CompactionMode::First
                        && let Some(key) = record.key()
                    {
                        let accepted = Timestamp::from_micros(record.timestamp());
                        self.remember(topic, (offset, accepted, key), now);
                    }
                    if offset >= topic.first {
                        self.records.push(((row.topic, offset), record.as_bytes()));
                    }
                    rest = after;
                } else if offset >= topic.first {
                    self.holes.push(((row.topic, offset), run.kind == RunKind::Expired));
                }
                offset += 1;
            }
        }
    }

    /// Takes a key while it is within its window.
    fn remember(
        &mut self,
        topic: &TopicRow,
        (offset, accepted, key): (u64, Timestamp, &'a [u8]),
        now: Timestamp,
    ) {
        let window = topic.eras.iter().rev().find(|era| era.from <= offset).map(|era| era.window_micros);
        if window.is_some_and(|window| accepted.plus_micros(window) > now) {
            self.keys.push(((topic.topic, offset), (accepted, key)));
        }
    }
}

/// Orders a list by its keys; of several entries with the same key, the last one counts.
fn order<K: Ord, V>(list: &mut Vec<(K, V)>) {
    list.sort_by(|(one, _), (other, _)| one.cmp(other));
    list.dedup_by(|later, kept| {
        let is_same = later.0 == kept.0;
        if is_same {
            std::mem::swap(later, kept);
        }
        is_same
    });
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

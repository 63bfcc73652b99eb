//! What was staged of a topic is its rows (rule B1).

use std::collections::BTreeMap;

use bytes::Bytes;
use zaichik_proto::{CompactionMode, Overflow, RecordRef};

use super::actions::{Change, Message, action, change};
use super::*;
use crate::store::{Key, Mark, MarkedRun, Op, RememberedKey, Row, RunKind, TopicRow};

const TOPIC: u32 = 3;

/// The first offset; a block ends soon behind it.
const START: u64 = 120;

#[derive(Debug, Clone)]
enum Step {
    Act(Action),
    /// The last subscription ends, or one begins.
    Reader,
    Stage,
    /// The topic is restored from what was staged.
    Restart,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    is_latest: bool,
    is_reject: bool,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => action().prop_map(Step::Act),
        1 => Just(Step::Reader),
        8 => Just(Step::Stage),
        1 => Just(Step::Restart),
    ]
}

struct Stored {
    topic: Topic,
    retired: Retired,
    kind: Kind,
    now: u64,
    readers: Vec<(Position, CursorId)>,
    rows: BTreeMap<Key, Row>,
}

impl Stored {
    fn new(kind: Kind, change: &Change) -> Self {
        let settings = settings(kind, change);
        let mut topic = Topic::new("t".into(), settings, Rings::default().insert(0), START);
        topic.begin_storing();
        let readers = (0..READERS).map(|_| (Position::at(0), topic.cursors.insert(START))).collect();
        Self { topic, retired: Retired::default(), kind, now: 1_000, readers, rows: BTreeMap::new() }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Act(action) => self.act(action),
            Step::Reader => {
                if let Some((_, cursor)) = self.readers.pop() {
                    self.topic.cursors.remove(cursor);
                    self.topic.release_committed(&mut self.retired);
                } else {
                    let end = self.topic.end();
                    self.readers.push((Position::at(end), self.topic.cursors.insert(end)));
                }
            }
            Step::Stage => self.stage(),
            Step::Restart => {
                self.stage();
                self.restart();
            }
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Publish(messages, is_refused) => self.publish(messages, *is_refused),
            Action::Time(by) => self.now += by,
            Action::Pull(reader, want) => {
                let Some((at, cursor)) = self.readers.get(*reader).copied() else { return };
                let to = match self.topic.pull(self.at(), at, *want) {
                    Pull::Records { next, .. } => next,
                    Pull::Gap { to } | Pull::Skip { to } => Position::at(to),
                    Pull::End | Pull::NoRoom | Pull::Cold { .. } => return,
                };
                self.readers[*reader].0 = to;
                self.topic.cursors.set(cursor, to.offset);
                self.topic.release_committed(&mut self.retired);
            }
            Action::Move(..) => {}
            Action::Change(change) => {
                // Without records the mode may change as well (rule T3).
                if change.max_keys == 2 && self.topic.is_empty(self.at()) {
                    self.kind.is_latest = !self.kind.is_latest;
                }
                let settings = settings(self.kind, change);
                self.topic.change_settings(self.at(), settings);
                self.topic.explicit = true;
            }
            Action::Step => self.topic.housekeep(self.at(), &mut self.retired),
            Action::Rest => {
                self.now += 1_000_000;
                let mut steps = 0..10_000;
                while self.topic.due_at() <= self.at() && steps.next().is_some() {
                    self.topic.housekeep(self.at(), &mut self.retired);
                }
            }
        }
        assert!(self.topic.is_consistent());
    }

    fn publish(&mut self, messages: &[Message], is_refused: bool) {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for message in messages {
            bytes.extend(message.record());
            count += 1;
        }
        if is_refused {
            let body = vec![0; MAX_MESSAGE as usize + 1];
            Record { body: &body, ..Record::default() }.encode(&mut bytes);
            count += 1;
        }
        let records = Records::from_encoded(count, &bytes);
        let at = self.at();
        if messages.iter().all(|message| message.key.is_none())
            && self.topic.append_plain(at, records, MAX_MESSAGE, &mut self.retired).is_some()
        {
            self.topic.appended(at, &mut self.retired);
            return;
        }
        let (mut duplicates, retired) = (Vec::new(), &mut self.retired);
        let mut context =
            PublishContext { max_message: MAX_MESSAGE, hash_key: 7, duplicates: &mut duplicates, retired };
        let _ = self.topic.publish(at, records, &mut context);
    }

    /// What was staged is the rows, and staging again changes nothing.
    fn stage(&mut self) {
        let mut ops = Vec::new();
        self.topic.stage(TOPIC, &mut ops);
        for op in ops.drain(..) {
            match op {
                Op::Put { row } => {
                    let records = row.data().len();
                    let is_one = RecordRef::split_first(row.data()).is_ok_and(|(_, rest)| rest.is_empty());
                    assert!(records <= 60_000 || is_one);
                    self.rows.insert(row.key(), row);
                }
                Op::Remove { key } => drop(self.rows.remove(&key)),
                Op::Trim { topic, from, to } => {
                    assert!(topic == TOPIC && from < to);
                    let range = from..to;
                    let is_trimmed = |key: &Key| matches!(key, Key::Records { start, .. } | Key::Marks { start, .. } if range.contains(start));
                    self.rows.retain(|key, _| !is_trimmed(key));
                }
            }
        }
        assert_eq!(self.topic.unstaged(), 0);
        self.topic.stage(TOPIC, &mut ops);
        assert_eq!(ops, [], "nothing changed");
        let live = rows(&self.topic);
        same(&canonical(self.rows.values(), self.now), &canonical(live.iter(), self.now));
        let blocks = self.rows.keys().filter(|key| matches!(key, Key::Keys { .. })).count();
        assert!(blocks == 0 || self.topic.keys.is_some(), "rows of forgotten keys leave");
    }

    /// The topic that is restored from the rows has the same rows.
    fn restart(&mut self) {
        let topic_row = match self.rows.get(&Key::Topic { topic: TOPIC }) {
            Some(Row::Topic(row)) => row.clone(),
            _ => panic!("the topic has no row"),
        };
        let mut topic = Topic::restored(&topic_row, Rings::default().insert(0));
        let mut parts =
            TopicParts { row: topic_row, marks: Vec::new(), keys: Vec::new(), evicted_to: u64::MAX };
        for row in self.rows.values() {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            row.key().encode(&mut key);
            row.encode(&mut value);
            match Row::decode(&key, &value).expect("a valid row") {
                Row::Records(row) => assert!(topic.restore_records(row, &mut self.retired)),
                Row::Marks(row) => parts.marks.extend(row.runs),
                Row::Keys(row) => parts.keys.extend(row.keys),
                Row::Meta(_)
                | Row::Topic(_)
                | Row::Cursor(_)
                | Row::Producer(_)
                | Row::Answer(_)
                | Row::Group(_) => {}
            }
        }
        for (at, cursor) in &mut self.readers {
            // Durable subscriptions keep the records that they need.
            let offset = at.offset.max(self.topic.log.first().offset);
            (*at, *cursor) = (Position::at(offset), topic.cursors.insert(offset));
        }
        topic.restore_parts((self.at(), self.at()), &parts, 9, &mut self.retired).expect("consistent rows");
        assert!(topic.is_consistent());
        // What has died meanwhile is removed at once.
        self.topic.age(self.now);
        self.topic.log.settle(self.now, usize::MAX);
        self.topic.drop_oldest(self.now);
        self.topic.age(self.now);
        if let Some(keys) = &mut self.topic.keys {
            keys.forget(self.now, usize::MAX);
        }
        let (before, after) = (rows(&self.topic), rows(&topic));
        same(&canonical(after.iter(), self.now), &canonical(before.iter(), self.now));
        self.topic = topic;
        self.stage();
    }
}

impl Message {
    fn record(&self) -> Vec<u8> {
        let body = vec![7; self.len];
        let mut bytes = Vec::new();
        Record {
            key: self.key.map(str::as_bytes),
            ttl_micros: self.ttl,
            tombstone: self.is_tombstone,
            body: &body,
            ..Record::default()
        }
        .encode(&mut bytes);
        bytes
    }
}

fn settings(kind: Kind, change: &Change) -> TopicSettings {
    let compaction = if kind.is_latest { CompactionMode::Latest } else { CompactionMode::First };
    let overflow = if kind.is_reject { Overflow::Reject } else { Overflow::DropOldest };
    TopicSettings { compaction, overflow, ..change.settings() }
}

fn rows(topic: &Topic) -> Vec<Row> {
    core::iter::once(Row::Topic(topic.row(TOPIC)))
        .chain(topic.records_rows(TOPIC).map(Row::Records))
        .chain(topic.marks_rows(TOPIC).map(Row::Marks))
        .chain(topic.keys_rows(TOPIC).map(Row::Keys))
        .collect()
}

fn same(left: &Canonical, right: &Canonical) {
    assert_eq!((&left.topic, left.end), (&right.topic, right.end));
    assert_eq!((&left.marks, &left.keys, &left.holes), (&right.marks, &right.keys, &right.holes));
    assert!(left.records == right.records, "records differ");
}

/// What rows say, however they are divided: without what is dead, of which a store may keep more or less.
#[derive(Debug, Default, PartialEq)]
struct Canonical {
    topic: Option<TopicRow>,
    end: u64,
    records: BTreeMap<u64, Bytes>,
    /// Whether the record expired.
    holes: BTreeMap<u64, bool>,
    marks: BTreeMap<u64, Mark>,
    keys: BTreeMap<u64, (Timestamp, Bytes)>,
}

fn canonical<'a>(rows: impl Iterator<Item = &'a Row>, now: u64) -> Canonical {
    let mut all = Canonical::default();
    let mut remember = BTreeMap::new();
    for row in rows {
        match row {
            Row::Topic(row) => {
                all.end = row.rows_from;
                all.topic = Some(TopicRow { rows_from: 0, ..row.clone() });
            }
            Row::Records(row) => {
                assert_eq!(row.start, all.end, "rows follow each other");
                all.end = row.end();
                let (mut at, mut rest) = (row.start, row.data.clone());
                for run in &row.runs {
                    for offset in at..at + run.count {
                        if run.kind != RunKind::Present {
                            all.holes.insert(offset, run.kind == RunKind::Expired);
                            continue;
                        }
                        let (record, _) = RecordRef::split_first(&rest).expect("a record");
                        let accepted = Timestamp::from_micros(record.timestamp());
                        if let Some(key) = record.key().map(Bytes::copy_from_slice) {
                            remember.insert(offset, RememberedKey { offset, accepted, key });
                        }
                        let len = record.as_bytes().len();
                        all.records.insert(offset, rest.split_to(len));
                    }
                    at += run.count;
                }
            }
            Row::Marks(row) => {
                let offsets = row
                    .runs
                    .iter()
                    .flat_map(|MarkedRun { from, to, mark }| (*from..*to).map(|at| (at, *mark)));
                offsets.for_each(|(at, mark)| assert_eq!(all.marks.insert(at, mark), None));
            }
            Row::Keys(row) => row.keys.iter().for_each(|key| {
                assert!(remember.insert(key.offset, key.clone()).is_none(), "a key and its record");
            }),
            Row::Meta(_) | Row::Cursor(_) | Row::Producer(_) | Row::Answer(_) | Row::Group(_) => {}
        }
    }
    assert!(all.marks.keys().all(|at| all.records.contains_key(at)), "a mark has no record");
    let topic = all.topic.as_ref().expect("a topic");
    let first = topic.first;
    all.records = all.records.split_off(&first);
    all.holes = all.holes.split_off(&first);
    all.marks = all.marks.split_off(&first);
    for (offset, key) in remember {
        let era = topic.eras.iter().rev().find(|era| era.from <= offset);
        if era.is_some_and(|era| key.accepted.plus_micros(era.window_micros).as_micros() > now) {
            all.keys.insert(offset, (key.accepted, key.key));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b1_what_was_staged_is_the_rows(
        (is_latest, is_reject) in any::<(bool, bool)>(),
        change in change(),
        steps in vec_of(step(), 1..150),
    ) {
        let mut stored = Stored::new(Kind { is_latest, is_reject }, &change);
        for step in &steps {
            stored.run(step);
        }
        stored.stage();
        stored.restart();
    }
}

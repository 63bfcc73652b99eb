//! A topic with `latest` compaction against a list of every record ever (rules C4, C6 to C8).

#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

mod actions;
mod staging;

use std::collections::BTreeSet;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_proto::{Duplicate, Record, Records, RefusalCode};

use self::actions::{Action, Change, Message, action, change};
use super::*;
use crate::ring::Rings;

#[derive(Debug, Clone)]
struct Entry {
    bytes: Vec<u8>,
    key: Option<&'static str>,
    is_tombstone: bool,
    timestamp: u64,
    own_death: u64,
    superseded_at: Option<u64>,
    /// When the window after it was superseded ended, or its time as a tombstone.
    silent_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Live,
    Missing,
    Silent,
}

const READERS: usize = 2;
const MAX_MESSAGE: u32 = 50_000;

/// A topic and a naive model of it.
struct Pair {
    topic: Topic,
    retired: Retired,
    duplicates: Vec<Duplicate>,
    now: u64,
    all: Vec<Entry>,
    first: u64,
    floor: u64,
    changed_at: u64,
    /// Whether the space of some records had been reclaimed before this action.
    was_sparse: bool,
    readers: Vec<(Position, CursorId)>,
}

impl Pair {
    fn new(change: &Change) -> Self {
        let settings = change.settings();
        let mut topic = Topic::new("t".into(), settings, Rings::default().insert(0), 0);
        let readers = (0..READERS).map(|_| (Position::at(0), topic.cursors.insert(0))).collect();
        let (retired, duplicates) = (Retired::default(), Vec::new());
        Self {
            topic,
            retired,
            duplicates,
            now: 1_000,
            all: Vec::new(),
            first: 0,
            floor: 0,
            changed_at: 0,
            was_sparse: false,
            readers,
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    fn end(&self) -> u64 {
        self.all.len() as u64
    }

    fn settings(&self) -> TopicSettings {
        self.topic.settings
    }

    /// Records that have died by now stay dead under any later settings.
    fn age(&mut self) {
        age(&mut self.all, self.now, self.changed_at, self.topic.settings);
    }

    fn fate(&self, offset: u64) -> Ending {
        let entry = &self.all[usize::try_from(offset).unwrap()];
        if offset < self.first { Ending::Missing } else { fate(entry, self.now) }
    }

    /// The first offset rises by the topic's time to live, by own ones at the front, and by commits.
    fn raise(&mut self) {
        let ttl = self.settings().retention_ttl_micros;
        // The topic ages when it is queried.
        self.topic.is_empty(self.at());
        assert!(!self.topic.log.is_first_expired(self.now), "an expired record remains the first one");
        self.age();
        let mut first = self.first;
        while let Some(entry) = self.all.get(usize::try_from(first).unwrap()) {
            let by_topic = ttl > 0 && ttl < u64::MAX && entry.timestamp + ttl <= self.now;
            let by_all = ttl == 0 && self.readers.iter().all(|(at, _)| at.offset > first);
            if !by_topic && !by_all && fate(entry, self.now) != Ending::Missing {
                break;
            }
            first += 1;
        }
        self.agree_on(first);
    }

    /// The topic knows less about reclaimed records: it may raise its first offset over them earlier or later, together
    /// with their neighbours.
    fn agree_on(&mut self, first: u64) {
        let real = self.topic.log.first().offset;
        assert!(
            first == real || self.was_sparse || self.topic.log.is_sparse(),
            "first is {real}, not {first}"
        );
        let between = first.min(real)..first.max(real);
        for offset in between {
            let entry = &self.all[usize::try_from(offset).unwrap()];
            assert_ne!(fate(entry, self.now), Ending::Live, "offset {offset}: first is {real}, not {first}");
        }
        self.first = real;
    }

    fn run(&mut self, action: &Action) {
        match action {
            Action::Publish(messages, is_refused) => self.publish(messages, *is_refused),
            Action::Time(by) => self.now += by,
            Action::Pull(reader, want) => self.pull(*reader, *want),
            Action::Move(reader, ahead) => {
                let to = (self.first + ahead).min(self.end());
                let (at, cursor) = &mut self.readers[*reader];
                // In a topic without retention, records behind a cursor are gone, so it does not fall.
                if to >= at.offset || self.topic.settings.retention_ttl_micros > 0 {
                    *at = Position::at(to);
                    self.topic.cursors.set(*cursor, to);
                    self.topic.release_committed(&mut self.retired);
                }
            }
            Action::Change(change) => self.change(change),
            Action::Step => self.topic.housekeep(self.at(), &mut self.retired),
            Action::Rest => self.rest(),
        }
    }

    fn publish(&mut self, messages: &[Message], is_refused: bool) {
        self.topic.begin_plan(self.at());
        self.raise();
        let (mut all, mut full) = (self.all.clone(), false);
        let (now, settings) = (self.now, self.settings());
        for message in messages {
            let live = keys(&all, self.first, now);
            let is_new = message.key.is_some_and(|key| !live.contains(key));
            let dies = message.is_tombstone && settings.tombstone_ttl_micros == 0;
            full |= is_new && !dies && live.len() as u64 >= settings.max_keys;
            if let Some(key) = message.key {
                let older = all.iter_mut().filter(|entry| entry.key == Some(key));
                older.for_each(|entry| {
                    entry.superseded_at.get_or_insert(now);
                });
            }
            all.push(message.entry(now, all.len()));
            age(&mut all, now, self.changed_at, settings);
        }
        let mut bytes = Vec::new();
        all[self.all.len()..].iter().zip(messages).for_each(|(entry, message)| {
            let mut record = entry.bytes.clone();
            // A client's records have no timestamps.
            record[8..16].fill(0);
            assert!(message.ttl.is_none_or(|ttl| entry.own_death == now + ttl));
            bytes.extend(record);
        });
        let mut count = u32::try_from(messages.len()).unwrap();
        if is_refused {
            let body = vec![0; MAX_MESSAGE as usize + 1];
            Record { body: &body, ..Record::default() }.encode(&mut bytes);
            count += 1;
        }
        let records = Records::from_encoded(count, &bytes);
        let (duplicates, retired) = (&mut self.duplicates, &mut self.retired);
        let mut context = PublishContext { max_message: MAX_MESSAGE, hash_key: 7, duplicates, retired };
        let before = self.first;
        let answer = self.topic.publish(Timestamp::from_micros(now), records, &mut context);
        let code = answer.map_err(|refusal| refusal.code);
        let sum = all[self.all.len()..].iter().map(|entry| entry.bytes.len() as u64).sum::<u64>();
        if full {
            assert_eq!(code, Err(RefusalCode::KeysFull), "{messages:?}");
        } else if is_refused || sum > settings.max_bytes || u64::from(count) > settings.max_messages {
            assert_eq!(code, Err(RefusalCode::TooLarge), "{messages:?}");
        } else {
            assert_eq!(code.map(|accepted| accepted.first_offset), Ok(Some(self.end())));
            self.all = all;
            let fits = |from: u64| {
                let kept = self.all[usize::try_from(from).unwrap()..].iter();
                let kept: Vec<_> = kept.filter(|entry| fate(entry, now) == Ending::Live).collect();
                let bytes: u64 = kept.iter().map(|entry| entry.bytes.len() as u64).sum();
                kept.len() as u64 <= settings.max_messages && bytes <= settings.max_bytes
            };
            let first = (before..=self.end()).find(|from| fits(*from)).unwrap();
            self.agree_on(first);
        }
        assert_eq!(self.topic.end(), self.end());
    }

    fn change(&mut self, change: &Change) {
        self.raise();
        let floor = self.start(0);
        let (now, settings) = (self.at(), change.settings());
        let old = self.settings();
        self.topic.change_settings(now, settings);
        if (old.compaction_window_micros, old.tombstone_ttl_micros)
            != (settings.compaction_window_micros, settings.tombstone_ttl_micros)
        {
            self.changed_at = self.now;
        }
        self.floor = self.floor.max(floor);
        // Takes over the first offset after a limit removed records.
        self.first = self.topic.log.first().offset;
        self.raise();
    }

    /// Where a new subscription that asks for an offset starts.
    fn start(&mut self, asked: u64) -> u64 {
        self.raise();
        if self.settings().is_live_only() || asked >= self.end() {
            return self.end().max(asked);
        }
        let mut all = asked.max(self.floor)..self.end();
        all.find(|offset| self.fate(*offset) == Ending::Live).unwrap_or_else(|| self.end())
    }

    fn pull(&mut self, reader: usize, want: Want) {
        let (from, cursor) = self.readers[reader];
        let pulled = self.topic.pull(self.at(), from, want);
        self.raise();
        let to = match pulled {
            Pull::End => {
                assert!(from.offset >= self.end());
                return;
            }
            Pull::Cold { .. } => panic!("there is no store"),
            Pull::NoRoom => {
                assert_eq!(self.fate(from.offset), Ending::Live);
                let len = self.all[usize::try_from(from.offset).unwrap()].bytes.len();
                assert!(len > want.bytes && len > want.single);
                return;
            }
            Pull::Gap { to } => {
                self.assert_all(from.offset, to, Ending::Missing);
                Position::at(to)
            }
            Pull::Skip { to } => {
                self.assert_all(from.offset, to, Ending::Silent);
                Position::at(to)
            }
            Pull::Records { data, count, next } => {
                assert_eq!(next.offset, from.offset + u64::from(count));
                assert!((from.offset..next.offset).all(|offset| self.fate(offset) == Ending::Live));
                let range = usize::try_from(from.offset).unwrap()..usize::try_from(next.offset).unwrap();
                assert_eq!(
                    data,
                    self.all[range].iter().flat_map(|entry| entry.bytes.clone()).collect::<Vec<_>>()
                );
                next
            }
        };
        self.readers[reader].0 = to;
        self.topic.cursors.set(cursor, to.offset);
        self.topic.release_committed(&mut self.retired);
    }

    /// All of these offsets have this fate, and the next one does not.
    fn assert_all(&self, from: u64, to: u64, expected: Ending) {
        assert!(from < to);
        for offset in from..to {
            assert_eq!(self.fate(offset), expected, "offset {offset} of {from}..{to}");
        }
        assert!(to == self.end() || self.fate(to) != expected, "offset {to} is missing in {from}..{to}");
    }

    fn rest(&mut self) {
        self.now += 1_000_000;
        for _ in 0..10_000 {
            if self.topic.due_at() > self.at() {
                break;
            }
            self.topic.housekeep(self.at(), &mut self.retired);
        }
        assert!(self.topic.due_at() > self.at(), "housekeeping never ends");
        self.raise();
        let found = self.topic.newest.as_ref().map_or(0, |newest| newest.live());
        assert_eq!(found, keys(&self.all, self.first, self.now).len() as u64, "keys leave");
        let live: usize = (self.first..self.end())
            .filter(|at| self.fate(*at) != Ending::Silent)
            .map(|at| self.all[usize::try_from(at).unwrap()].bytes.len() + 600)
            .sum();
        // Tables may keep 128 entries; above the first offset less than half of a chunk is dead.
        let bound = 30_000 + 3 * live;
        let footprint = self.topic.footprint();
        assert!(self.first > 0 || footprint < bound, "{footprint} for {live}");
    }

    fn check(&mut self) {
        assert!(self.topic.is_consistent());
        self.was_sparse = self.topic.log.is_sparse();
        for asked in [0, self.first, self.end() / 2, self.end(), self.end() + 1] {
            let start = self.topic.start(self.at(), Start::Offset(asked));
            assert_eq!(start, self.start(asked), "asked for {asked}");
        }
    }
}

impl Change {
    fn settings(&self) -> TopicSettings {
        TopicSettings {
            retention_ttl_micros: self.retention,
            compaction_window_micros: self.window,
            compaction: CompactionMode::Latest,
            max_messages: self.max_messages,
            max_bytes: self.max_bytes,
            max_keys: self.max_keys,
            tombstone_ttl_micros: self.tombstone_ttl,
            ..TopicSettings::default()
        }
    }
}

impl Message {
    fn entry(&self, now: u64, index: usize) -> Entry {
        let body = vec![u8::try_from(index % 251).unwrap(); if self.is_tombstone { 0 } else { self.len }];
        let key = self.key.map(str::as_bytes);
        let (ttl_micros, tombstone) = (self.ttl, self.is_tombstone);
        let mut bytes = Vec::new();
        Record { key, body: &body, ttl_micros, tombstone, timestamp: now, headers: &[] }.encode(&mut bytes);
        Entry {
            bytes,
            key: self.key,
            is_tombstone: self.is_tombstone,
            timestamp: now,
            own_death: self.ttl.map_or(u64::MAX, |ttl| now + ttl),
            superseded_at: None,
            silent_at: None,
        }
    }
}

fn age(all: &mut [Entry], now: u64, changed_at: u64, settings: TopicSettings) {
    for entry in all.iter_mut().filter(|entry| entry.silent_at.is_none()) {
        let end = |ttl: u64| entry.timestamp.saturating_add(ttl);
        let changed = if entry.timestamp < changed_at { changed_at } else { 0 };
        let superseded =
            entry.superseded_at.map(|at| end(settings.compaction_window_micros).max(at).max(changed));
        let deleted = entry.is_tombstone.then(|| end(settings.tombstone_ttl_micros).max(changed));
        entry.silent_at = superseded.into_iter().chain(deleted).min().filter(|at| *at <= now);
    }
}

fn fate(entry: &Entry, now: u64) -> Ending {
    match entry.silent_at {
        Some(at) if at < entry.own_death => Ending::Silent,
        _ if entry.own_death <= now => Ending::Missing,
        _ => Ending::Live,
    }
}

/// The keys whose newest record is live.
fn keys(all: &[Entry], first: u64, now: u64) -> BTreeSet<&'static str> {
    let live =
        all.iter().zip(0..).filter(|(entry, offset)| *offset >= first && fate(entry, now) == Ending::Live);
    live.filter(|(entry, _)| entry.superseded_at.is_none()).filter_map(|(entry, _)| entry.key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c6_a_latest_topic_agrees_with_a_list(change in change(), actions in vec_of(action(), 1..120)) {
        let mut pair = Pair::new(&change);
        for action in &actions {
            pair.run(action);
            pair.check();
        }
    }
}

//! A store in memory, which has each commit at once, and is compared with the broker after each.

use std::collections::BTreeMap;

use bytes::Bytes;
use zaichik_engine::store::{Commit, Fetch, FetchError, Op, Row, RunKind, Ticket, TopicRow};
use zaichik_engine::{Broker, Restore, Seed, Timestamp};
use zaichik_proto::RecordRef;
use zaichik_testkit::{Connections, Rows};

use super::World;

/// Checks that a broker restored from these rows is the one restored from the rows of a live one (rule B6).
fn compare(stored: &Rows, live: &Broker, now: Timestamp) {
    let stored = restored(stored.iter().cloned(), live, now);
    let expected = restored(live.rows(), live, now);
    let (mut stored, expected) = (flat(stored.rows()), flat(expected.rows()));
    // What is only in the store is in no row of the live one.
    stored.retain(|(key, offset), _| {
        let topic = <[u8; 4]>::try_from(&key[..]).map(u32::from_be_bytes);
        topic.map_or(true, |topic| !live.is_cold(topic, *offset))
    });
    for (key, row) in &expected {
        assert_eq!(stored.get(key), Some(row), "the store has another row, or none, for {key:?}");
    }
    assert_eq!(stored.len(), expected.len(), "the store has more rows: {:#?}", stored.keys());
}

impl World {
    /// The broker has a store from now on, which has nothing so far.
    pub(crate) fn begin_storing(&mut self) {
        self.connections.broker.begin_storing();
        self.stored = Some(Rows::default());
        self.keep_store();
    }

    /// The same with a store that has these rows; the first commit is not given to it yet.
    pub(crate) fn begin_storing_with(&mut self, rows: &[Row]) {
        let ops = rows.iter().map(|row| Op::Put { row: row.clone() }).collect();
        let mut stored = Rows::default();
        stored.apply(&Commit { ticket: Ticket::FIRST, ops });
        self.connections.broker.begin_storing();
        (self.stored, self.stores_at_once) = (Some(stored), false);
    }

    /// Gives what is due to a store that finishes at once; returns whether anything was.
    pub(super) fn keep_store(&mut self) -> bool {
        if !self.stores_at_once {
            return false;
        }
        let Some(commit) = self.take_commit() else { return false };
        self.finish_commit(commit.ticket);
        true
    }

    /// A commit that is due, which the store applies and does not finish yet.
    pub(crate) fn take_commit(&mut self) -> Option<Commit> {
        let Connections { broker, effects, now, is_thorough, .. } = &mut self.connections;
        let (stored, now) = (self.stored.as_mut()?, *now);
        let commit = broker.poll_commit(now, effects);
        let Some(commit) = commit else {
            self.collect(false);
            return None;
        };
        stored.apply(&commit);
        // The rows of a broker lack what is only in the store.
        if *is_thorough && broker.cold_bytes() == 0 {
            compare(stored, broker, now);
        }
        Some(commit)
    }

    /// Records that the broker needs back.
    pub(crate) fn take_fetch(&mut self) -> Option<Fetch> {
        self.connections.broker.poll_fetch()
    }

    /// The store has read records back.
    pub(crate) fn finish_fetch(&mut self, fetch: Fetch, records: Bytes) -> Result<(), FetchError> {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        let fetched = broker.fetched(*now, fetch, records, effects);
        self.collect(false);
        fetched
    }

    /// The store has no space, or has some again.
    pub(crate) fn set_full(&mut self, is_full: bool) {
        let Connections { broker, now, .. } = &mut self.connections;
        broker.store_full(*now, is_full);
    }

    /// The store failed.
    pub(crate) fn fail_store(&mut self) {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        broker.store_failed(*now, effects);
        self.collect(false);
    }

    /// The store has a commit, and did not sync it.
    pub(crate) fn write_commit(&mut self, ticket: Ticket) {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        let _ = broker.written(*now, ticket, effects);
        self.collect(false);
    }

    /// The store synced every commit that it has.
    pub(crate) fn sync(&mut self) {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        let _ = broker.synced(*now, effects);
        self.collect(false);
    }

    /// The store finished a commit.
    pub(crate) fn finish_commit(&mut self, ticket: Ticket) {
        let Connections { broker, effects, now, .. } = &mut self.connections;
        let _ = broker.committed(*now, ticket, effects);
        self.collect(false);
    }
}

fn restored(rows: impl Iterator<Item = Row>, like: &Broker, now: Timestamp) -> Broker {
    let rows: Vec<Row> = rows.collect();
    // Otherwise some of it would leave memory.
    let mut config = like.config().clone();
    config.max_resident_bytes = None;
    let mut restore = Restore::new(config, Seed::new(1, 2)).expect("a valid configuration");
    for (key, value) in super::recover::encoded(&rows) {
        restore.row(&key, &value).unwrap_or_else(|error| panic!("{error}: {rows:#?}"));
    }
    restore.finish(now).unwrap_or_else(|error| panic!("{error}: {rows:#?}"))
}

/// Rows by their keys, with each record in a row of its own.
fn flat(rows: impl Iterator<Item = Row>) -> BTreeMap<(Vec<u8>, u64), String> {
    let (mut flat, mut firsts) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let text = format!("{row:?}");
        let mut key = Vec::new();
        row.key().encode(&mut key);
        match row {
            Row::Records(row) => {
                let (mut offset, mut rest) = (row.start, row.data.clone());
                for run in &row.runs {
                    for _ in 0..run.count {
                        if run.kind == RunKind::Present {
                            let (record, _) = RecordRef::split_first(&rest).expect("a record");
                            let record = rest.split_to(record.as_bytes().len());
                            // Of what is below the first record, a store may have more or less.
                            if firsts.get(&row.topic).is_some_and(|first| offset < *first) {
                                offset += 1;
                                continue;
                            }
                            flat.insert((row.topic.to_be_bytes().to_vec(), offset), format!("{record:?}"));
                        }
                        offset += 1;
                    }
                }
            }
            Row::Topic(row) => {
                firsts.insert(row.topic, row.first);
                flat.insert((key, 0), format!("{:?}", TopicRow { rows_from: 0, ..row }));
            }
            Row::Meta(_)
            | Row::Cursor(_)
            | Row::Producer(_)
            | Row::Answer(_)
            | Row::Marks(_)
            | Row::Keys(_)
            | Row::Group(_) => {
                flat.insert((key, 0), text);
            }
        }
    }
    flat
}

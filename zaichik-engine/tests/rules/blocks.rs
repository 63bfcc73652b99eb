//! Rules B1, B8: record rows that span several blocks of marks and keys, restored, read back, trimmed and compacted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use zaichik_engine::store::Row;
use zaichik_proto::{AckLevel, CompactionMode, Record, Start, TopicOptions, Version};

use crate::world::{Peer, Sub, World, secs, us};

/// The largest number of records in a publish: enough that their row begins in one block and ends three blocks later.
const MOST: usize = 400;

/// So many records may be in chunks that are not full.
const IN_MEMORY: usize = 1_500;

/// A step of a topic's life.
#[derive(Debug, Clone)]
enum Step {
    /// Records with these keys, in one publish; 0 is none.
    Publish(Vec<u8>),
    /// Everything is removed before this many thousandths of what was published.
    Trim(u64),
    /// So much time passes that housekeeping is done, and what is durable leaves memory.
    Rest,
    /// The broker ends, and is restored from the rows of its store.
    Restart,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || prop::collection::vec(0..60u8, 1..MOST);
    let few = prop::collection::vec(1..4u8, 1..MOST);
    prop_oneof![
        4 => keys().prop_map(Step::Publish),
        2 => few.prop_map(Step::Publish),
        2 => (0..1_000u64).prop_map(Step::Trim),
        2 => Just(Step::Rest),
        2 => Just(Step::Restart),
        1 => Just(Step::Read),
    ]
}

/// What becomes of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Ignored,
    First,
    Latest,
}

/// A topic "t" with a store, and the records that a new subscription receives.
struct Both {
    world: World,
    writer: Peer,
    compaction: Keys,
    /// The number of each live record, by its offset.
    live: BTreeMap<u64, u64>,
    /// The offset of the record that counts for each key; it may be gone.
    keys: BTreeMap<u8, u64>,
    end: u64,
    published: u64,
}

impl Both {
    fn new(compaction: Keys) -> Self {
        let mut world = World::with(|config| config.max_resident_bytes = Some(0));
        if world.stored.is_none() {
            world.begin_storing();
        }
        let writer = world.connect_as(Version::Two);
        let options = TopicOptions::new().retain_forever();
        let options = match compaction {
            Keys::Ignored => options,
            Keys::First => options.compaction_window(secs(1_000_000)),
            Keys::Latest => options.compaction(CompactionMode::Latest).compaction_window(us(0)),
        };
        assert_eq!(world.ask(&writer, writer.create("t", options)), "created");
        let (live, keys) = (BTreeMap::new(), BTreeMap::new());
        Self { world, writer, compaction, live, keys, end: 0, published: 0 }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Publish(keys) => self.publish(keys),
            Step::Trim(thousandths) => {
                let before = self.end * thousandths / 1_000;
                let trim = self.writer.trim("t", Start::Offset(before));
                self.world.settle();
                while self.fetch() {}
                let answer = self.writer.answer(trim);
                assert!(answer.contains("removed"), "{answer}");
                self.live = self.live.split_off(&before);
            }
            Step::Rest => {
                self.world.advance(secs(3));
                let fills_chunks = self.compaction == Keys::Ignored && self.live.len() > IN_MEMORY;
                assert!(!fills_chunks || self.world.broker.cold_bytes() > 0, "all are in memory");
            }
            Step::Restart => {
                self.world.advance(us(200_000));
                let rows: Vec<Row> = self.world.stored.iter().flat_map(|rows| rows.iter().cloned()).collect();
                self.world.recover_from(&rows, self.world.now);
                self.world.broker.begin_storing();
                self.writer = self.world.connect_as(Version::Two);
                self.read();
            }
            Step::Read => self.read(),
        }
    }

    fn publish(&mut self, keys: &[u8]) {
        let names: Vec<_> = keys.iter().map(|key| [*key]).collect();
        let bodies: Vec<_> = (self.published..).take(keys.len()).map(body).collect();
        let records = names.iter().zip(&bodies).map(|(key, body)| Record {
            key: (key[0] > 0).then_some(&key[..]),
            body: body.as_bytes(),
            ..Record::default()
        });
        let records: Vec<_> = records.collect();
        let publish = self.writer.publish_with("t", AckLevel::Accepted, &records);
        self.world.settle();
        while self.fetch() {}
        assert_ne!(self.writer.answer(publish), "-");
        for key in keys {
            self.accept(*key);
            self.published += 1;
        }
    }

    fn accept(&mut self, key: u8) {
        if key > 0 && self.compaction != Keys::Ignored {
            let before = self.keys.get(&key).copied();
            if before.is_some() && self.compaction == Keys::First {
                return;
            }
            if let Some(before) = before {
                self.live.remove(&before);
            }
            self.keys.insert(key, self.end);
        }
        self.live.insert(self.end, self.published);
        self.end += 1;
    }

    /// A new subscription receives what is live, and nothing else.
    fn read(&mut self) {
        let reader = self.world.connect();
        reader.expect_silence();
        reader.subscribe_to(Sub::new(1, "t").window(0));
        self.world.settle();
        while self.fetch() {}
        let received: BTreeSet<_> = reader.records().into_iter().map(|one| (one.offset, one.body)).collect();
        let live = self.live.iter().map(|(offset, number)| (*offset, body(*number).into_bytes()));
        assert_eq!(received, live.collect());
        reader.close();
        self.world.settle();
    }

    /// The store reads back what the broker asks for; returns whether it asked.
    fn fetch(&mut self) -> bool {
        let Some(fetch) = self.world.take_fetch() else { return false };
        let records = self.world.stored.as_ref().expect("a store").fetch(&fetch);
        self.world.finish_fetch(fetch, records).expect("the records that it had");
        self.world.settle();
        true
    }
}

fn body(number: u64) -> String {
    format!("{number:08}").repeat(12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b1_rows_that_span_blocks_of_marks_and_keys_are_restored_as_they_were(
        compaction in prop_oneof![Just(Keys::Ignored), Just(Keys::First), Just(Keys::Latest)],
        steps in prop::collection::vec(step(), 1..14),
    ) {
        let mut both = Both::new(compaction);
        for step in &steps {
            both.run(step);
        }
        both.run(&Step::Restart);
    }
}

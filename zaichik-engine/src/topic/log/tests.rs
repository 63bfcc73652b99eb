#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use bytes::Bytes;
use proptest::collection::vec as vec_of;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use zaichik_proto::Record;

use super::*;
use crate::topic::position::{Pull, Want};

#[derive(Debug, Clone)]
enum Action {
    Append {
        len: usize,
        ttl: Option<u64>,
    },
    /// Accepts records that will never be read, if the log is empty.
    Skip(u64),
    Time(u64),
    Raise(u64),
    /// A reader pulls and keeps the slice.
    Pull {
        reader: usize,
        want: Want,
    },
    /// A reader moves.
    Move {
        reader: usize,
        ahead: u64,
    },
    Limit {
        messages: u64,
        bytes: u64,
    },
    Free(usize),
    Seal,
    /// Kept slices are dropped.
    Drop(usize),
}

const READERS: usize = 3;

/// Every record ever appended, `None` for a skipped one; and the first offset.
#[derive(Debug, Default)]
struct Naive {
    records: Vec<Option<Entry>>,
    first: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: Vec<u8>,
    timestamp: u64,
    death: u64,
}

impl Naive {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn live(&self, offset: u64, now: u64) -> Option<&Entry> {
        let entry = self.records.get(usize::try_from(offset).unwrap())?.as_ref()?;
        (offset >= self.first && entry.death > now).then_some(entry)
    }

    /// The first acceptable live offset from `from` on; the end if there is none.
    fn find(&self, from: u64, now: u64, accepts: impl Fn(&Entry) -> bool) -> u64 {
        let mut offsets = from..self.end();
        offsets.find(|offset| self.live(*offset, now).is_some_and(&accepts)).unwrap_or_else(|| self.end())
    }

    fn expire(&mut self, now: u64, ttl: u64) {
        while let Some(Some(entry)) = self.records.get(usize::try_from(self.first).unwrap()) {
            let by_topic = ttl > 0 && ttl < u64::MAX && entry.timestamp + ttl <= now;
            if !by_topic && entry.death > now {
                return;
            }
            self.first += 1;
        }
    }

    /// The live records from an offset on.
    fn alive_from(&self, offset: u64, now: u64) -> Amount {
        let mut sum = Amount::default();
        let live = (offset..self.end()).filter_map(|offset| self.live(offset, now));
        live.for_each(|entry| sum.add(Amount::one(entry.bytes.len() as u64)));
        sum
    }

    fn first_within(&self, limits: Amount, now: u64) -> u64 {
        let fits = |from: &u64| self.alive_from(*from, now).fits(limits);
        (self.first..=self.end()).find(fits).unwrap()
    }
}

/// A log and a naive model of it.
struct Pair {
    log: Log,
    naive: Naive,
    retired: Retired,
    now: u64,
    ttl: u64,
    readers: Vec<Position>,
    /// Slices that readers still hold, and the expected contents.
    kept: Vec<(Bytes, Vec<u8>)>,
}

impl Pair {
    fn new(ttl: u64) -> Self {
        let readers = vec![Position::at(0); READERS];
        let (log, naive, retired) = (Log::default(), Naive::default(), Retired::default());
        Self { log, naive, retired, now: 1_000, ttl, readers, kept: Vec::new() }
    }

    fn expire(&mut self) {
        assert!(self.log.settle(self.now, usize::MAX));
        self.log.expire(self.now, self.ttl);
        self.naive.expire(self.now, self.ttl);
    }

    fn run(&mut self, action: &Action) {
        match action {
            Action::Append { len, ttl } => self.append(*len, *ttl),
            Action::Skip(count) => {
                if self.naive.first == self.naive.end() {
                    self.log.skip(*count, self.now);
                    self.naive.records.extend((0..*count).map(|_| None));
                    self.naive.first = self.naive.end();
                }
            }
            Action::Time(by) => self.now += by,
            Action::Raise(by) => {
                let to = self.naive.first + by;
                self.log.raise_first(to);
                self.naive.first = to.min(self.naive.end());
            }
            Action::Pull { reader, want } => self.pull(*reader, *want),
            Action::Move { reader, ahead } => self.readers[*reader] = Position::at(self.naive.first + ahead),
            Action::Limit { messages, bytes } => {
                self.expire();
                let limits = Amount { records: *messages, bytes: *bytes };
                let limit = self.log.first_within(limits);
                assert_eq!(limit, self.naive.first_within(limits, self.now), "only live records count");
                self.log.raise_first(limit);
                self.naive.first = limit;
            }
            Action::Free(budget) => {
                self.expire();
                if !self.log.forget_removed(*budget) {
                    self.log.reclaim(self.now, &mut self.retired);
                }
                self.log.free(*budget, &mut self.retired);
            }
            Action::Seal => {
                self.log.seal(&mut self.retired);
                assert!(self.log.is_sealed());
            }
            Action::Drop(count) => {
                self.kept.drain(..(*count).min(self.kept.len()));
                self.retired.sweep();
            }
        }
    }

    fn append(&mut self, len: usize, ttl: Option<u64>) {
        let body = vec![u8::try_from(self.naive.records.len() % 251).unwrap(); len];
        let record = |timestamp| {
            let mut bytes = Vec::new();
            Record { body: &body, ttl_micros: ttl, timestamp, ..Record::default() }.encode(&mut bytes);
            bytes
        };
        self.log.append(&record(0), ttl, self.now, &mut self.retired);
        let death = ttl.map_or(u64::MAX, |ttl| self.now.saturating_add(ttl));
        self.naive.records.push(Some(Entry { bytes: record(self.now), timestamp: self.now, death }));
    }

    fn pull(&mut self, reader: usize, want: Want) {
        self.expire();
        let from = self.readers[reader];
        let live = self.naive.find(from.offset.min(self.naive.end()), self.now, |_| true);
        match self.log.pull(from, want, self.now) {
            Pull::End => assert!(from.offset >= self.naive.end()),
            Pull::Skip { .. } => panic!("nothing is ever superseded"),
            Pull::Gap { to } => {
                assert!(from.offset < to);
                assert_eq!(to, live);
                self.readers[reader] = Position::at(to);
            }
            Pull::Cold { .. } => panic!("there is no store"),
            Pull::NoRoom => {
                let len = self.naive.live(from.offset, self.now).unwrap().bytes.len();
                assert!(len > want.bytes && len > want.single, "{len} would fit {want:?}");
            }
            Pull::Records { data, count, next } => {
                assert_eq!(next.offset, from.offset + u64::from(count));
                let entries =
                    (from.offset..next.offset).map(|offset| self.naive.live(offset, self.now).unwrap());
                let expected: Vec<u8> = entries.flat_map(|entry| entry.bytes.iter().copied()).collect();
                assert_eq!(data, expected);
                assert!(count > 0 && count <= want.records);
                assert!(data.len() <= want.bytes || (count == 1 && data.len() <= want.single));
                self.kept.push((data, expected));
                self.readers[reader] = next;
            }
        }
    }

    fn check(&mut self) {
        assert!(self.log.is_consistent());
        assert_eq!((self.log.first().offset, self.log.end()), (self.naive.first, self.naive.end()));
        self.expire();
        assert_eq!(self.log.first().offset, self.naive.first);
        assert_eq!(self.log.amount_alive(), self.naive.alive_from(self.naive.first, self.now));
        for reader in &self.readers {
            let live = self.log.first_live(*reader, self.now);
            assert_eq!(live.offset.min(self.naive.end()), self.naive.find(reader.offset, self.now, |_| true));
        }
        for time in [0, self.now.saturating_sub(3), self.now, self.now + 1] {
            let since = self.log.first_live(Position::at(self.log.first_since(time)), self.now);
            assert_eq!(since.offset, self.naive.find(0, self.now, |entry| entry.timestamp >= time));
        }
        assert!(self.kept.iter().all(|(slice, expected)| slice == expected), "slices never change");
        assert!(self.in_use() <= self.charged(), "every byte in use is charged");
    }

    fn charged(&self) -> usize {
        self.log.tail_charge + self.log.chunk_charges + self.retired.charged()
    }

    /// Bytes of memory that hold records of the log, or slices of readers.
    fn in_use(&self) -> usize {
        let chunks = self.log.chunks.iter().map(|chunk| &chunk.data[..]);
        let slices = chunks.chain(self.kept.iter().map(|(slice, _)| &slice[..])).chain([&self.log.tail[..]]);
        let range = |slice: &[u8]| (slice.as_ptr() as usize, slice.as_ptr() as usize + slice.len());
        let mut ranges: Vec<_> = slices.filter(|slice| !slice.is_empty()).map(range).collect();
        ranges.sort_unstable();
        let (mut sum, mut reached) = (0, 0);
        for (from, to) in ranges {
            sum += to.saturating_sub(from.max(reached));
            reached = reached.max(to);
        }
        sum
    }

    /// When everything is dead and no slice is in use, nothing is charged.
    fn end(mut self) {
        self.log.raise_first(u64::MAX);
        self.log.free(usize::MAX, &mut self.retired);
        self.log.seal(&mut self.retired);
        self.kept.clear();
        while !self.retired.is_empty() {
            let before = self.retired.charged();
            self.retired.sweep();
            assert!(self.retired.is_empty() || self.retired.charged() < before, "no slice of it is in use");
        }
        assert_eq!(self.charged(), 0);
    }
}

fn action() -> impl Strategy<Value = Action> {
    let len = prop_oneof![20 => 0..100usize, 3 => Just(5_000), 1 => select(vec![40_000, 65_520, 70_000])];
    let ttl = option::weighted(0.3, select(vec![1, 3, 10, 1_000, u64::MAX]));
    let bytes = || select(vec![0, 40, 200, 1_000, 65_536, usize::MAX]);
    let want = (select(vec![1, 2, 5, u32::MAX]), bytes(), bytes());
    let want = want.prop_map(|(records, bytes, single)| Want { records, bytes, single });
    let limits = (select(vec![1, 3, 10, u64::MAX]), select(vec![20, 100, 500, 10_000, u64::MAX]));
    prop_oneof![
        10 => (len, ttl).prop_map(|(len, ttl)| Action::Append { len, ttl }),
        1 => (0..4u64).prop_map(Action::Skip),
        3 => select(vec![0, 1, 3, 10]).prop_map(Action::Time),
        1 => (0..6u64).prop_map(Action::Raise),
        8 => (0..READERS, want).prop_map(|(reader, want)| Action::Pull { reader, want }),
        1 => (0..READERS, 0..6u64).prop_map(|(reader, ahead)| Action::Move { reader, ahead }),
        1 => limits.prop_map(|(messages, bytes)| Action::Limit { messages, bytes }),
        2 => select(vec![1, 2, usize::MAX]).prop_map(Action::Free),
        1 => Just(Action::Seal),
        2 => (0..5usize).prop_map(Action::Drop),
    ]
}

#[test]
fn sealing_frees_spare_capacity_of_more_than_a_quarter() {
    // Allocations double, so a tail that has just grown is nearly half empty, and one that is full has no spare.
    for (records, is_shared) in [(1, false), (40, false), (41, false), (1, true), (40, true)] {
        let mut pair = Pair::new(u64::MAX);
        for _ in 0..records {
            pair.append(84, None);
        }
        if is_shared {
            pair.pull(0, Want { records: 1, bytes: usize::MAX, single: usize::MAX });
            pair.run(&Action::Drop(1));
        }
        pair.log.seal(&mut pair.retired);
        let (charged, live) = (pair.charged(), pair.in_use());
        assert!(charged <= live + live / 4, "{charged} bytes are charged for {live}");
        pair.end();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_agrees_with_a_list(
        ttl in select(vec![0, 1, 5, 20, u64::MAX]),
        actions in vec_of(action(), 1..120),
    ) {
        let mut pair = Pair::new(ttl);
        for action in &actions {
            pair.run(action);
            pair.check();
        }
        pair.end();
    }

    #[test]
    fn r6_freeing_raises_the_next_death(
        ttl in select(vec![0, 1, 5, 20, u64::MAX]),
        actions in vec_of(action(), 1..120),
    ) {
        let mut pair = Pair::new(ttl);
        for action in &actions {
            pair.run(action);
        }
        pair.expire();
        while !pair.log.forget_removed(usize::MAX) && pair.log.reclaim(pair.now, &mut pair.retired) {}
        pair.log.free(usize::MAX, &mut pair.retired);
        prop_assert!(pair.log.next_death(ttl) > pair.now);
    }
}

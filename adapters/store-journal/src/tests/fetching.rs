//! Records are read back while commits move and remove rows, and segments with them.

use core::cell::RefCell;
use core::time::Duration;
use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use zaichik_engine::Timestamp;
use zaichik_engine::store::{Commit, Fetch, Op as RowOp, RecordsRow, Row, Run, RunKind, Ticket};
use zaichik_proto::Record;

use super::workload::options;
use crate::disk::{Disk, Effect, File};
use crate::journal::Journal;
use crate::op::{Op, start_key};
use crate::simulated::{SimulatedDisk, below, next};

/// Records of topic 1.
const RECORDS: u64 = 60;

/// A disk on which the journal goes on before each read.
struct Meddling {
    journal: Rc<RefCell<Journal<SimulatedDisk>>>,
    disk: SimulatedDisk,
    random: u64,
    now: Duration,
    /// Up to where records were removed.
    first: u64,
    /// Reads of segments that had been removed.
    missed: u64,
}

impl Meddling {
    fn meddle(&mut self) {
        let mut journal = self.journal.borrow_mut();
        for _ in 0..below(&mut self.random, 8) {
            let value: Vec<u8> = (0..400).map(|_| next(&mut self.random) as u8).collect();
            let key = start_key(4, 0, below(&mut self.random, 6) as u64);
            journal.commit(&[Op::Put { key: &key, head: &[], value: &[&value] }]).unwrap();
            self.now += Duration::from_millis(60);
            journal.tend(self.now).unwrap();
            if self.first < RECORDS / 2 && below(&mut self.random, 40) == 0 {
                self.first += 1;
                journal.commit(&[Op::Trim { topic: 1, from: 0, to: self.first }]).unwrap();
            }
        }
    }
}

impl Disk for Rc<RefCell<Meddling>> {
    fn run(&mut self, _: Effect<'_>) -> io::Result<()> {
        unreachable!("it only reads")
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let meddling = &mut *self.borrow_mut();
        meddling.meddle();
        let read = meddling.disk.read(file, at, bytes);
        meddling.missed += u64::from(read.is_err());
        read
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        unreachable!("it only reads")
    }

    fn is_ours(&mut self) -> bool {
        false
    }

    fn boot(&mut self) -> Option<u128> {
        None
    }
}

fn data(start: u64) -> Bytes {
    let mut data = BytesMut::new();
    Record { body: &[b'a' + (start % 26) as u8; 150], ..Record::default() }.encode(&mut data);
    data.freeze()
}

fn row(start: u64) -> Row {
    let runs = vec![Run { kind: RunKind::Present, count: 1 }];
    Row::Records(RecordsRow { topic: 1, start, last_timestamp: Timestamp::ZERO, runs, data: data(start) })
}

fn all(from: u64, to: u64) -> Vec<u8> {
    (from..to).flat_map(data).collect()
}

pub(super) fn check_fetches(seed: u64) -> Result<(), String> {
    let disk = SimulatedDisk::new(seed);
    let journal = Rc::new(RefCell::new(Journal::on(disk.clone(), options()).unwrap()));
    for start in 0..RECORDS {
        let commit = Commit { ticket: Ticket::FIRST, ops: vec![RowOp::Put { row: row(start) }] };
        journal.borrow_mut().commit_rows(&commit).unwrap();
    }
    let meddling = Meddling {
        journal: Rc::clone(&journal),
        disk,
        random: seed,
        now: Duration::ZERO,
        first: 0,
        missed: 0,
    };
    let meddling = Rc::new(RefCell::new(meddling));
    let mut fetcher = journal.borrow().fetcher(Rc::clone(&meddling));
    let mut random = seed;
    for round in 0..300 {
        let from = below(&mut random, RECORDS as usize) as u64;
        let to = (from + 1 + below(&mut random, 9) as u64).min(RECORDS);
        let before = meddling.borrow().first;
        let found = fetcher.fetch(&Fetch { topic: 1, from, to });
        let found = found.map_err(|error| format!("seed {seed}, round {round}, {from}..{to}: {error}"))?;
        let after = meddling.borrow().first;
        if !(before..=after).any(|first| found == all(from.max(first), to.max(first))) {
            return Err(format!("seed {seed}, round {round}, {from}..{to}: other records"));
        }
    }
    let (missed, moved) = (meddling.borrow().missed, journal.borrow().info().moved_bytes);
    assert!(missed > 3, "seed {seed}: {missed} reads of removed segments, {moved} bytes moved");
    Ok(())
}

#[test]
fn records_are_read_back_wherever_commits_move_them_meanwhile() {
    for seed in 0..20 {
        check_fetches(seed).unwrap();
    }
}

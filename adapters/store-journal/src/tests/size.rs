//! The directory stays within 1.5 times what lives, and four segments; within 1.9 times, while rows that were written one
//! after another and stay are moved for the first time.
//!
//! What frames and outlines add, 120 bytes a commit and 24 a row, belongs to what lives; with rows of 2,000 bytes it
//! hardly counts.

use core::time::Duration;

use super::workload::{options, read};
use crate::disk::Disk;
use crate::journal::Journal;
use crate::op::{Op, start_key};
use crate::options::Options;
use crate::simulated::{SimulatedDisk, below};

const SEGMENT: u64 = 32 << 10;

fn open(seed: u64) -> Journal<SimulatedDisk> {
    Journal::on(SimulatedDisk::new(seed), Options { segment_bytes: SEGMENT, ..options() }).unwrap()
}

/// Commits these rows, and what is due then.
fn put(journal: &mut Journal<impl Disk>, rows: &[([u8; 13], Vec<u8>)], trim: Option<(u64, u64)>) {
    let values: Vec<[&[u8]; 1]> = rows.iter().map(|(_, value)| [value.as_slice()]).collect();
    let mut ops: Vec<Op<'_>> =
        rows.iter().zip(&values).map(|((key, _), value)| Op::Put { key, head: &[], value }).collect();
    ops.extend(trim.map(|(from, to)| Op::Trim { topic: 0, from, to }));
    let before = journal.info();
    journal.commit(&ops).unwrap();
    let after = journal.info();
    let brought: u64 = rows.iter().map(|(key, value)| 11 + (key.len() + value.len()) as u64).sum();
    // Twice what it brings, and what earlier commits left over. A frame, a header and an outline are added.
    assert!(after.bytes <= before.bytes + 3 * brought + 128 * 1024, "{before:?} {after:?}");
    journal.tend(Duration::ZERO).unwrap();
}

/// Within so many tenths of what lives, and four segments.
fn check(journal: &mut Journal<impl Disk>, tenths: u64, what: &str) {
    let live = journal.info().live_bytes;
    let bytes = journal.directory_bytes().unwrap();
    assert!(bytes <= live / 10 * tenths + 4 * SEGMENT, "{what}: {bytes} bytes for {live} that live");
}

#[test]
fn retention_removes_segments() {
    let mut journal = open(1);
    // 20 times what is retained.
    for start in 0..4000_u64 {
        let trim = start.checked_sub(200).map(|to| (0, to));
        put(&mut journal, &[(start_key(2, 0, start), vec![1; 2000])], trim);
        check(&mut journal, 15, &format!("record {start}"));
    }
    assert_eq!(read(&mut journal).unwrap().len(), 201);
}

#[test]
fn rows_that_stay_do_not_keep_what_is_superfluous() {
    let mut journal = open(2);
    for start in 0..200_u64 {
        put(&mut journal, &[(start_key(2, 1, start), vec![1; 2000])], None);
    }
    for round in 0..3000_u64 {
        put(&mut journal, &[(start_key(4, 0, round % 3), vec![2; 2000])], None);
        // The first time, they are moved without anything superfluous between them.
        check(&mut journal, if round < 400 { 19 } else { 15 }, &format!("round {round}"));
    }
    assert_eq!(read(&mut journal).unwrap().len(), 203);
}

#[test]
fn rows_that_are_replaced_at_random_do_not_keep_what_is_superfluous() {
    let mut journal = open(3);
    let mut random = 3;
    for round in 0..4000 {
        let row = |random: &mut u64| {
            (start_key(4, 0, below(random, 300) as u64), vec![3; 1500 + below(random, 1000)])
        };
        put(&mut journal, &[row(&mut random), row(&mut random)], None);
        check(&mut journal, 15, &format!("round {round}"));
    }
    assert_eq!(read(&mut journal).unwrap().len(), 300);
}

#[test]
fn a_few_rows_that_stay_among_many_that_go_cost_little() {
    let mut journal = open(4);
    for start in 0..4000_u64 {
        let mut rows = vec![(start_key(2, 0, start), vec![1; 2000])];
        if start % 20 == 0 {
            rows.push((start_key(2, 1, start), vec![2; 10]));
        }
        let trim = start.checked_sub(400).map(|to| (0, to));
        put(&mut journal, &rows, trim);
        check(&mut journal, 12, &format!("record {start}"));
    }
    let info = journal.info();
    assert!(info.moved_bytes < info.written_bytes / 50, "{info:?}");
}

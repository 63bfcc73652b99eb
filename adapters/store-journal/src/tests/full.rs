//! The disk fills up, and there is space again; the power may be lost at any time.

use core::time::Duration;

use super::crash::{Recorded, check_crash, is_allowed};
use super::workload::{Rows, commit, commits, options, read, reopen, states};
use crate::disk::File;
use crate::error::{OpenError, StoreError};
use crate::journal::Journal;
use crate::op::{Op, start_key};
use crate::options::{Options, Syncing};
use crate::simulated::{SimulatedDisk, below};

const SECOND: Duration = Duration::from_secs(1);

/// What happened in a run.
struct Run {
    /// The disk before each effect, and how many commits were durable then.
    disks: Vec<(SimulatedDisk, usize)>,
    states: Vec<Rows>,
    /// Commits that were made without space but the reserve.
    from_reserve: usize,
    /// Commits that were made on the second attempt or later.
    repeated: usize,
}

/// Commits all of a seed, while the disk fills up and is emptied again and again. A commit is repeated until it is made.
fn run(seed: u64, ops: usize) -> Result<Run, String> {
    let commits = commits(seed, ops);
    let states = states(&commits);
    let disk = SimulatedDisk::new(seed);
    let mut journal =
        Journal::on(Recorded::new(disk.clone()), options()).map_err(|error| error.to_string())?;
    let (mut random, mut now, mut counts) = (seed, Duration::ZERO, Vec::new());
    let (mut from_reserve, mut repeated) = (0, 0);
    for (at, one) in commits.iter().enumerate() {
        counts.push(journal.disk_mut().before.len());
        match below(&mut random, 4) {
            0 => disk.set_capacity(None),
            1 | 2 => disk.set_capacity(Some(disk.used() + below(&mut random, 500) as u64)),
            _ => {}
        }
        for attempt in 0.. {
            match commit(&mut journal, one) {
                Ok(()) => {
                    from_reserve += usize::from(journal.info().is_full);
                    repeated += usize::from(attempt > 0);
                    break;
                }
                Err(StoreError::Full) if attempt < 3 => {}
                Err(StoreError::Full) => disk.set_capacity(None),
                Err(other) => return Err(other.to_string()),
            }
            let rows = read(&mut journal).map_err(|error| error.to_string())?;
            if rows != states[at] {
                return Err(format!("commit {at} found no space, and has changed something"));
            }
            journal.tend(now).map_err(|error| error.to_string())?;
        }
        counts.push(journal.disk_mut().before.len());
        now += Duration::from_millis(300);
        journal.tend(now).map_err(|error| error.to_string())?;
    }
    disk.set_capacity(None);
    for _ in 0..2 {
        now += SECOND;
        journal.tend(now).map_err(|error| error.to_string())?;
    }
    let reserve = disk.content(File::Reserve).map_or(0, |content| content.len());
    if journal.info().is_full || reserve as u64 != options().reserve_bytes {
        return Err(format!("{reserve} bytes of reserve, although there is space"));
    }
    let rows = read(&mut journal).map_err(|error| error.to_string())?;
    if states.last() != Some(&rows) {
        return Err("wrong rows at the end".to_owned());
    }
    let at = |effect: usize| counts.iter().filter(|count| **count <= effect).count() / 2;
    let disks = journal.into_disk().before.into_iter().enumerate();
    let disks = disks.map(|(effect, disk)| (disk, at(effect))).collect();
    Ok(Run { disks, states, from_reserve, repeated })
}

pub(super) fn check_full(seed: u64, ops: usize) -> Result<(usize, usize), String> {
    let Run { disks, states, from_reserve, repeated } = run(seed, ops)?;
    for (effect, (disk, durable)) in disks.iter().enumerate() {
        let check = |is_power_lost: bool| {
            let crashed = disk.copy(seed ^ effect as u64);
            if is_power_lost {
                crashed.lose_power();
            }
            // There may be no space for the claim of the next owner.
            match reopen(crashed.copy(1)) {
                Ok((_, rows)) if is_allowed(&states, *durable, &rows) => {}
                Ok((_, rows)) => return Err(format!("{} rows of no commit", rows.len())),
                Err(OpenError::Store(StoreError::Full)) => {}
                Err(error) => return Err(error.to_string()),
            }
            crashed.set_capacity(None);
            // Every eighth crash is checked in full, which takes long.
            if effect % 8 == 0 { check_crash(&crashed, 0, &states, *durable) } else { Ok(()) }
        };
        for is_power_lost in [false, true] {
            let place = || format!("seed {seed}, before effect {effect}, power lost: {is_power_lost}");
            check(is_power_lost).map_err(|error| format!("{}: {error}", place()))?;
        }
    }
    Ok((from_reserve, repeated))
}

#[test]
fn a_disk_that_fills_up_loses_nothing_and_gets_its_reserve_back() {
    let (mut from_reserve, mut repeated) = (0, 0);
    for seed in 0..3 {
        let counts = check_full(seed, 200).unwrap();
        (from_reserve, repeated) = (from_reserve + counts.0, repeated + counts.1);
    }
    assert!(from_reserve > 20 && repeated > 5, "{from_reserve} from the reserve, {repeated} repeated");
}

#[test]
fn the_reserve_is_used_piece_by_piece_until_there_is_space_again() {
    let disk = SimulatedDisk::new(1);
    let reserve_bytes = 64 << 10;
    let mut journal = Journal::on(disk.clone(), Options { reserve_bytes, ..options() }).unwrap();
    let reserve = || disk.content(File::Reserve).map_or(0, |content| content.len());
    assert_eq!(reserve(), 64 << 10);
    disk.set_capacity(Some(disk.used()));
    let put = |journal: &mut Journal<SimulatedDisk>, len: usize| {
        journal.commit(&[Op::Put { key: b"\x04key", head: &[], value: &[&vec![1; len]] }])
    };
    put(&mut journal, 300).unwrap();
    assert!(journal.info().is_full);
    assert_eq!(reserve(), 56 << 10, "one piece");
    put(&mut journal, 20 << 10).unwrap();
    assert_eq!(reserve(), 40 << 10, "two more");
    // Others may use what is not the reserve's.
    disk.set_capacity(Some(disk.used()));
    assert!(matches!(put(&mut journal, 40 << 10), Err(StoreError::Full)));
    assert_eq!(reserve(), 0, "it is used up");
    assert!(matches!(put(&mut journal, 40 << 10), Err(StoreError::Full)));
    put(&mut journal, 300).unwrap();
    // Space for a part of the reserve is not wasted by trying for all of it.
    disk.set_capacity(Some(disk.used() + (20 << 10)));
    journal.tend(SECOND).unwrap();
    assert_eq!((reserve(), journal.info().is_full), (16 << 10, true));
    disk.set_capacity(None);
    journal.tend(SECOND).unwrap();
    assert_eq!(reserve(), 16 << 10, "it was tried just now");
    journal.tend(SECOND * 2).unwrap();
    assert_eq!((reserve(), journal.info().is_full), (64 << 10, false));
    put(&mut journal, 300).unwrap();
}

#[test]
fn a_journal_without_space_cleans_itself_until_it_has_some() {
    for syncing in [Syncing::EachCommit, Syncing::OnDemand] {
        let disk = SimulatedDisk::new(2);
        let (segment_bytes, reserve_bytes) = (32 << 10, 32 << 10);
        let options = Options { segment_bytes, reserve_bytes, syncing, ..options() };
        let mut journal = Journal::on(disk.clone(), options).unwrap();
        let mut now = Duration::ZERO;
        // One row in ten stays.
        for start in 0..160_u64 {
            let key = start_key(2, u32::from(start % 10 == 0), start);
            journal.commit(&[Op::Put { key: &key, head: &[], value: &[&[7; 1000]] }]).unwrap();
            now += SECOND;
            journal.tend(now).unwrap();
        }
        let segments = journal.info().segments;
        disk.set_capacity(Some(disk.used()));
        journal.commit(&[Op::Trim { topic: 0, from: 0, to: 160 }]).unwrap();
        assert!(journal.info().is_full);
        let mut tends = 0;
        while journal.info().is_full {
            now += SECOND;
            journal.tend(now).unwrap();
            tends += 1;
            assert!(tends < 100, "{:?}", journal.info());
        }
        assert!(journal.info().segments < segments, "{:?}", journal.info());
        assert_eq!(read(&mut journal).unwrap().len(), 16);
        assert!(disk.content(File::Reserve).is_some());
        journal.close(now).unwrap();
        let rows = Journal::on(journal.into_disk(), options).and_then(|mut journal| Ok(read(&mut journal)?));
        assert_eq!(rows.unwrap().len(), 16);
    }
}

#[test]
fn a_full_disk_with_a_reserve_can_be_opened() {
    let disk = SimulatedDisk::new(3);
    for syncing in [Syncing::EachCommit, Syncing::OnDemand] {
        let options = Options { syncing, ..options() };
        let mut journal = Journal::on(disk.clone(), options).unwrap();
        journal.commit(&[Op::Put { key: b"\x04a", head: &[], value: &[b"1"] }]).unwrap();
        drop(journal);
        disk.set_capacity(Some(disk.used()));
        let mut journal = Journal::on(disk.clone(), options).unwrap();
        // There may have been space left in what was written ahead.
        journal.commit(&[Op::Put { key: b"\x04a", head: &[], value: &[&[1; 500]] }]).unwrap();
        assert!(journal.info().is_full);
        disk.set_capacity(None);
    }
}

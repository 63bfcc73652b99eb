//! The disk is full, or fails.

use core::time::Duration;
use std::io;

use super::workload::{Rows, commit, commits, options, read, reopen, states};
use crate::disk::File;
use crate::error::{OpenError, StoreError};
use crate::journal::Journal;
use crate::op::Op;
use crate::simulated::{Fault, SimulatedDisk};

/// What a run with one fault left: the disk, and how many commits were answered.
fn run(seed: u64, ops: usize, after: u64, fault: Fault) -> (SimulatedDisk, usize) {
    let disk = SimulatedDisk::new(seed);
    disk.fail(after, fault);
    let Ok(mut journal) = Journal::on(disk.clone(), options()) else { return (disk, 0) };
    let mut now = Duration::ZERO;
    for (answered, one) in commits(seed, ops).iter().enumerate() {
        let mut result = commit(&mut journal, one);
        if matches!(result, Err(StoreError::Full)) {
            // Another crash must not find a part of it.
            result = commit(&mut journal, one);
        }
        if result.is_err() {
            assert!(
                matches!(commit(&mut journal, one), Err(StoreError::Failed(_))),
                "no commit after an error"
            );
            return (disk, answered);
        }
        now += Duration::from_millis(60);
        if journal.tend(now).is_err() {
            return (disk, answered + 1);
        }
    }
    (disk, usize::MAX)
}

pub(super) fn check_faults(seed: u64, ops: usize) -> Result<(), String> {
    let states = states(&commits(seed, ops));
    let effects = run(seed, ops, u64::MAX / 2, Fault::Stop).0.effects();
    for after in 0..effects {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let (disk, answered) = run(seed, ops, after, Fault::Error(kind));
            let answered = answered.min(states.len() - 1);
            for is_power_lost in [false, true] {
                let disk = disk.copy(after);
                disk.release();
                if is_power_lost {
                    disk.lose_power();
                }
                let place =
                    format!("seed {seed}, effect {after} fails with {kind}, power lost: {is_power_lost}");
                check_left(&disk, &states, answered).map_err(|error| format!("{place}: {error}"))?;
            }
        }
    }
    Ok(())
}

fn check_left(disk: &SimulatedDisk, states: &[Rows], answered: usize) -> Result<(), String> {
    let open = |disk: &SimulatedDisk| reopen(disk.clone()).map_err(|error| error.to_string());
    let rows = open(disk)?.1;
    if !states.iter().skip(answered).take(2).any(|state| *state == rows) {
        return Err(format!("{} rows that are neither durable nor under way", rows.len()));
    }
    disk.lose_power();
    if open(disk)?.1 != rows {
        return Err("what was read back is different after the next loss of power".to_owned());
    }
    Ok(())
}

#[test]
fn whatever_effect_fails_no_answered_commit_is_lost_and_none_follows() {
    for seed in 0..2 {
        check_faults(seed, 120).unwrap();
    }
}

#[test]
fn a_commit_for_which_there_is_no_space_changes_nothing_and_can_be_repeated() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let mut journal = Journal::on(disk.clone(), options()).unwrap();
        let commits = commits(seed, 120);
        let states = states(&commits);
        let mut fulls = 0;
        for (at, one) in commits.iter().enumerate() {
            for missing in (0..4).rev() {
                disk.set_capacity(Some(disk.used() + (8 * 300) / 4 * (3 - missing)));
                match commit(&mut journal, one) {
                    Ok(()) => break,
                    Err(StoreError::Full) => fulls += 1,
                    Err(other) => panic!("{other}"),
                }
                assert_eq!(read(&mut journal).unwrap(), states[at]);
                let crashed = disk.copy(missing);
                crashed.set_capacity(None);
                crashed.lose_power();
                assert_eq!(reopen(crashed).unwrap().1, states[at]);
                if missing == 0 {
                    disk.set_capacity(None);
                    commit(&mut journal, one).unwrap();
                }
            }
            assert_eq!(read(&mut journal).unwrap(), states[at + 1]);
        }
        assert!(fulls > 10, "{fulls}");
    }
}

#[test]
fn an_owner_whose_directory_was_claimed_by_another_stores_nothing_more() {
    let disk = SimulatedDisk::new(1);
    let mut journal = Journal::on(disk.clone(), options()).unwrap();
    journal.commit(&[Op::Put { key: b"\x04a", head: &[], value: &[b"1"] }]).unwrap();
    let effects = disk.effects();
    disk.take_away();
    assert!(matches!(journal.commit(&[Op::Remove { key: b"\x04a" }]), Err(StoreError::Fenced)));
    assert_eq!(disk.effects(), effects);
}

#[test]
fn a_commit_that_is_too_long_changes_nothing() {
    let mut journal = Journal::on(SimulatedDisk::new(1), options()).unwrap();
    let value = vec![0; 1 << 20];
    let pieces = vec![value.as_slice(); 1024];
    let long = [Op::Put { key: b"\x04a", head: &[], value: &pieces }];
    assert!(matches!(journal.commit(&long), Err(StoreError::TooLong)));
    assert!(matches!(
        journal.commit(&[Op::Put { key: b"", head: &[], value: &[] }]),
        Err(StoreError::TooLong)
    ));
    journal.commit(&[Op::Put { key: b"\x04a", head: &[], value: &[b"1"] }]).unwrap();
    assert_eq!(read(&mut journal).unwrap().len(), 1);
}

#[test]
fn a_row_that_cannot_be_read_is_named_with_its_file_and_place() {
    let disk = SimulatedDisk::new(1);
    let mut journal = Journal::on(disk.clone(), options()).unwrap();
    journal.commit(&[Op::Put { key: b"\x04a", head: &[], value: &[b"value"] }]).unwrap();
    disk.replace(File::Segment(1), None);
    let error = journal.get(b"\x04a").unwrap_err().to_string();
    assert!(error.starts_with("cannot read byte 160 of segment-0000000001: "), "{error}");
    assert!(matches!(reopen(disk), Err(OpenError::Store(_)) | Ok(_)));
}

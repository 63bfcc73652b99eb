//! What is durable is damaged: it is found, or makes no difference. It never changes a row.

use core::time::Duration;

use super::workload::{Rows, commit, commits, options, read, reopen, states};
use crate::disk::{Disk, File};
use crate::error::{Damage, OpenError, StoreError};
use crate::inspect::check;
use crate::journal::Journal;
use crate::repair::repair;
use crate::simulated::{SimulatedDisk, next};

/// A disk with these commits, the floor as high as the last, and how many segments were removed.
pub(super) fn disk(seed: u64, ops: usize) -> (SimulatedDisk, Vec<Rows>) {
    try_disk(seed, ops).unwrap()
}

/// The same, if the journal accepts them.
pub(super) fn try_disk(seed: u64, ops: usize) -> Result<(SimulatedDisk, Vec<Rows>), StoreError> {
    let commits = commits(seed, ops);
    let states = states(&commits);
    let mut journal = Journal::on(SimulatedDisk::new(seed), options()).unwrap();
    let mut now = Duration::ZERO;
    for one in &commits {
        commit(&mut journal, one)?;
        now += Duration::from_millis(100);
        journal.tend(now)?;
    }
    Ok((journal.into_disk(), states))
}

pub(super) fn segments(disk: &SimulatedDisk) -> Vec<File> {
    let files = disk.clone().files().unwrap().into_iter().map(|(file, _)| file);
    files.filter(|file| matches!(file, File::Segment(_))).collect()
}

fn damage(found: Result<(Journal<SimulatedDisk>, Rows), OpenError>) -> Option<(File, Damage)> {
    match found {
        Ok(_) => None,
        Err(OpenError::Store(StoreError::Corrupt { file, damage, .. })) => Some((file, damage)),
        Err(other) => panic!("{other}"),
    }
}

pub(super) fn check_flips(seed: u64, ops: usize) -> Result<(), String> {
    let (disk, states) = disk(seed, ops);
    let [.., before, expected] = states.as_slice() else { return Ok(()) };
    let mut random = seed;
    for (file, len) in disk.clone().files().unwrap() {
        for at in 0..usize::try_from(len).unwrap() {
            let mut bytes = disk.content(file).unwrap();
            bytes[at] ^= 1 << (next(&mut random) % 8);
            let flipped = disk.copy(at as u64);
            flipped.replace(file, Some(bytes));
            let is_checked = check(&mut flipped.clone()).is_ok();
            let place = format!("seed {seed}, {file}, byte {at}");
            // Without the floor, the last commit may look like one that was interrupted, but no other.
            let without_floor = flipped.copy(1);
            without_floor.replace(File::Floor, None);
            match reopen(without_floor) {
                Ok((_, rows)) if rows != *expected && rows != *before => {
                    return Err(format!("{place}, no floor: wrong rows"));
                }
                Ok(_) | Err(_) => {}
            }
            match reopen(flipped) {
                Ok((_, rows)) if rows != *expected => return Err(format!("{place}: wrong rows")),
                Err(_) if is_checked => {
                    return Err(format!("{place}: found when opened, but not by a check"));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}

#[test]
fn a_flipped_bit_is_found_or_changes_no_row() {
    check_flips(3, 90).unwrap();
}

#[test]
fn a_check_finds_every_flipped_bit_of_a_commit() {
    let (disk, _) = disk(4, 60);
    for file in segments(&disk) {
        let File::Segment(number) = file else { continue };
        let bytes = disk.content(file).unwrap();
        let outline = crate::scan::scan(options().store, number, &bytes).outline;
        for (at, header, _) in outline.frames() {
            let content = 48 + u64::from(header.values) + u64::from(header.table);
            for byte in at..at + content {
                let mut flipped = bytes.clone();
                flipped[byte as usize] ^= 1;
                let mut damaged = disk.copy(byte);
                damaged.replace(file, Some(flipped));
                assert!(check(&mut damaged).is_err(), "{file}, byte {byte}");
            }
        }
    }
}

/// The end of the journal is cut off between two commits.
pub(super) fn check_damage(seed: u64, ops: usize) -> Result<(), String> {
    let (disk, _) = disk(seed, ops);
    let last = *segments(&disk).last().unwrap();
    let File::Segment(number) = last else { unreachable!() };
    let bytes = disk.content(last).unwrap();
    let outline = crate::scan::scan(options().store, number, &bytes).outline;
    for (end, ..) in outline.frames() {
        let cut = disk.copy(end);
        cut.replace(last, Some(bytes[..end as usize].to_vec()));
        if !matches!(damage(reopen(cut)), Some((_, Damage::Cut))) {
            return Err(format!("seed {seed}, {last} cut off at byte {end} is not found"));
        }
    }
    Ok(())
}

#[test]
fn an_end_that_was_cut_off_between_two_commits_is_found_if_it_was_answered() {
    for seed in 5..15 {
        check_damage(seed, 60).unwrap();
    }
}

#[test]
fn a_file_that_is_missing_or_exchanged_is_found() {
    let (disk, states) = disk(6, 200);
    let segments = segments(&disk);
    assert!(segments.len() > 3);
    for &file in &segments {
        let missing = disk.copy(1);
        missing.replace(file, None);
        let expected = if Some(&file) == segments.last() { Damage::Cut } else { Damage::Missing };
        let found = damage(reopen(missing)).unwrap();
        assert_eq!(found.1, expected, "{file}");
    }
    let exchanged = disk.copy(1);
    exchanged.replace(segments[0], disk.content(segments[1]));
    assert!(damage(reopen(exchanged)).is_some());
    let other = disk.copy(1);
    other.replace(
        File::Identity,
        Some(b"zaichik journal\nformat 2\nstore 00000000000000000000000000000008\n".to_vec()),
    );
    assert!(matches!(damage(reopen(other)), Some((_, Damage::OtherStore))));
    let unnamed = disk.copy(1);
    unnamed.replace(File::Identity, None);
    assert_eq!(damage(reopen(unnamed)), Some((File::Identity, Damage::Identity)));
    for format in [1, 3] {
        let other = disk.copy(1);
        other.replace(File::Identity, Some(format!("zaichik journal\nformat {format}\n").into_bytes()));
        assert!(matches!(reopen(other), Err(OpenError::Version { found }) if found == format));
    }
    let without_floor = disk.copy(1);
    without_floor.replace(File::Floor, None);
    assert_eq!(reopen(without_floor).unwrap().1, *states.last().unwrap());
}

#[test]
fn a_repaired_journal_opens_with_the_rows_of_an_earlier_commit() {
    let (disk, states) = disk(7, 60);
    assert!(segments(&disk)[0] == File::Segment(1), "no row was moved yet");
    for file in segments(&disk) {
        let bytes = disk.content(file).unwrap();
        for at in (0..bytes.len()).step_by(37) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let mut damaged = disk.copy(at as u64);
            damaged.replace(file, Some(flipped));
            let is_sound = check(&mut damaged).is_ok();
            let repaired = repair(&mut damaged, |_| Ok(())).unwrap();
            assert_eq!(repaired.is_none(), is_sound, "{file}, byte {at}");
            assert!(check(&mut damaged).unwrap().is_some());
            let rows = reopen(damaged).unwrap().1;
            let kept = states.iter().position(|state| *state == rows).unwrap();
            // The first commit claims the store.
            let sequence = repaired.map_or(states.len() as u64, |repair| repair.sequence);
            assert!((kept as u64) < sequence.max(1), "{file}, byte {at}: {kept}, {sequence}");
        }
    }
}

#[test]
fn a_repaired_journal_opens_also_if_rows_had_been_moved() {
    let (disk, _) = disk(8, 400);
    assert!(segments(&disk)[0] != File::Segment(1), "rows were moved");
    for file in segments(&disk) {
        let mut damaged = disk.copy(1);
        let mut bytes = disk.content(file).unwrap();
        bytes[100] ^= 1;
        damaged.replace(file, Some(bytes));
        assert!(repair(&mut damaged, |_| Ok(())).unwrap().is_some(), "{file}");
        let (mut journal, rows) = reopen(damaged).unwrap();
        assert_eq!(read(&mut journal).unwrap(), rows);
    }
}

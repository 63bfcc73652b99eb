//! What is left of a damaged directory, and how it is repaired.

use std::collections::BTreeSet;

use super::damage::{disk, segments};
use super::workload::{Rows, options, reopen};
use crate::disk::{Disk, File};
use crate::error::{Damage, OpenError, StoreError};
use crate::inspect::{Report, check};
use crate::op::Op;
use crate::repair::repair;
use crate::salvage::salvage;
use crate::scan::scan;
use crate::simulated::{Fault, SimulatedDisk};
use crate::table::{Entries, Entry};
use crate::trial::Trial;

/// What a salvage shows.
fn remains(disk: &mut impl Disk) -> (Rows, Vec<StoreError>, Option<Report>) {
    let (mut rows, mut damage) = (Vec::new(), Vec::new());
    let report = salvage(disk, |found| {
        match found {
            Ok((key, value)) => rows.push((key.to_vec(), value.to_vec())),
            Err(error) => damage.push(error),
        }
        Ok::<_, OpenError>(())
    });
    assert!(rows.is_sorted_by_key(|(key, _)| key.clone()), "rows come in the order of their keys");
    (rows.into_iter().collect(), damage, report.unwrap())
}

/// The keys that the frame with this byte stores.
fn stored_with(bytes: &[u8], number: u64, byte: u64) -> BTreeSet<Vec<u8>> {
    let outline = scan(options().store, number, bytes).outline;
    let frame = outline.frames().find(|(at, header, _)| (*at..*at + header.frame_bytes()).contains(&byte));
    let entries = frame.into_iter().flat_map(|(_, _, table)| Entries::new(table).flatten());
    let keys = entries.filter_map(|entry| match entry {
        Entry::Put { key, .. } => Some(key.to_vec()),
        Entry::Remove { .. } | Entry::Trim { .. } => None,
    });
    keys.collect()
}

#[test]
fn of_a_sound_directory_all_is_salvaged() {
    let (mut disk, states) = disk(9, 200);
    let (rows, damage, report) = remains(&mut disk);
    assert_eq!(&rows, states.last().unwrap());
    assert!(damage.is_empty(), "{damage:?}");
    assert_eq!(report, check(&mut disk).unwrap());
    assert_eq!(remains(&mut SimulatedDisk::new(1)).2, None);
}

#[test]
fn of_a_damaged_directory_nothing_is_lost_but_rows_of_the_damaged_commit() {
    let (disk, states) = disk(10, 120);
    let expected = states.last().unwrap();
    for file in segments(&disk) {
        let File::Segment(number) = file else { continue };
        let bytes = disk.content(file).unwrap();
        for at in (0..bytes.len()).step_by(13) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let mut damaged = disk.copy(at as u64);
            damaged.replace(file, Some(flipped));
            let (rows, damage, _) = remains(&mut damaged);
            assert!(damage.is_empty() || check(&mut damaged).is_err(), "{file}, byte {at}: {damage:?}");
            for (key, value) in &rows {
                let was_stored = states.iter().any(|state| state.get(key) == Some(value));
                assert!(was_stored, "{file}, byte {at}: {key:?}");
            }
            let lost = expected.iter().filter(|(key, value)| rows.get(*key) != Some(value));
            let lost: BTreeSet<_> = lost.map(|(key, _)| key.clone()).collect();
            assert!(lost.is_empty() || !damage.is_empty(), "{file}, byte {at}: {lost:?}");
            let may_be_lost = stored_with(&bytes, number, at as u64);
            assert!(lost.is_subset(&may_be_lost), "{file}, byte {at}: {lost:?}");
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let (disk, states) = disk(11, 200);
    let segments = segments(&disk);
    let (first, second) = (segments[1], segments[3]);
    let mut damaged = disk.copy(1);
    damaged.replace(first, None);
    damaged.replace(second, None);
    damaged.replace(File::Identity, None);
    let (rows, damage, report) = remains(&mut damaged);
    let named = damage.iter().map(|error| {
        let StoreError::Corrupt { file, damage, .. } = error else { panic!("{error}") };
        (*file, *damage)
    });
    let named: Vec<_> = named.collect();
    let expected = [(File::Identity, Damage::Identity), (first, Damage::Missing), (second, Damage::Missing)];
    assert_eq!(named, expected);
    assert!(!rows.is_empty());
    assert_eq!(report.unwrap().sequence, states.len() as u64, "the first commit claims the store");
}

#[test]
fn a_repair_is_tried_without_changing_anything() {
    let (disk, _) = disk(12, 100);
    for file in segments(&disk) {
        let mut damaged = disk.copy(1);
        let mut bytes = disk.content(file).unwrap();
        bytes[150] ^= 1;
        damaged.replace(file, Some(bytes));
        let effects = damaged.effects();
        let mut trial = Trial::new(damaged.copy(2));
        let tried = repair(&mut trial, |_| Ok(())).unwrap();
        let left = remains(&mut trial).0;
        assert_eq!(trial.into_inner().effects(), effects, "{file}");
        assert_eq!(repair(&mut damaged, |_| Ok(())).unwrap(), tried, "{file}");
        assert_eq!(remains(&mut damaged).0, left, "{file}");
    }
}

#[test]
fn an_interrupted_repair_leaves_a_journal_that_does_not_open_without_the_amendment() {
    let (disk, _) = disk(13, 60);
    let file = segments(&disk)[1];
    let mut bytes = disk.content(file).unwrap();
    bytes[150] ^= 1;
    disk.replace(file, Some(bytes));
    let amended = [Op::Put { key: b"amended", head: &[], value: &[b"yes"] }];
    let (mut stops, mut refused) = (0, 0);
    loop {
        let mut damaged = disk.copy(stops);
        damaged.fail(stops, Fault::Stop);
        let is_done = repair(&mut damaged, |journal| journal.commit(&amended)).is_ok();
        damaged.lose_power();
        match reopen(damaged.copy(1)) {
            Ok((_, rows)) => assert!(rows.contains_key(b"amended".as_slice()), "stop {stops}"),
            Err(OpenError::Store(StoreError::Corrupt { .. })) => refused += 1,
            Err(other) => panic!("stop {stops}: {other}"),
        }
        if is_done {
            break;
        }
        repair(&mut damaged, |journal| journal.commit(&amended)).unwrap();
        let rows = reopen(damaged).unwrap().1;
        assert!(rows.contains_key(b"amended".as_slice()), "stop {stops}");
        stops += 1;
    }
    assert!(stops > 10 && refused > 5, "{stops} stops, {refused} refused");
}

//! A directory is copied while its owner goes on, at any of its effects.

use std::collections::BTreeMap;
use std::io;

use super::crash::recorded;
use super::damage::segments;
use super::workload::{Rows, commit, commits, options, read, reopen};
use crate::backup::{BackupError, backup};
use crate::disk::{Disk, Effect, File};
use crate::error::{Damage, OpenError, StoreError};
use crate::inspect::check;
use crate::journal::Journal;
use crate::op::Op;
use crate::repair::repair;
use crate::simulated::{Fault, SECTOR, SimulatedDisk, below};

/// A disk that its owner changes between two looks at it, and during each. A file that was opened can still be read when it
/// is removed.
struct Changing<'a> {
    states: &'a [(SimulatedDisk, usize)],
    /// The state that is seen now.
    at: usize,
    /// At which looks the owner goes on, and by how many effects.
    pace: Pace,
    random: u64,
    looks: usize,
    /// In which state each file was seen last that has been opened.
    open: BTreeMap<File, usize>,
}

#[derive(Clone, Copy)]
enum Pace {
    /// Up to so many effects at each look.
    Steady(usize),
    /// So many effects at this look.
    Once(usize, usize),
}

impl<'a> Changing<'a> {
    fn new(states: &'a [(SimulatedDisk, usize)], at: usize, pace: Pace, random: u64) -> Self {
        Self { states, at, pace, random, looks: 0, open: BTreeMap::new() }
    }

    fn go_on(&mut self) {
        let effects = match self.pace {
            Pace::Steady(most) => below(&mut self.random, most + 1),
            Pace::Once(look, effects) if look == self.looks => effects,
            Pace::Once(..) => 0,
        };
        self.looks += 1;
        for _ in 0..effects {
            if self.at + 1 < self.states.len() {
                self.at += 1;
                let names: Vec<_> = self.states[self.at].0.clone().files().unwrap();
                for (file, seen) in &mut self.open {
                    if names.iter().any(|(name, _)| name == file) {
                        *seen = self.at;
                    }
                }
            }
        }
    }
}

impl Disk for Changing<'_> {
    fn run(&mut self, _: Effect<'_>) -> io::Result<()> {
        panic!("the source is not changed")
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let is_there = self.states[self.at].0.content(file).is_some();
        if !is_there && !self.open.contains_key(&file) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.open.entry(file).or_insert(self.at);
        // The beginning is read, the owner goes on, and then the rest is read.
        let middle = below(&mut self.random, bytes.len() / SECTOR + 1) * SECTOR;
        let (front, rest) = bytes.split_at_mut(middle.min(bytes.len()));
        let mut disk = self.states[self.open[&file]].0.clone();
        let len = disk.read(file, at, front)?;
        self.go_on();
        if len < front.len() {
            return Ok(len);
        }
        let mut disk = self.states[self.open[&file]].0.clone();
        Ok(len + disk.read(file, at + len as u64, rest)?)
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        self.go_on();
        self.states[self.at].0.clone().files()
    }

    fn is_ours(&mut self) -> bool {
        false
    }

    fn boot(&mut self) -> Option<u128> {
        self.states[self.at].0.clone().boot()
    }
}

/// Copies what is changing, and opens the copy. Returns the rows, and how many looks there were.
fn check_copy(source: &mut Changing<'_>, states: &[Rows]) -> Result<usize, String> {
    let first = source.states[source.at].1;
    let mut target = SimulatedDisk::new(source.random);
    let report = backup(source, &mut target).map_err(|error| error.to_string())?;
    let last = source.states[source.at].1 + 1;
    let Some(report) = report else {
        return if first == 0 { Ok(source.looks) } else { Err("nothing was found".to_owned()) };
    };
    target.lose_power();
    if check(&mut target).map_err(|error| error.to_string())? != Some(report) || !report.is_backup {
        return Err("the copy is another one after a loss of power".to_owned());
    }
    let (journal, rows) = reopen(target).map_err(|error| error.to_string())?;
    if !states[first..states.len().min(last + 1)].contains(&rows) {
        return Err(format!("{} rows that are those of no commit from {first} to {last}", rows.len()));
    }
    if !journal.lacks_commits() || !journal.is_backup() {
        return Err("it does not say that it is a copy".to_owned());
    }
    Ok(source.looks)
}

pub(super) fn check_backups(seed: u64, ops: usize) -> Result<(), String> {
    let (disks, states) = recorded(seed, ops)?;
    for begin in 0..disks.len() {
        let place = |error| format!("seed {seed}, from effect {begin}: {error}");
        for most in [0, 1, 5, 60] {
            let mut source = Changing::new(&disks, begin, Pace::Steady(most), seed ^ begin as u64);
            let _ = check_copy(&mut source, &states).map_err(place)?;
        }
    }
    // At each look once, by so much that segments are gone.
    for begin in (0..disks.len()).step_by(disks.len() / 6) {
        for effects in [1, 7, 200] {
            let (mut look, mut looks) = (0, 1);
            while look < looks {
                let mut source = Changing::new(&disks, begin, Pace::Once(look, effects), seed);
                looks = check_copy(&mut source, &states)
                    .map_err(|error| format!("seed {seed}, {effects} effects at look {look}: {error}"))?;
                look += 1;
            }
        }
    }
    Ok(())
}

#[test]
fn a_copy_has_the_rows_of_one_commit_whatever_its_owner_does_meanwhile() {
    for seed in 0..2 {
        check_backups(seed, 200).unwrap();
    }
}

/// A directory that does not change meanwhile.
fn still(seed: u64) -> (Vec<(SimulatedDisk, usize)>, Rows) {
    let (disks, states) = recorded(seed, 100).unwrap();
    (disks.into_iter().next_back().into_iter().collect(), states.last().unwrap().clone())
}

#[test]
fn a_copy_that_is_interrupted_does_not_open() {
    let (disks, rows) = still(3);
    let mut stops = 0;
    loop {
        let mut target = SimulatedDisk::new(stops);
        target.fail(stops, Fault::Stop);
        let is_done = backup(&mut disks[0].0.clone(), &mut target).is_ok();
        target.lose_power();
        match check(&mut target) {
            Ok(Some(_)) => assert_eq!(reopen(target).unwrap().1, rows, "stop {stops}"),
            Ok(None) | Err(OpenError::Store(StoreError::Corrupt { file: File::Identity, .. })) => {}
            Err(error) => panic!("stop {stops}: {error}"),
        }
        if is_done {
            break;
        }
        stops += 1;
    }
    assert!(stops > 20, "{stops}");
}

#[test]
fn a_copy_that_cannot_be_written_is_an_error_and_does_not_open() {
    let (disks, _) = still(4);
    let mut failures = 0;
    loop {
        let mut target = SimulatedDisk::new(failures);
        target.fail(failures, Fault::Error(io::ErrorKind::StorageFull));
        match backup(&mut disks[0].0.clone(), &mut target) {
            Ok(_) => break,
            Err(BackupError::Target(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            Err(error) => panic!("{error}"),
        }
        failures += 1;
    }
    assert!(failures > 20, "{failures}");
}

#[test]
fn each_opening_of_a_copy_finds_that_it_is_one_until_the_first_commit() {
    let (disks, rows) = still(5);
    let mut target = SimulatedDisk::new(1);
    let _ = backup(&mut disks[0].0.clone(), &mut target).unwrap();
    for _ in 0..3 {
        let (journal, found) = reopen(target.clone()).unwrap();
        assert!(journal.is_backup() && journal.lacks_commits());
        assert_eq!(found, rows);
    }
    let second = target.copy(2);
    let mut journal = reopen(target).unwrap().0;
    let more = commits(6, 12);
    commit(&mut journal, &more[0]).unwrap();
    assert!(!journal.is_backup() && !journal.lacks_commits());
    let disk = journal.into_disk();
    disk.lose_power();
    assert!(!reopen(disk).unwrap().0.is_backup(), "it goes on as any other directory");
    assert!(reopen(second).unwrap().0.is_backup(), "another one made of the same copy says so again");
}

#[test]
fn a_copy_is_made_of_a_copy_and_of_a_directory_that_the_power_left() {
    let (disks, rows) = still(7);
    let mut first = disks[0].0.copy(1);
    first.lose_power();
    let (mut second, mut third) = (SimulatedDisk::new(2), SimulatedDisk::new(3));
    let _ = backup(&mut first, &mut second).unwrap();
    let _ = backup(&mut second, &mut third).unwrap();
    let mut journal = Journal::on(third, options()).unwrap();
    assert_eq!(read(&mut journal).unwrap(), rows);
    assert!(journal.is_backup());
}

#[test]
fn what_is_damaged_is_not_copied_as_if_it_was_sound() {
    let (disks, _) = still(8);
    let disk = &disks[0].0;
    for (file, _) in disk.clone().files().unwrap() {
        let File::Segment(number) = file else { continue };
        let bytes = disk.content(file).unwrap();
        for at in (0..bytes.len()).step_by(17) {
            let mut damaged = disk.copy(at as u64);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            damaged.replace(file, Some(flipped));
            if at % 2 == 0 {
                // Only what follows says then that it was no commit that was interrupted.
                damaged.replace(File::Floor, None);
            }
            if check(&mut damaged.copy(1)).is_ok() {
                continue;
            }
            let copied = backup(&mut damaged, &mut SimulatedDisk::new(1));
            let is_found = matches!(copied, Err(BackupError::Source(_)));
            assert!(is_found, "segment {number}, byte {at}: {copied:?}");
        }
        let mut damaged = disk.copy(1);
        damaged.replace(file, None);
        if check(&mut damaged.copy(1)).is_ok() {
            continue;
        }
        let copied = backup(&mut damaged, &mut SimulatedDisk::new(1));
        let Err(BackupError::Source(OpenError::Store(StoreError::Corrupt { damage, .. }))) = copied else {
            panic!("segment {number}: {copied:?}")
        };
        assert!(matches!(damage, Damage::Missing | Damage::Cut), "segment {number}: {damage:?}");
    }
}

#[test]
fn a_copy_that_is_repaired_is_still_one() {
    let (disks, _) = still(10);
    let mut target = SimulatedDisk::new(1);
    let _ = backup(&mut disks[0].0.clone(), &mut target).unwrap();
    let file = segments(&target)[1];
    let mut bytes = target.content(file).unwrap();
    bytes[150] ^= 1;
    target.replace(file, Some(bytes));
    let amend = [Op::Put { key: b"amended", head: &[], value: &[b"yes"] }];
    assert!(repair(&mut target, |journal| journal.commit(&amend)).unwrap().is_some());
    for _ in 0..2 {
        let (journal, rows) = reopen(target.clone()).unwrap();
        assert!(journal.is_backup() && rows.contains_key(b"amended".as_slice()));
    }
}

/// A disk that does not keep what is written to it.
struct Forgetful(SimulatedDisk);

impl Disk for Forgetful {
    fn run(&mut self, effect: Effect<'_>) -> io::Result<()> {
        let Effect::Write { file: file @ File::Segment(_), at, bytes } = effect else {
            return self.0.run(effect);
        };
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.0.run(Effect::Write { file, at, bytes: &bytes })
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(file, at, bytes)
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        self.0.files()
    }

    fn is_ours(&mut self) -> bool {
        true
    }

    fn boot(&mut self) -> Option<u128> {
        self.0.boot()
    }
}

#[test]
fn a_copy_that_is_not_what_was_written_is_found_and_does_not_open() {
    let (disks, _) = still(9);
    let mut target = Forgetful(SimulatedDisk::new(1));
    let copied = backup(&mut disks[0].0.clone(), &mut target);
    assert!(matches!(copied, Err(BackupError::Copy(StoreError::Corrupt { .. }))), "{copied:?}");
    assert!(reopen(target.0).is_err());
}

#[test]
fn of_nothing_there_is_no_copy() {
    let mut target = SimulatedDisk::new(1);
    assert_eq!(backup(&mut SimulatedDisk::new(1), &mut target).unwrap(), None);
    assert_eq!(target.effects(), 0);
}

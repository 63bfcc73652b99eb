//! Commits are synced on demand, and the power is lost or a sync fails: a part of what is not synced is gone, and the
//! journal says so.

use core::time::Duration;
use std::io;

use super::crash::Recorded;
use super::workload::{Rows, apply, commit, commits, options, read, states};
use crate::disk::{Disk, File};
use crate::error::{OpenError, StoreError};
use crate::inspect::check;
use crate::journal::Journal;
use crate::options::{Options, Syncing};
use crate::simulated::{Fault, SimulatedDisk, below};

fn on_demand() -> Options {
    Options { syncing: Syncing::OnDemand, ..options() }
}

/// What became of the commits of a seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    written: usize,
    synced: usize,
}

/// Makes the commits of a seed, and syncs now and then, until something fails. Shows the state after each step.
fn run<D: Disk>(
    journal: &mut Journal<D>,
    seed: u64,
    ops: usize,
    mut reached: impl FnMut(&mut Journal<D>, Reached),
) -> Result<(), StoreError> {
    let (mut random, mut now, mut done) = (seed, Duration::ZERO, Reached::default());
    for one in commits(seed, ops) {
        match commit(journal, &one) {
            Err(StoreError::Full) => commit(journal, &one)?,
            other => other?,
        }
        done.written += 1;
        reached(journal, done);
        if below(&mut random, 7) == 0 {
            journal.sync()?;
            done.synced = done.written;
            reached(journal, done);
        }
        now += Duration::from_millis(60);
        journal.tend(now)?;
    }
    Ok(())
}

/// What is there after a crash, if it is allowed.
fn check_left(
    disk: &SimulatedDisk,
    states: &[Rows],
    reached: Reached,
    is_lost: bool,
) -> Result<Rows, String> {
    let is_one = |states: &[Rows], from: usize, rows: &Rows| states.iter().skip(from).any(|one| one == rows);
    // One more may be under way.
    let states = &states[..states.len().min(reached.written + 2)];
    let report = check(&mut disk.clone()).map_err(|error| error.to_string())?;
    let (lacks, rows) = open(disk, on_demand()).map_err(|error| error.to_string())?;
    if !is_one(states, reached.synced, &rows) {
        return Err(format!("{} rows that are those of no commit since the last sync", rows.len()));
    }
    if !lacks && !is_one(states, reached.written, &rows) {
        return Err("the journal does not say that commits are missing".to_owned());
    }
    if lacks && !is_lost {
        return Err("the journal says that commits may be missing, but only the process ended".to_owned());
    }
    if report.is_some_and(|report| report.lacks_commits != lacks || report.rows != rows.len()) {
        return Err(format!("a check says something else: {report:?}"));
    }
    Ok(rows)
}

fn open(disk: &SimulatedDisk, options: Options) -> Result<(bool, Rows), OpenError> {
    let mut journal = Journal::on(disk.clone(), options)?;
    Ok((journal.lacks_commits(), read(&mut journal)?))
}

pub(super) fn check_power(seed: u64, ops: usize) -> Result<(), String> {
    let states = states(&commits(seed, ops));
    let disk = SimulatedDisk::new(seed);
    if !seed.is_multiple_of(2) {
        // An owner that synced each commit has written ahead.
        drop(Journal::on(disk.clone(), options()).unwrap());
    }
    let mut journal = Journal::on(Recorded::new(disk), on_demand()).unwrap();
    let mut reports = Vec::new();
    run(&mut journal, seed, ops, |journal, reached| {
        reports.push((journal.disk_mut().before.len(), reached));
    })
    .map_err(|error| error.to_string())?;
    let disks = journal.into_disk().before;
    for (effect, disk) in disks.iter().enumerate() {
        let reached = reports.iter().take_while(|(at, _)| *at <= effect).last();
        let reached = reached.map_or_else(Reached::default, |(_, reached)| *reached);
        for draw in 0..2_u64 {
            let crashed = disk.copy(seed ^ draw << 32 ^ effect as u64);
            let is_lost = !(effect as u64 + draw).is_multiple_of(3);
            if is_lost {
                crashed.lose_power();
            }
            check_crash(&crashed, draw, &states, reached, is_lost).map_err(|error| {
                format!("seed {seed}, before effect {effect}, {reached:?}, lost: {is_lost}: {error}")
            })?;
        }
    }
    Ok(())
}

fn check_crash(
    crashed: &SimulatedDisk,
    draw: u64,
    states: &[Rows],
    reached: Reached,
    is_lost: bool,
) -> Result<(), String> {
    let text = |error: OpenError| error.to_string();
    let rows = check_left(&crashed.copy(draw), states, reached, is_lost)?;
    let mut journal = Journal::on(Recorded::new(crashed.copy(draw)), on_demand()).map_err(text)?;
    let lacks = journal.lacks_commits();
    // What was read back stays, and without a commit the next opening finds the same.
    let after = journal.disk_mut().disk.copy(draw);
    after.lose_power();
    let (lacks_again, rows_again) = open(&after, options()).map_err(text)?;
    if rows_again != rows || lacks && !lacks_again {
        return Err("another opening finds something else".to_owned());
    }
    // Opening may be interrupted as well.
    for again in journal.disk_mut().before.clone() {
        again.lose_power();
        let _ = check_left(&again, states, reached, true).map_err(|error| format!("again: {error}"))?;
    }
    check_later(&mut journal, draw, rows)
}

/// The journal goes on: its first commit is durable if some were missing, and the others once they are synced.
fn check_later(journal: &mut Journal<Recorded>, draw: u64, mut rows: Rows) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let lacks = journal.lacks_commits();
    for (number, one) in commits(draw, 12).iter().enumerate() {
        commit(journal, one).map_err(text)?;
        apply(&mut rows, one);
        let lost = journal.disk_mut().disk.copy(draw);
        if number == 0 && lacks {
            lost.lose_power();
            if open(&lost, on_demand()).map_err(|error| error.to_string())?.1 != rows {
                return Err("the first commit is lost".to_owned());
            }
        } else if open(&lost, on_demand()).map_err(|error| error.to_string())? != (false, rows.clone()) {
            return Err("the end of the process loses commits".to_owned());
        }
    }
    journal.close(Duration::from_secs(1)).map_err(text)?;
    let lost = journal.disk_mut().disk.copy(draw);
    lost.lose_power();
    if lost.content(File::Unsynced).is_some() {
        return Err("the mark outlives a clean end".to_owned());
    }
    if open(&lost, on_demand()).map_err(|error| error.to_string())? != (false, rows) {
        return Err("commits are lost although there was a clean end".to_owned());
    }
    Ok(())
}

pub(super) fn check_failures(seed: u64, ops: usize) -> Result<(), String> {
    let states = states(&commits(seed, ops));
    let try_one = |after: u64, fault: Fault| {
        let (disk, mut reached) = (SimulatedDisk::new(seed), Reached::default());
        disk.fail(after, fault);
        let ended = match Journal::on(disk.clone(), on_demand()) {
            Ok(mut journal) => run(&mut journal, seed, ops, |_, now| reached = now),
            Err(OpenError::Store(error)) => Err(error),
            Err(other) => panic!("{other}"),
        };
        (disk, reached, ended.is_err())
    };
    let effects = try_one(u64::MAX / 2, Fault::Stop).0.effects();
    for after in 0..effects {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let (disk, reached, has_failed) = try_one(after, Fault::Error(kind));
            for is_power_lost in [false, true] {
                let left = disk.copy(after);
                left.release();
                if is_power_lost {
                    left.lose_power();
                }
                let place = format!("seed {seed}, effect {after} fails with {kind}, lost: {is_power_lost}");
                let rows = check_left(&left, &states, reached, has_failed || is_power_lost);
                let rows = rows.map_err(|error| format!("{place}: {error}"))?;
                // What was read back is durable, whatever the sync that failed had lost.
                left.lose_power();
                let again = open(&left, on_demand()).map_err(|error| format!("{place}: {error}"))?.1;
                if again != rows {
                    return Err(format!("{place}: what was read back is lost"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn after_a_loss_of_power_the_rows_are_those_of_a_commit_since_the_last_sync_and_the_journal_says_so() {
    for seed in 0..2 {
        check_power(seed, 120).unwrap();
    }
}

#[test]
fn after_a_failed_sync_the_journal_says_that_commits_may_be_missing() {
    for seed in 0..2 {
        check_failures(seed, 60).unwrap();
    }
}

#[test]
fn a_journal_that_syncs_each_commit_has_no_mark() {
    let disk = SimulatedDisk::new(1);
    let mut journal = Journal::on(disk.clone(), options()).unwrap();
    commit(&mut journal, &commits(1, 4)[0]).unwrap();
    assert_eq!(disk.content(File::Unsynced), None);
    // One that was left by a process that ended is removed when everything is synced.
    drop(Journal::on(disk.clone(), on_demand()).unwrap());
    assert!(disk.content(File::Unsynced).is_some());
    let journal = Journal::on(disk.clone(), options()).unwrap();
    assert_eq!((journal.lacks_commits(), disk.content(File::Unsynced)), (false, None));
}

#[test]
fn damage_in_front_of_the_last_sync_is_found_after_a_loss_of_power_too() {
    let disk = SimulatedDisk::new(1);
    let options = Options { segment_bytes: 1 << 20, ..on_demand() };
    let mut journal = Journal::on(disk.clone(), options).unwrap();
    for (number, one) in commits(1, 60).iter().enumerate() {
        commit(&mut journal, one).unwrap();
        if number == 5 {
            journal.sync().unwrap();
            journal.tend(Duration::from_secs(1)).unwrap();
        }
    }
    let bytes = disk.content(File::Segment(1)).unwrap();
    let end = usize::try_from(crate::scan::scan(options.store, 1, &bytes).outline.end).unwrap();
    disk.replace(File::Segment(1), Some(bytes.clone()));
    disk.lose_power();
    let ends_at = |at: usize| {
        let damaged = disk.copy(1);
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        damaged.replace(File::Segment(1), Some(bytes));
        Journal::on(damaged, options).map(|journal| journal.info().sequence)
    };
    let whole = Journal::on(disk.copy(1), options).unwrap().info().sequence;
    assert!(matches!(ends_at(70), Err(OpenError::Store(StoreError::Corrupt { .. }))), "before the sync");
    let torn = ends_at(end / 2).expect("what is not synced may be torn");
    assert!((8..whole).contains(&torn), "{torn} of {whole}");
}

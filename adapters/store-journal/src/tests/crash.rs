//! The power is lost before and after each effect, also while the journal is opened again.

use core::time::Duration;
use std::io;

use super::workload::{Rows, commit, commits, options, read, reopen, states};
use crate::disk::{Disk, Effect, File};
use crate::journal::Journal;
use crate::simulated::SimulatedDisk;

/// A disk of which there is a copy from before each effect.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) disk: SimulatedDisk,
    pub(super) before: Vec<SimulatedDisk>,
}

impl Recorded {
    pub(super) const fn new(disk: SimulatedDisk) -> Self {
        Self { disk, before: Vec::new() }
    }
}

impl Disk for Recorded {
    fn run(&mut self, effect: Effect<'_>) -> io::Result<()> {
        let seed = self.before.len() as u64;
        self.before.push(self.disk.copy(seed));
        self.disk.run(effect)
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.disk.read(file, at, bytes)
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        self.disk.files()
    }

    fn is_ours(&mut self) -> bool {
        self.disk.is_ours()
    }

    fn boot(&mut self) -> Option<u128> {
        self.disk.boot()
    }
}

/// A disk, and how many commits were durable.
pub(super) type Copied = (SimulatedDisk, usize);

/// Commits all of a seed. Returns a copy of the disk from before each effect, and which state was durable then.
pub(super) fn recorded(seed: u64, ops: usize) -> Result<(Vec<Copied>, Vec<Rows>), String> {
    let commits = commits(seed, ops);
    let states = states(&commits);
    let mut journal = Journal::on(Recorded::new(SimulatedDisk::new(seed)), options()).unwrap();
    let mut now = Duration::ZERO;
    let mut counts = Vec::new();
    for one in &commits {
        counts.push(journal.disk_mut().before.len());
        commit(&mut journal, one).map_err(|error| error.to_string())?;
        // Effects of this call belong to the next state, which is durable.
        counts.push(journal.disk_mut().before.len());
        now += Duration::from_millis(60);
        journal.tend(now).map_err(|error| error.to_string())?;
        assert_eq!(counts.len() % 2, 0);
    }
    if read(&mut journal).map_err(|error| error.to_string())? != *states.last().unwrap() {
        return Err("wrong rows without a crash".to_owned());
    }
    let moved = journal.info().moved_bytes;
    assert!(ops < 200 || moved > 1000, "seed {seed} moves {moved} bytes");
    let mut recorded = journal.into_disk();
    recorded.before.push(recorded.disk.copy(1));
    let at = |effect: usize| counts.iter().filter(|count| **count <= effect).count();
    let disks = recorded.before.into_iter().enumerate();
    Ok((disks.map(|(effect, disk)| (disk, at(effect) / 2)).collect(), states))
}

/// Whether these rows may be read back: those of the last commit that was answered, or of the one under way.
pub(super) fn is_allowed(states: &[Rows], durable: usize, rows: &Rows) -> bool {
    states.iter().skip(durable).take(2).any(|state| state == rows)
}

pub(super) fn check_crashes(seed: u64, ops: usize) -> Result<(), String> {
    let (disks, states) = recorded(seed, ops)?;
    for (effect, (disk, durable)) in disks.iter().enumerate() {
        let place = format!("seed {seed}, before effect {effect}, {durable} durable");
        for draw in 0..2_u64 {
            let crashed = disk.copy(seed ^ draw << 32 ^ effect as u64);
            // Every third time the process ends, but the machine stays.
            if !(effect as u64 + draw).is_multiple_of(3) {
                crashed.lose_power();
            }
            check_crash(&crashed, draw, &states, *durable)
                .map_err(|error| format!("{place}, draw {draw}: {error}"))?;
        }
    }
    Ok(())
}

pub(super) fn check_crash(
    crashed: &SimulatedDisk,
    draw: u64,
    states: &[Rows],
    durable: usize,
) -> Result<(), String> {
    let open = |disk: &SimulatedDisk| reopen(Recorded::new(disk.clone())).map_err(|error| error.to_string());
    let (journal, rows) = open(&crashed.copy(draw))?;
    if !is_allowed(states, durable, &rows) {
        return Err(format!("{} rows that are neither durable nor under way", rows.len()));
    }
    // What was read back stays.
    let reopened = journal.into_disk();
    let after = reopened.disk.copy(draw);
    after.lose_power();
    if open(&after)?.1 != rows {
        return Err("what was read back is different after the next loss of power".to_owned());
    }
    // Opening may be interrupted as well.
    for (effect, again) in reopened.before.iter().enumerate() {
        again.lose_power();
        let (mut journal, rows) =
            open(again).map_err(|error| format!("effect {effect} of opening: {error}"))?;
        if !is_allowed(states, durable, &rows) {
            return Err(format!("effect {effect} of opening: {} rows", rows.len()));
        }
        // And the journal goes on.
        let mut expected = rows;
        for one in commits(draw, 12) {
            commit(&mut journal, &one).map_err(|error| error.to_string())?;
            super::workload::apply(&mut expected, &one);
        }
        let last = journal.into_disk().disk;
        last.lose_power();
        if open(&last)?.1 != expected {
            return Err(format!("effect {effect} of opening: later commits are lost"));
        }
    }
    Ok(())
}

#[test]
fn after_a_crash_at_any_effect_the_rows_are_those_of_the_last_commit_or_of_the_one_under_way() {
    for seed in 0..2 {
        check_crashes(seed, 200).unwrap();
    }
}

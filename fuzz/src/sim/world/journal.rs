//! The journal under a broker's store, on a disk that loses power.

use zaichik_engine::store::{Commit, Row};
use zaichik_store_journal::simulated::{Fault, SimulatedDisk};
use zaichik_store_journal::{Journal, Options, Shown, StoreError, Syncing};

use crate::sim::random::Rng;

/// So short that segments are filled and cleaned all the time.
const SEGMENT: u64 = 16 << 10;

/// So short that it is used up sometimes.
const RESERVE: u64 = 8 << 10;

/// A commit takes fewer effects on the disk, unless segments are cleaned.
const EFFECTS: u64 = 12;

/// Keys and values, in the order of the keys.
pub(super) type Encoded = Vec<(Vec<u8>, Vec<u8>)>;

/// A journal on its disk.
#[derive(Debug)]
pub(super) struct SimulatedJournal {
    disk: SimulatedDisk,
    /// `None` after its process has ended.
    journal: Option<Journal<SimulatedDisk>>,
    syncing: Syncing,
}

impl SimulatedJournal {
    pub(super) fn new(seed: u64, syncing: Syncing) -> Self {
        Self { disk: SimulatedDisk::new(seed), journal: None, syncing }
    }

    /// Makes a commit durable.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if self.journal.is_none() {
            self.journal = Some(self.open().map_err(corrupt)?);
        }
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.commit_rows(commit)
    }

    /// Makes all commits durable.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.journal.as_mut().map_or(Ok(()), Journal::sync)
    }

    /// Whether commits may be missing that were reported (rule B7).
    pub(super) fn lacks_commits(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::lacks_commits)
    }

    /// Does what need not be done with a commit; returns whether there is no space but the reserve.
    pub(super) fn tend(&mut self, now: u64) -> Result<bool, StoreError> {
        let Some(journal) = &mut self.journal else { return Ok(false) };
        journal.tend(core::time::Duration::from_micros(now))?;
        Ok(journal.info().is_full)
    }

    /// The next commit finds no space but the reserve.
    pub(super) fn fill(&self) {
        self.disk.set_capacity(Some(self.disk.used()));
    }

    /// There is space again.
    pub(super) fn free(&self) {
        self.disk.set_capacity(None);
    }

    /// No effect fails any more.
    pub(super) fn heal(&self) {
        self.disk.release();
        self.free();
    }

    /// One of the next effects fails.
    pub(super) fn fail(&self, rng: &mut Rng) {
        self.disk.fail(rng.below(EFFECTS), Fault::Error(std::io::ErrorKind::Other));
    }

    /// The process ends, perhaps in the middle of a commit, and the machine with it or not. Returns what the next process
    /// reads back, of which opening may be interrupted as well.
    pub(super) fn end(&mut self, rng: &mut Rng, under_way: Option<&Commit>) -> Result<Encoded, String> {
        if let Some(commit) = under_way.filter(|_| !rng.once_in(4)) {
            self.disk.fail(rng.below(EFFECTS), Fault::Stop);
            let _ = self.commit(commit);
        }
        self.journal = None;
        self.interrupt(rng);
        self.free();
        if rng.once_in(4) {
            self.disk.fail(rng.below(EFFECTS), Fault::Stop);
            let _ = self.open();
            self.interrupt(rng);
        }
        let mut journal = self.open()?;
        let mut rows = Vec::new();
        let mut known = None;
        let read = journal.read_back(|key, shown| {
            match shown {
                Shown::Head(head) => known = Some(head.to_vec()),
                Shown::Value(value) => {
                    let found = known.take();
                    if found.is_some() && found != head_of(key, value) {
                        return Err(corrupt(format!("the head of {key:?} is {found:?}")));
                    }
                    rows.push((key.to_vec(), value.to_vec()));
                }
            }
            Ok::<_, StoreError>(true)
        });
        read.map_err(|error| error.to_string())?;
        self.journal = Some(journal);
        Ok(rows)
    }

    fn interrupt(&self, rng: &mut Rng) {
        if rng.once_in(2) {
            self.disk.lose_power();
        } else {
            self.disk.release();
        }
    }

    fn open(&self) -> Result<Journal<SimulatedDisk>, String> {
        let syncing = self.syncing;
        let options = Options { segment_bytes: SEGMENT, reserve_bytes: RESERVE, syncing, ..Options::new(7) };
        Journal::on(self.disk.clone(), options).map_err(|error| error.to_string())
    }
}

/// What is known of a row without its records.
fn head_of(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let Ok(Row::Records(row)) = Row::decode(key, value) else { return None };
    let mut head = Vec::new();
    row.head()?.encode(&mut head);
    Some(head)
}

fn corrupt(error: String) -> StoreError {
    StoreError::Failed(std::io::Error::other(error))
}

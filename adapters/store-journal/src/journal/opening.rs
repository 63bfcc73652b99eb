//! Opens a journal: reads it back, makes what was read durable, and claims it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::durability::Durability;
use super::{Journal, reserve};
use crate::cleaning::Cleaning;
use crate::disk::{Disk, Effect, File};
use crate::error::{OpenError, StoreError, failed, is_full};
use crate::files::Files;
use crate::floor::{Floor, read_floor};
use crate::frame::{Draft, MAX_FRAME, Stamp};
use crate::identity::{Identity, read_identity};
use crate::index::Index;
use crate::mark::{self, Ending, read_ending};
use crate::options::{MIN_SEGMENT, Options};
use crate::outline::Outline;
use crate::planted::{Defect, is_planted};
use crate::recovery::{Missing, Recovered, read, recover};
use crate::segment::SEGMENT_HEADER;
use crate::shared_index::SharedIndex;

/// Bytes that are read and written again at once.
const REWRITTEN_AT_ONCE: u64 = 1 << 20;

impl Journal {
    /// Opens the journal in this directory, or creates it, as [`Self::on`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Files::open`] and [`Self::on`].
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        Self::on(Files::open(path)?, options)
    }
}

impl<D: Disk> Journal<D> {
    /// Opens the journal on this disk, or creates one if it is empty, and claims it: what an earlier owner was about to
    /// commit is either part of it or never will be. All that [`rows`](Self::rows) then shows is durable.
    ///
    /// # Errors
    ///
    /// [`OpenError::Version`]; [`StoreError::Corrupt`] if a commit is damaged that was durable, with nothing changed;
    /// [`StoreError::Full`] if there is no space for the claim, not even in the reserve; [`StoreError::Failed`].
    pub fn on(disk: D, options: Options) -> Result<Self, OpenError> {
        Self::adopt(disk, options, Missing::IsDamage)
    }

    /// Opens the journal; for a repair, also if its first segments or its last commits are missing.
    pub(crate) fn adopt(mut disk: D, options: Options, missing: Missing) -> Result<Self, OpenError> {
        let identity = read_identity(&mut disk)?;
        let store = identity.unwrap_or(options.store);
        let floor = read_floor(&mut disk, store)?;
        let is_ignored = missing == Missing::IsAccepted || is_planted(Defect::FloorIgnored);
        let answered = if is_ignored { 0 } else { floor.sequence };
        let recovered = recover(&mut disk, store, answered, missing)?;
        let (ending, is_marked) = (read_ending(&mut disk)?, mark::length(&mut disk)?.is_some());
        if recovered.is_none() {
            identify(&mut disk, store, identity.is_some())?;
        }
        if floor.is_missing {
            disk.run(Effect::Create(File::Floor)).map_err(|error| failed("create", File::Floor, &error))?;
        }
        let segment_bytes = options.segment_bytes.clamp(MIN_SEGMENT, MAX_FRAME);
        let options = Options { segment_bytes, ..options };
        let is_torn = recovered.as_ref().is_some_and(|recovered| recovered.is_torn);
        let mut journal = Self::new(disk, options, store, floor, recovered);
        // A backup that is repaired stays one.
        let stays_backup = missing == Missing::IsAccepted && ending == Ending::Backup;
        journal.durability.is_marked = is_marked && !stays_backup;
        let is_told = !stays_backup && !is_planted(Defect::LossNotTold);
        journal.durability.lacks_commits = is_told && matches!(ending, Ending::OfMachine | Ending::Backup);
        journal.durability.is_backup = is_told && ending == Ending::Backup;
        if is_torn {
            journal.cut()?;
        }
        journal.harden(ending)?;
        journal.claim()?;
        if !journal.lacks_commits() {
            journal.mark()?;
        }
        Ok(journal)
    }

    fn new(disk: D, options: Options, store: u128, floor: Floor, recovered: Option<Recovered>) -> Self {
        let recovered = recovered.unwrap_or_else(|| Recovered {
            index: Index::default(),
            tail: Outline::new(store, 0),
            stamp: Stamp { sequence: 0, epoch: 0, oldest: 1 },
            is_followed: true,
            is_torn: false,
            obsolete: Vec::new(),
            lengths: BTreeMap::new(),
        });
        let prepared = recovered.lengths.get(&recovered.tail.segment()).copied().unwrap_or_default();
        Self {
            disk,
            options,
            store,
            index: SharedIndex::new(recovered.index),
            cleaning: Cleaning::default(),
            active: recovered.tail,
            prepared,
            is_sealed: recovered.is_followed,
            stamp: recovered.stamp,
            durability: Durability::default(),
            draft: Draft::default(),
            floor,
            lengths: recovered.lengths,
            obsolete: recovered.obsolete.into_iter().map(|number| (number, 0)).collect(),
            reserve: reserve::Reserve::default(),
            written: 0,
            is_failed: false,
        }
    }

    /// Cuts off what is behind a frame that the loss of power has torn: it would seem to continue a later frame.
    fn cut(&mut self) -> Result<(), StoreError> {
        let (file, len) = (File::Segment(self.active.segment()), self.active.end);
        self.run("truncate", file, Effect::Truncate { file, len })?;
        self.run("sync", file, Effect::Sync(file))?;
        self.prepared = len;
        self.lengths.insert(self.active.segment(), len);
        Ok(())
    }

    /// Makes durable what was read.
    ///
    /// An earlier owner may have ended between writing its last commit and the sync, or because the sync failed: what is
    /// read then is in the memory of the operating system only, and may count as written there. So it is written again.
    fn harden(&mut self, ending: Ending) -> Result<(), StoreError> {
        let Some((last, _)) = self.active.last.filter(|_| !is_planted(Defect::ToldBeforeDurable)) else {
            return Ok(());
        };
        let (floor, end) = (self.floor.sequence, self.active.end);
        let mut unsynced = self.active.frames().filter(|(_, header, _)| header.stamp.sequence > floor);
        let mut at = match ending {
            Ending::Clean | Ending::Backup => last,
            Ending::OfProcess | Ending::OfMachine => unsynced.next().map_or(last, |(at, ..)| at.min(last)),
        };
        drop(unsynced);
        if ending == Ending::Backup {
            // It was synced where it was made, but may have been copied again since.
            for number in self.lengths.keys().copied().collect::<Vec<_>>() {
                self.sync_file(File::Segment(number))?;
            }
        }
        let file = File::Segment(self.active.segment());
        self.rewrite(file, 0, SEGMENT_HEADER as u64)?;
        while at < end {
            let to = at.saturating_add(REWRITTEN_AT_ONCE).min(end);
            self.rewrite(file, at, to)?;
            at = to;
        }
        self.run("sync", file, Effect::Sync(file))?;
        self.run("sync", "the storage directory", Effect::SyncDirectory)
    }

    fn rewrite(&mut self, file: File, from: u64, to: u64) -> Result<(), StoreError> {
        let bytes = read(&mut self.disk, file, from, to.saturating_sub(from))?;
        self.run("write", file, Effect::Write { file, at: from, bytes: &bytes })
    }

    /// Begins a new epoch with an empty commit, which is durable.
    fn claim(&mut self) -> Result<(), StoreError> {
        self.stamp.epoch = self.stamp.epoch.saturating_add(1);
        self.find_reserve()?;
        self.write(|_| Ok(()))?;
        self.sync()?;
        self.keep_reserve()
    }
}

/// Writes the file that says which store this is, if nothing is durable yet. It may be there already, but in memory only.
fn identify(disk: &mut impl Disk, store: u128, is_there: bool) -> Result<(), StoreError> {
    let file = File::Identity;
    let doing =
        |error: io::Error| if is_full(&error) { StoreError::Full } else { failed("create", file, &error) };
    if !is_there {
        disk.run(Effect::Create(file)).map_err(doing)?;
    }
    let text = Identity::new(store).encode();
    disk.run(Effect::Write { file, at: 0, bytes: text.as_bytes() }).map_err(doing)?;
    disk.run(Effect::Sync(file)).map_err(doing)?;
    disk.run(Effect::SyncDirectory).map_err(doing)
}

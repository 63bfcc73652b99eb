//! Opens a journal: reads it back, makes what was read durable, and claims it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{Journal, reserve};
use crate::cleaning::Cleaning;
use crate::disk::{Disk, Effect, File};
use crate::error::{OpenError, StoreError, failed, is_full};
use crate::files::Files;
use crate::floor::{Floor, read_floor};
use crate::frame::{Draft, MAX_FRAME, Stamp};
use crate::identity::{Identity, read_identity};
use crate::index::Index;
use crate::options::{MIN_SEGMENT, Options};
use crate::outline::Outline;
use crate::planted::{Defect, is_planted};
use crate::recovery::{Missing, Recovered, read, recover};
use crate::segment::SEGMENT_HEADER;

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
        if recovered.is_none() {
            identify(&mut disk, store, identity.is_some())?;
        }
        if floor.is_missing {
            disk.run(Effect::Create(File::Floor)).map_err(|error| failed("create", File::Floor, &error))?;
        }
        let segment_bytes = options.segment_bytes.clamp(MIN_SEGMENT, MAX_FRAME);
        let options = Options { segment_bytes, ..options };
        let mut journal = Self::new(disk, options, store, floor, recovered);
        journal.harden()?;
        journal.claim()?;
        Ok(journal)
    }

    fn new(disk: D, options: Options, store: u128, floor: Floor, recovered: Option<Recovered>) -> Self {
        let recovered = recovered.unwrap_or_else(|| Recovered {
            index: Index::default(),
            tail: Outline::new(store, 0),
            stamp: Stamp { sequence: 0, epoch: 0, oldest: 1 },
            is_followed: true,
            obsolete: Vec::new(),
            lengths: BTreeMap::new(),
        });
        Self {
            disk,
            options,
            store,
            index: recovered.index,
            cleaning: Cleaning::default(),
            active: recovered.tail,
            is_sealed: recovered.is_followed,
            stamp: recovered.stamp,
            draft: Draft::default(),
            floor,
            lengths: recovered.lengths,
            obsolete: recovered.obsolete,
            reserve: reserve::Reserve::default(),
            written: 0,
            is_failed: false,
        }
    }

    /// Makes durable what was read.
    ///
    /// An earlier owner may have ended between writing its last commit and the sync, or because the sync failed: what is
    /// read then is in the memory of the operating system only, and may count as written there. So it is written again.
    fn harden(&mut self) -> Result<(), StoreError> {
        let Some((at, header)) = self.active.last.filter(|_| !is_planted(Defect::ToldBeforeDurable)) else {
            return Ok(());
        };
        let file = File::Segment(self.active.segment());
        let front = read(&mut self.disk, file, 0, SEGMENT_HEADER as u64)?;
        let frame = read(&mut self.disk, file, at, header.frame_bytes())?;
        self.run("write", file, Effect::Write { file, at: 0, bytes: &front })?;
        self.run("write", file, Effect::Write { file, at, bytes: &frame })?;
        self.run("sync", file, Effect::Sync(file))?;
        self.run("sync", "the storage directory", Effect::SyncDirectory)
    }

    /// Begins a new epoch with an empty commit.
    fn claim(&mut self) -> Result<(), StoreError> {
        self.stamp.epoch = self.stamp.epoch.saturating_add(1);
        self.find_reserve()?;
        self.commit(&[])?;
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

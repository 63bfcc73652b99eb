//! The journal: rows in a directory, which commits change as a whole or not at all.

use std::collections::BTreeMap;
use std::io;

use crate::cleaning::{Cleaning, Moves, Moving};
use crate::disk::{Disk, Effect, File};
use crate::error::{Damage, StoreError, failed, is_full};
use crate::files::Files;
use crate::floor::Floor;
use crate::frame::{Draft, HEADER, MAX_FRAME, Stamp, TooLong};
use crate::index::MAX_SEGMENT;
use crate::op::Op;
use crate::options::{Options, Syncing};
use crate::outline::Outline;
use crate::planted::{Defect, is_planted};
use crate::reader::Reader;
use crate::recovery::corrupt;
use crate::segment::{FORMAT, SegmentHeader};
use crate::shared_index::SharedIndex;

mod ahead;
mod durability;
mod opening;
mod reserve;
mod rows;
mod tending;

use durability::Durability;

/// An open journal.
///
/// It belongs to one thread: [`commit`](Self::commit) returns when the commit is durable, or, if commits are synced
/// [on demand](crate::Syncing::OnDemand), when it survives the end of the process. Memory: 24 to 48 bytes a row of records,
/// 50 to 80 bytes another row, the length of each key above 22 bytes, 42 bytes for each row of records until they were [read
/// back](Self::read_back), the outline of the segment that is being written (a seventh of it with rows of
/// 200 bytes in commits of their own), and twice the longest commit.
#[derive(Debug)]
pub struct Journal<D = Files> {
    disk: D,
    options: Options,
    store: u128,
    index: SharedIndex,
    cleaning: Cleaning,
    /// The segment that is being written.
    active: Outline,
    /// Up to where its file is written, with what is ahead of its frames.
    prepared: u64,
    /// Whether the next frame begins a new segment in any case.
    is_sealed: bool,
    /// The last commit's.
    stamp: Stamp,
    durability: Durability,
    draft: Draft,
    floor: Floor,
    lengths: BTreeMap<u64, u64>,
    /// Segments that are not needed any more once the commit with this sequence is durable.
    obsolete: Vec<(u64, u64)>,
    reserve: reserve::Reserve,
    /// The bytes of all commits since the directory was opened.
    written: u64,
    is_failed: bool,
}

/// What is [shown](Journal::read_back) of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// Its head.
    Head(&'a [u8]),
    /// Its value.
    Value(&'a [u8]),
}

/// What a journal consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// How many rows there are.
    pub rows: usize,
    /// The bytes of these rows, with their keys and what the journal adds to each.
    pub live_bytes: u64,
    /// The segments that are needed.
    pub segments: usize,
    /// The bytes of these segments.
    pub bytes: u64,
    /// The sequence of the last commit.
    pub sequence: u64,
    /// How often the directory was opened, this time included.
    pub epoch: u64,
    /// The bytes that commits wrote since the directory was opened, with what they moved.
    pub written_bytes: u64,
    /// The bytes of rows that were moved since the directory was opened, so that segments can be removed.
    pub moved_bytes: u64,
    /// Whether there is no space but what is left of the reserve: what brings more should be refused.
    pub is_full: bool,
}

impl<D: Disk> Journal<D> {
    /// Makes these operations durable, all or none. Takes as long as the disk, unless commits are synced
    /// [on demand](crate::Syncing::OnDemand).
    ///
    /// With them it moves up to twice the bytes that earlier commits brought (see [`MOVED_PER_BROUGHT`](crate::MOVED_PER_BROUGHT)).
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`], [`StoreError::Full`] and [`StoreError::TooLong`] change nothing. After
    /// [`StoreError::Failed`] and [`StoreError::Corrupt`] the journal accepts no more commits.
    pub fn commit(&mut self, ops: &[Op<'_>]) -> Result<(), StoreError> {
        self.transact(|draft| {
            for op in ops {
                match *op {
                    Op::Put { key, head, value } => draft.put(key, head, value)?,
                    Op::Remove { key } => draft.remove(key)?,
                    Op::Trim { topic, from, to } => draft.trim(topic, from, to),
                }
            }
            Ok(())
        })
    }

    /// Commits what `fill` drafts.
    fn transact(&mut self, fill: impl FnOnce(&mut Draft) -> Result<(), TooLong>) -> Result<(), StoreError> {
        self.write(fill)?;
        self.make_up()
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_failed {
            let error = io::Error::other(
                "the storage directory failed before; start again to read back what is durable",
            );
            return Err(StoreError::Failed(error));
        }
        Ok(())
    }

    /// Writes what `fill` drafts, and makes it durable if each commit is.
    fn write(&mut self, fill: impl FnOnce(&mut Draft) -> Result<(), TooLong>) -> Result<(), StoreError> {
        self.check()?;
        if !self.disk.is_ours() {
            return Err(StoreError::Fenced);
        }
        let moves = self.draft_moves()?;
        let before = self.draft.content_bytes();
        fill(&mut self.draft).map_err(too_long)?;
        let brought = self.draft.content_bytes().saturating_sub(before);
        let oldest = self.cleaning.oldest(&self.index.read(), self.active.segment().max(1));
        let stamp = Stamp { sequence: self.stamp.sequence.saturating_add(1), oldest, ..self.stamp };
        loop {
            match self.append(stamp) {
                Err(StoreError::Full) if self.make_room()? => {}
                other => break other?,
            }
        }
        self.cleaning.moved(moves, brought);
        self.index.write().forget_below(oldest);
        while let Some(first) = self.lengths.first_entry().filter(|first| *first.key() < oldest) {
            self.obsolete.push((first.remove_entry().0, stamp.sequence));
        }
        Ok(())
    }

    /// Drafts a frame with what is moved.
    fn draft_moves(&mut self) -> Result<Moves, StoreError> {
        self.draft.clear();
        let (rows, moves) = self.cleaning.plan(&self.index.read());
        let mut reader = Reader::default();
        for Moving { key, head, place } in rows {
            let value =
                reader.row(&mut self.disk, key.as_slice(), place).inspect_err(|_| self.is_failed = true)?;
            self.draft.put(key.as_slice(), &head, &[value]).map_err(too_long)?;
        }
        Ok(moves)
    }

    /// Writes what is drafted, and applies it once it is as durable as it has to be.
    fn append(&mut self, stamp: Stamp) -> Result<(), StoreError> {
        if self.draft.frame_bytes() > MAX_FRAME {
            return Err(StoreError::TooLong);
        }
        let end = self.active.end.saturating_add(self.draft.frame_bytes());
        let is_new = self.is_sealed || (self.active.last.is_some() && end > self.options.segment_bytes);
        let started = if is_new { Some(self.start_segment(stamp.sequence)?) } else { None };
        let site = started.as_ref().unwrap_or(&self.active).site();
        let file = File::Segment(site.segment);
        let (header, frame) = self.draft.finish(site, stamp).map_err(too_long)?;
        let encoded = frame.get(..HEADER).unwrap_or_default().to_vec();
        let written = self.disk.run(Effect::Write { file, at: site.at, bytes: frame });
        match self.checked("write", file, written) {
            Err(StoreError::Full) if is_planted(Defect::NoSpaceIgnored) => {}
            written => written?,
        }
        if is_new {
            self.prepared = 0;
        }
        self.write_ahead(file, site.at)?;
        if is_planted(Defect::RemovedTooEarly) {
            for number in self.lengths.range(..stamp.oldest).map(|(number, _)| *number) {
                self.disk.run(Effect::Remove(File::Segment(number))).map_err(StoreError::Failed)?;
            }
        }
        // So only frames behind the first one of the last segment can be torn.
        let is_synced = is_new || self.options.syncing == Syncing::EachCommit;
        if is_synced {
            self.sync_file(file)?;
        }
        if is_new && !is_planted(Defect::CreationNotSynced) {
            self.run("sync", "the storage directory", Effect::SyncDirectory)?;
        }
        if is_synced {
            self.durability.synced = stamp.sequence;
        }
        if let Some(started) = started {
            self.active = started;
            self.is_sealed = false;
        }
        let values = site.at.saturating_add(HEADER as u64);
        let table = self.draft.table();
        self.index
            .write()
            .apply(site.segment, values, table)
            .map_err(|_| corrupt(site.segment, site.at, Damage::Malformed))?;
        self.active.push(header, &encoded, table);
        self.written = self.written.saturating_add(self.draft.frame_bytes());
        self.lengths.insert(site.segment, self.active.end);
        self.stamp = stamp;
        Ok(())
    }

    /// Ends the segment that is being written, and creates the next one.
    fn start_segment(&mut self, first: u64) -> Result<Outline, StoreError> {
        if !is_planted(Defect::SegmentNotSynced) {
            self.sync()?;
        }
        let number = self.active.segment();
        if !self.is_sealed {
            let file = File::Segment(number);
            let mut len = self.active.end;
            if self.active.is_worth_it() {
                let outline = self.active.encode();
                self.run("write", file, Effect::Write { file, at: len, bytes: &outline })?;
                len = len.saturating_add(outline.len() as u64);
                self.lengths.insert(number, len);
            }
            // The outline is looked for at the end of the file.
            if self.prepared > len {
                self.run("truncate", file, Effect::Truncate { file, len })?;
                self.prepared = len;
            }
        }
        // The next segment may exist from here on, even if there is no space for it. A frame in this one would contradict
        // the next one's header.
        self.is_sealed = true;
        let next = number.saturating_add(1);
        if next > MAX_SEGMENT {
            let error =
                io::Error::other("the journal has as many segments as it may have; copy what lives in it");
            return Err(StoreError::Failed(error));
        }
        let file = File::Segment(next);
        self.run("create", file, Effect::Create(file))?;
        let header = SegmentHeader { format: FORMAT, store: self.store, segment: next, first };
        self.run("write", file, Effect::Write { file, at: 0, bytes: &header.encode() })?;
        Ok(Outline::new(self.store, next))
    }

    fn sync_file(&mut self, file: File) -> Result<(), StoreError> {
        let mut synced = self.disk.run(Effect::Sync(file));
        if synced.is_err() && is_planted(Defect::SyncErrorForgotten) {
            synced = self.disk.run(Effect::Sync(file));
        }
        // No space now would mean that earlier writes are lost, as after any other error.
        synced.map_err(|error| {
            self.is_failed = true;
            self.doubt_mark();
            failed("sync", file, &error)
        })
    }

    fn run(
        &mut self,
        doing: &str,
        what: impl core::fmt::Display,
        effect: Effect<'_>,
    ) -> Result<(), StoreError> {
        if let Effect::Sync(file) = effect {
            return self.sync_file(file);
        }
        let done = self.disk.run(effect);
        self.checked(doing, what, done)
    }

    /// No space is an error like another for a sync, but leaves a write to be repeated.
    fn checked(
        &mut self,
        doing: &str,
        what: impl core::fmt::Display,
        done: io::Result<()>,
    ) -> Result<(), StoreError> {
        done.map_err(|error| {
            if is_full(&error) {
                return StoreError::Full;
            }
            self.is_failed = true;
            failed(doing, what, &error)
        })
    }

    /// Shows all rows, in the order of their keys.
    ///
    /// # Errors
    ///
    /// What `show` returns; [`StoreError::Corrupt`] if a row does not have its checksum.
    pub fn rows<E: From<StoreError>>(
        &mut self,
        mut show: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = Reader::default();
        for (key, place) in self.index.read().rows() {
            show(key.as_slice(), reader.row(&mut self.disk, key.as_slice(), place)?)?;
        }
        Ok(())
    }

    /// Shows all rows, in the order of their keys: of those that were stored with a head first that, and the value if `show`
    /// returns that it wants it; what it returns for a value is ignored. Only the first time after the journal was opened are
    /// heads shown, and none of an empty value; then the values that nobody wants are not read.
    ///
    /// # Errors
    ///
    /// What `show` returns; [`StoreError::Corrupt`] if a value that is wanted does not have its checksum.
    pub fn read_back<E: From<StoreError>>(
        &mut self,
        mut show: impl FnMut(&[u8], Shown<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (mut reader, mut next) = (Reader::default(), 0);
        let index = self.index.read();
        for (key, place) in index.rows() {
            let key = key.as_slice();
            if let Some(head) = index.head(place, &mut next)
                && !show(key, Shown::Head(head))?
            {
                continue;
            }
            let _ = show(key, Shown::Value(reader.row(&mut self.disk, key, place)?))?;
        }
        drop(index);
        self.index.write().forget_heads();
        Ok(())
    }

    /// The value of a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if it does not have its checksum, [`StoreError::Failed`] if it cannot be read.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut reader = Reader::default();
        let place = self.index.read().get(key);
        place.map(|place| reader.row(&mut self.disk, key, place).map(<[u8]>::to_vec)).transpose()
    }

    /// What the journal consists of.
    pub fn info(&self) -> Info {
        let index = self.index.read();
        Info {
            rows: index.len(),
            live_bytes: index.total().live,
            segments: self.lengths.len(),
            bytes: self.lengths.values().fold(0, |sum, len| sum.saturating_add(*len)),
            sequence: self.stamp.sequence,
            epoch: self.stamp.epoch,
            written_bytes: self.written,
            moved_bytes: self.cleaning.moved_bytes(),
            is_full: self.is_full(),
        }
    }

    /// The disk, to look at.
    #[cfg(test)]
    pub(crate) const fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// The disk.
    pub fn into_disk(self) -> D {
        self.disk
    }
}

fn too_long(_: TooLong) -> StoreError {
    StoreError::TooLong
}

//! Space that is kept so that a full disk can still be freed.
//!
//! A journal that cannot write cannot free anything either: what removes rows is a commit, too. So a commit that meets a
//! full disk gets a piece of the reserve, or as many as it needs, and [`Info::is_full`](crate::Info::is_full) says from then
//! on that what brings more should be refused. The rest stays out of the reach of whoever else fills the disk. When there is
//! space, the reserve is written again.

use core::time::Duration;
use std::io;

use super::Journal;
use crate::disk::{Disk, Effect, File};
use crate::error::{StoreError, failed, is_full};
use crate::planted::{Defect, is_planted};
use crate::recovery::segments;

/// The least time between two attempts to write what is missing of the reserve.
const RETRY: Duration = Duration::from_secs(1);
/// The reserve is given back in this many pieces.
const PIECES: u64 = 8;
const BLOCK: u64 = 1 << 20;

/// What there is of the reserve.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// Its bytes.
    len: u64,
    /// What it should have.
    wanted: u64,
    tried: Option<Duration>,
}

impl Reserve {
    pub(super) const fn is_missing(&self) -> bool {
        self.len < self.wanted
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }
}

impl<D: Disk> Journal<D> {
    /// Finds out how much of the reserve there is already.
    pub(super) fn find_reserve(&mut self) -> Result<(), StoreError> {
        let files = self.disk.files().map_err(|error| failed("list", "the storage directory", &error))?;
        let len = files.iter().find(|(file, _)| *file == File::Reserve).map_or(0, |(_, len)| *len);
        (self.reserve.len, self.reserve.wanted) = (len, self.options.reserve_bytes);
        Ok(())
    }

    /// Frees some space. Returns whether it did.
    pub(super) fn make_room(&mut self) -> Result<bool, StoreError> {
        if !self.obsolete.is_empty() {
            self.sync()?;
        }
        if self.remove_obsolete()? {
            return Ok(true);
        }
        let len = self.reserve.len;
        if len == 0 {
            return Ok(false);
        }
        let piece = self.reserve.wanted.max(len).div_ceil(PIECES);
        self.shorten_reserve(len.saturating_sub(piece))?;
        Ok(true)
    }

    /// Does something that needs little space, from the reserve if there is none besides.
    pub(super) fn run_from_reserve(
        &mut self,
        doing: &str,
        file: File,
        effect: Effect<'_>,
    ) -> Result<(), StoreError> {
        loop {
            match self.run(doing, file, effect) {
                Err(StoreError::Full) if self.make_room()? => {}
                other => return other,
            }
        }
    }

    /// Writes what is missing of the reserve, if it was not tried just now.
    pub(super) fn restore_reserve(&mut self, now: Duration) -> Result<(), StoreError> {
        let is_due = self.reserve.tried.is_none_or(|tried| now.saturating_sub(tried) >= RETRY);
        if !self.reserve.is_missing() || !is_due || is_planted(Defect::ReserveNotRestored) {
            return Ok(());
        }
        self.reserve.tried = Some(now);
        self.keep_reserve()
    }

    /// Writes what is missing of the reserve, as far as there is space, and cuts off what is too much.
    pub(super) fn keep_reserve(&mut self) -> Result<(), StoreError> {
        if self.reserve.len > self.reserve.wanted {
            self.shorten_reserve(self.reserve.wanted)?;
        }
        while self.reserve.is_missing() {
            match self.write_piece() {
                Ok(len) => self.reserve.len = len,
                Err(error) if is_full(&error) => {
                    // What could be written of a piece would be missing elsewhere.
                    return self.shorten_reserve(self.reserve.len);
                }
                Err(error) => {
                    self.is_failed = true;
                    return Err(failed("write", File::Reserve, &error));
                }
            }
        }
        Ok(())
    }

    /// Returns how long the reserve is with one more piece.
    fn write_piece(&mut self) -> io::Result<u64> {
        let (file, wanted) = (File::Reserve, self.reserve.wanted);
        let mut at = self.reserve.len;
        if at == 0 {
            self.disk.run(Effect::Create(file))?;
        }
        let to = at.saturating_add(wanted.div_ceil(PIECES)).min(wanted);
        let block = noise(usize::try_from(to.saturating_sub(at).min(BLOCK)).unwrap_or_default());
        while at < to {
            let part = to.saturating_sub(at).min(BLOCK);
            let bytes = block.get(..usize::try_from(part).unwrap_or_default()).unwrap_or_default();
            self.disk.run(Effect::Write { file, at, bytes })?;
            at = at.saturating_add(part);
        }
        self.disk.run(Effect::Sync(file))?;
        Ok(to)
    }

    fn shorten_reserve(&mut self, len: u64) -> Result<(), StoreError> {
        let file = File::Reserve;
        self.reserve.len = len;
        if len > 0 {
            return self.run("truncate", file, Effect::Truncate { file, len });
        }
        match self.disk.run(Effect::Remove(file)) {
            // It may be that not even that could be created.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => self.checked("remove", file, done),
        }
    }

    /// The bytes that the directory occupies, with segments that are not removed yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    pub fn directory_bytes(&mut self) -> Result<u64, StoreError> {
        Ok(segments(&mut self.disk)?.values().fold(0, |sum, len| sum.saturating_add(*len)))
    }
}

/// Bytes that a file system which compresses cannot leave out.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while bytes.len() < len {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

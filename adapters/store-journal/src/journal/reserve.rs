//! Space that is kept so that a full disk can still be freed.
//!
//! A journal that cannot write cannot free anything either: what removes rows is a commit, too. So the first commit that
//! meets a full disk gets the reserve, and [`Info::is_full`](crate::Info::is_full) says from then on that what brings more
//! should be refused. When there is space again, the reserve is written again.

use core::time::Duration;

use super::Journal;
use crate::disk::{Disk, Effect, File};
use crate::error::{StoreError, failed, is_full};
use crate::recovery::segments;

/// The least time between two attempts to write the reserve.
const RETRY: Duration = Duration::from_secs(1);
/// The reserve is given to a commit that brings at most this part of it.
const SHARE: u64 = 8;
const BLOCK: u64 = 1 << 20;

/// Whether there is a reserve.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// Whether it has been given back.
    is_given: bool,
    tried: Option<Duration>,
}

impl Reserve {
    pub(super) const fn is_missing(&self) -> bool {
        self.is_given
    }
}

impl<D: Disk> Journal<D> {
    /// Finds out whether there is a reserve already.
    pub(super) fn find_reserve(&mut self) -> Result<(), StoreError> {
        let files = self.disk.files().map_err(|error| failed("list", "the storage directory", &error))?;
        let len = files.iter().find(|(file, _)| *file == File::Reserve).map_or(0, |(_, len)| *len);
        self.reserve.is_given = len < self.options.reserve_bytes;
        Ok(())
    }

    /// Frees space for a commit of `brought` bytes. Returns whether it did.
    pub(super) fn make_room(&mut self, brought: u64) -> Result<bool, StoreError> {
        if !self.obsolete.is_empty() {
            self.sync()?;
        }
        if self.remove_obsolete()? {
            return Ok(true);
        }
        if self.reserve.is_given
            || self.options.reserve_bytes == 0
            || brought > self.options.reserve_bytes / SHARE
        {
            return Ok(false);
        }
        self.reserve.is_given = true;
        self.run("remove", File::Reserve, Effect::Remove(File::Reserve))?;
        Ok(true)
    }

    /// Writes the reserve again, if it was given back and there is space.
    pub(super) fn restore_reserve(&mut self, now: Duration) -> Result<(), StoreError> {
        let is_due = self.reserve.tried.is_none_or(|tried| now.saturating_sub(tried) >= RETRY);
        if !self.reserve.is_given || !is_due {
            return Ok(());
        }
        self.reserve.tried = Some(now);
        self.keep_reserve()
    }

    /// Writes the reserve, unless there is no space for it.
    pub(super) fn keep_reserve(&mut self) -> Result<(), StoreError> {
        if !self.reserve.is_given {
            return Ok(());
        }
        match self.write_reserve() {
            Ok(()) => self.reserve.is_given = false,
            Err(error) if is_full(&error) => {
                // What could be written of it would be missing elsewhere.
                self.run("remove", File::Reserve, Effect::Remove(File::Reserve))?;
            }
            Err(error) => {
                self.is_failed = true;
                return Err(failed("write", File::Reserve, &error));
            }
        }
        Ok(())
    }

    fn write_reserve(&mut self) -> std::io::Result<()> {
        let file = File::Reserve;
        let len = self.options.reserve_bytes;
        self.disk.run(Effect::Create(file))?;
        let block = vec![0; usize::try_from(len.min(BLOCK)).unwrap_or_default()];
        let mut at = 0_u64;
        while at < len {
            let part = len.saturating_sub(at).min(BLOCK);
            let bytes = block.get(..usize::try_from(part).unwrap_or_default()).unwrap_or_default();
            self.disk.run(Effect::Write { file, at, bytes })?;
            at = at.saturating_add(part);
        }
        self.disk.run(Effect::Sync(file))
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

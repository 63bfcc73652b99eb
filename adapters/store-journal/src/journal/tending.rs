//! What need not be done while a commit waits: the floor, cleaning, and files that are not needed any more.

use core::time::Duration;
use std::io;

use super::Journal;
use crate::disk::{Disk, Effect, File};
use crate::error::{StoreError, failed};
use crate::planted::{Defect, is_planted};
use crate::recovery::outline;

impl<D: Disk> Journal<D> {
    /// Does what need not be done while a commit waits: raises the floor, removes a segment, prepares cleaning, restores the
    /// reserve, and without it goes on with cleaning. Each call does at most one of each. To be called after each commit, and
    /// now and then if there is none.
    ///
    /// `now` is the time since any fixed moment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`]; [`StoreError::Failed`] and [`StoreError::Corrupt`], after which the journal accepts no more
    /// commits.
    pub fn tend(&mut self, now: Duration) -> Result<(), StoreError> {
        if self.is_failed {
            return Ok(());
        }
        let durable =
            if is_planted(Defect::FloorTooHigh) { self.stamp.sequence } else { self.durability.synced };
        if let Some((at, slot)) = self.floor.raise(self.store, durable, now) {
            let file = File::Floor;
            match self.run("write", file, Effect::Write { file, at, bytes: &slot }) {
                // The floor stays lower than it could be.
                Err(StoreError::Full) => {}
                other => other.and_then(|()| self.run("sync", file, Effect::Sync(file)))?,
            }
        }
        self.remove_obsolete()?;
        let (active, is_full) = (self.active.segment(), self.is_full());
        let wanted = if is_full {
            self.cleaning.wants_space(&self.index.read(), active, self.reserve.len())
        } else {
            self.cleaning.wants(&self.index.read(), active, self.options.segment_bytes)
        };
        if let Some(number) = wanted {
            let len = self.lengths.get(&number).copied().unwrap_or(0);
            let found =
                outline(&mut self.disk, self.store, number, len).inspect_err(|_| self.is_failed = true)?;
            self.cleaning.start(&found.1, &self.index.read());
        } else {
            self.cleaning.rest();
        }
        if is_full || self.holds_freed_segments() {
            self.free_space()?;
        }
        self.restore_reserve(now)
    }

    /// Whether segments in which nothing lives stay until the next commit, which may never come. One of them does after many
    /// a commit, and the next one frees it.
    fn holds_freed_segments(&self) -> bool {
        let oldest = self.cleaning.oldest(&self.index.read(), self.active.segment().max(1));
        oldest > self.stamp.oldest.saturating_add(1) && !self.cleaning.is_under_way()
    }

    /// Goes on with cleaning, although nothing may be committed that pays for it.
    fn free_space(&mut self) -> Result<(), StoreError> {
        if self.is_full() {
            self.cleaning.hurry();
        }
        let oldest = self.cleaning.oldest(&self.index.read(), self.active.segment().max(1));
        if !self.cleaning.is_under_way() && oldest == self.stamp.oldest {
            return Ok(());
        }
        match self.transact(|_| Ok(())) {
            // It was not the time for it.
            Err(StoreError::Full) => Ok(()),
            // A segment is removed when what replaced it is synced.
            other => other.and_then(|()| self.sync()),
        }
    }

    /// Removes a segment that is not needed any more, even if the machine ends.
    pub(super) fn remove_obsolete(&mut self) -> Result<bool, StoreError> {
        let is_durable =
            |since: u64| since <= self.durability.synced || is_planted(Defect::RemovedBeforeSync);
        let Some(place) = self.obsolete.iter().rposition(|(_, since)| is_durable(*since)) else {
            return Ok(false);
        };
        let (number, _) = self.obsolete.swap_remove(place);
        let file = File::Segment(number);
        match self.disk.run(Effect::Remove(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.is_failed = true;
                Err(failed("remove", file, &error))
            }
            _ => Ok(true),
        }
    }
}

//! Which commits are durable although the machine ends, and the mark that says whether all are.

use core::time::Duration;

use super::Journal;
use crate::disk::{Disk, Effect, File};
use crate::error::StoreError;
use crate::floor::FLOOR_INTERVAL;
use crate::mark::encode;
use crate::options::Syncing;

/// What is durable although the machine ends.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// The sequence of the last commit that is.
    pub(super) synced: u64,
    /// Whether the mark exists.
    pub(super) is_marked: bool,
    pub(super) lacks_commits: bool,
    /// Whether they are missing because this is a copy.
    pub(super) is_backup: bool,
}

impl<D: Disk> Journal<D> {
    /// Makes every commit durable. Takes as long as the disk; without a commit since the last call it does nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`], after which the journal accepts no more commits.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.durability.synced < self.stamp.sequence {
            self.sync_file(File::Segment(self.active.segment()))?;
            self.durability.synced = self.stamp.sequence;
        }
        Ok(())
    }

    /// Whether the last commits may be missing here although they were reported, because the machine of an earlier owner ended
    /// before all were synced, or because this is a [backup](Self::is_backup): what clients know of them is to become void. The first commit is durable when it
    /// returns, and is what does that: until then, each opening finds the same.
    pub const fn lacks_commits(&self) -> bool {
        self.durability.lacks_commits
    }

    /// Whether the directory is a [copy](crate::backup()) of another, whose owner went on; then it
    /// [lacks commits](Self::lacks_commits).
    pub const fn is_backup(&self) -> bool {
        self.durability.is_backup
    }

    /// A clean end: makes every commit durable, and does what is to be [tended](Self::tend), at the same `now`.
    ///
    /// # Errors
    ///
    /// Those of [`tend`](Self::tend) and [`sync`](Self::sync).
    pub fn close(&mut self, now: Duration) -> Result<(), StoreError> {
        self.sync()?;
        // The floor is due, however short ago it was written: a check then finds damage in the last commit, too.
        self.tend(now.saturating_add(FLOOR_INTERVAL))?;
        if self.durability.lacks_commits { Ok(()) } else { self.unmark() }
    }

    /// A commit was made. If it is to make up for those that are missing, it is durable from here on, and the mark no longer
    /// says so.
    pub(super) fn make_up(&mut self) -> Result<(), StoreError> {
        if self.durability.lacks_commits {
            self.sync()?;
            self.mark()?;
            (self.durability.lacks_commits, self.durability.is_backup) = (false, false);
        }
        Ok(())
    }

    /// Everything is durable: from now on the mark says whether all later commits are.
    pub(super) fn mark(&mut self) -> Result<(), StoreError> {
        match self.options.syncing {
            Syncing::EachCommit => self.unmark(),
            Syncing::OnDemand => {
                let text = encode(self.disk.boot());
                let file = File::Unsynced;
                self.durability.is_marked = true;
                self.run_from_reserve("create", file, Effect::Create(file))?;
                self.run_from_reserve("write", file, Effect::Write { file, at: 0, bytes: text.as_bytes() })?;
                self.run("sync", file, Effect::Sync(file))?;
                self.run("sync", "the storage directory", Effect::SyncDirectory)
            }
        }
    }

    fn unmark(&mut self) -> Result<(), StoreError> {
        if !self.durability.is_marked {
            return Ok(());
        }
        let file = File::Unsynced;
        self.run("remove", file, Effect::Remove(file))?;
        self.run("sync", "the storage directory", Effect::SyncDirectory)?;
        self.durability.is_marked = false;
        Ok(())
    }

    /// A sync failed, so what was written before it may be gone although the machine goes on.
    pub(super) fn doubt_mark(&mut self) {
        if self.durability.is_marked {
            let text = encode(None);
            // If the disk takes nothing any more, nothing more can be said; a machine does not go on for long then.
            drop(self.disk.run(Effect::Write { file: File::Unsynced, at: 0, bytes: text.as_bytes() }));
        }
    }
}

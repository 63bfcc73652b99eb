//! Zeros that are written ahead of the end of the journal.
//!
//! A sync of a file that has grown stores its new length and where its new blocks are, too, which doubles its time. So with
//! a frame that would extend the file, zeros are written behind it, and the frames that follow are written over them. They
//! are no frames, so the journal ends before them all the same.

use super::Journal;
use crate::disk::{Disk, Effect, File};
use crate::error::StoreError;
use crate::options::Syncing;
use crate::planted::{Defect, is_planted};

/// The zeros that are written at once, at most.
const MAX_AHEAD: u64 = 1 << 20;
/// The part of a segment that they are, at most.
const SHARE: u64 = 8;
/// They are worth it for frames that are shorter than this part of them.
const FRAMES: u64 = 4;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl<D: Disk> Journal<D> {
    /// A frame was written here, and is not synced yet: if the file grew, zeros are written behind it. Without space for them,
    /// the next ones are tried as if they were there.
    pub(super) fn write_ahead(&mut self, file: File, at: u64) -> Result<(), StoreError> {
        let frame = self.draft.frame_bytes();
        let (end, segment) = (at.saturating_add(frame), self.options.segment_bytes);
        if end <= self.prepared {
            return Ok(());
        }
        let most = (segment / SHARE).min(MAX_AHEAD);
        // Where syncs are rare, it does not matter what they cost.
        let is_worth_it = frame < most / FRAMES && self.options.syncing == Syncing::EachCommit;
        let ahead = if is_worth_it { most.min(segment.saturating_sub(end)) } else { 0 };
        self.prepared = end.saturating_add(ahead);
        let mut at = if is_planted(Defect::AheadOfNothing) { at } else { end };
        while at < self.prepared {
            let len = usize::try_from(self.prepared.saturating_sub(at)).unwrap_or(usize::MAX);
            let bytes = ZEROS.get(..len).unwrap_or(&ZEROS);
            match self.run("write", file, Effect::Write { file, at, bytes }) {
                Err(StoreError::Full) => break,
                other => other?,
            }
            at = at.saturating_add(bytes.len() as u64);
        }
        Ok(())
    }
}

//! Gives up what is damaged.

use core::time::Duration;
use std::io;

use crate::disk::{Disk, Effect, File};
use crate::error::{Damage, OpenError, StoreError, failed};
use crate::floor::{Floor, read_floor};
use crate::identity::read_identity;
use crate::inspect::examine;
use crate::journal::Journal;
use crate::options::Options;
use crate::recovery::{Missing, outline, segments};
use crate::segment::SEGMENT_HEADER;

/// What a repair gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// Where the journal was cut off: this file and all later segments.
    pub file: File,
    /// What the file kept in bytes; 0 if it was removed.
    pub at: u64,
    /// The sequence of the last commit that is left; 0 if none is.
    pub sequence: u64,
    /// The highest sequence that is known to have been answered before; `u64::MAX` if an earlier repair was interrupted.
    pub floor: u64,
}

/// Cuts the journal off where it is damaged, so that it opens: the rest of that segment and all later ones are given up,
/// and rows that had been moved there with them. `None` if nothing was damaged, and nothing is changed.
///
/// What was answered may be among what is given up, so clients may know more than the rows have. `amend` commits to the
/// journal what has to change because of that. Until it has, the journal does not open ([`Damage::Cut`]), even if the
/// repair is interrupted; it can be repeated then.
///
/// # Errors
///
/// [`StoreError::Failed`]; [`StoreError::Corrupt`] if what is damaged is not a segment; what `amend` returns.
pub fn repair<D: Disk>(
    disk: &mut D,
    amend: impl FnOnce(&mut Journal<&mut D>) -> Result<(), StoreError>,
) -> Result<Option<Repair>, OpenError> {
    let Some(store) = read_identity(disk)? else { return Ok(None) };
    let floor = read_floor(disk, store)?;
    let mut found = examine(disk, store, floor.sequence, Missing::IsDamage);
    let mut place = None;
    while let Err(error) = found {
        let StoreError::Corrupt { file: file @ File::Segment(segment), at, damage } = error else {
            return Err(error.into());
        };
        if place.is_none() {
            begin(disk, store, floor)?;
        }
        place = Some((file, cut(disk, store, segment, at, damage)?));
        found = examine(disk, store, 0, Missing::IsAccepted);
    }
    let Some((file, at)) = place else { return Ok(None) };
    // The next commit no longer asks for segments that were removed because of commits that are given up.
    let options = Options { reserve_bytes: 0, ..Options::new(store) };
    let mut journal = Journal::adopt(&mut *disk, options, Missing::IsAccepted)?;
    let sequence = journal.info().sequence.saturating_sub(1);
    amend(&mut journal)?;
    drop(journal);
    end(disk)?;
    Ok(Some(Repair { file, at, sequence, floor: floor.sequence }))
}

/// From here on the journal does not open: the floor is above all that can be there.
fn begin(disk: &mut impl Disk, store: u128, mut floor: Floor) -> Result<(), StoreError> {
    if floor.is_missing {
        disk.run(Effect::Create(File::Floor)).map_err(refused)?;
    }
    if let Some((at, slot)) = floor.raise(store, u64::MAX, Duration::ZERO) {
        disk.run(Effect::Write { file: File::Floor, at, bytes: &slot }).map_err(refused)?;
        disk.run(Effect::Sync(File::Floor)).map_err(refused)?;
        disk.run(Effect::SyncDirectory).map_err(refused)?;
    }
    Ok(())
}

/// From here on the journal opens.
fn end(disk: &mut impl Disk) -> Result<(), StoreError> {
    disk.run(Effect::Create(File::Floor)).map_err(refused)?;
    disk.run(Effect::Sync(File::Floor)).map_err(refused)?;
    disk.run(Effect::SyncDirectory).map_err(refused)
}

/// Gives up what is behind this place. Returns where the segment ends now.
fn cut(disk: &mut impl Disk, store: u128, segment: u64, at: u64, damage: Damage) -> Result<u64, StoreError> {
    let lengths = segments(disk)?;
    let cut = match damage {
        // The frames are whole. Only later ones are missing.
        Damage::Cut => None,
        // A commit asks for a segment that is not there, before the first that is: nothing can be cut off.
        Damage::Missing if lengths.keys().next().is_some_and(|first| *first > segment) => None,
        Damage::Row => {
            Some(lengths.get(&segment).map_or(Ok(0), |&len| frame_with(disk, store, segment, len, at))?)
        }
        Damage::Identity
        | Damage::Header
        | Damage::OtherStore
        | Damage::Frame
        | Damage::Order
        | Damage::Malformed
        | Damage::Missing => Some(at),
    };
    if let Some(cut) = cut {
        // From the newest on, so that what is left is a beginning of the journal at any time.
        for (&number, _) in lengths.iter().rev().filter(|(number, _)| **number > segment) {
            disk.run(Effect::Remove(File::Segment(number))).map_err(refused)?;
            disk.run(Effect::SyncDirectory).map_err(refused)?;
        }
        let file = File::Segment(segment);
        if !lengths.contains_key(&segment) {
        } else if cut <= SEGMENT_HEADER as u64 {
            disk.run(Effect::Remove(file)).map_err(refused)?;
            return Ok(0);
        } else {
            disk.run(Effect::Truncate { file, len: cut }).map_err(refused)?;
            disk.run(Effect::Sync(file)).map_err(refused)?;
        }
    }
    Ok(cut.unwrap_or(at))
}

/// Where the frame begins that holds this byte.
fn frame_with(disk: &mut impl Disk, store: u128, number: u64, len: u64, at: u64) -> Result<u64, StoreError> {
    let outline = outline(disk, store, number, len)?.1;
    Ok(outline.frames().map(|(start, ..)| start).take_while(|start| *start <= at).last().unwrap_or(0))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn refused(error: io::Error) -> StoreError {
    failed("repair", "the storage directory", &error)
}

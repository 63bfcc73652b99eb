//! Looks at a directory that no broker uses.

use crate::disk::Disk;
use crate::error::{Damage, OpenError, StoreError};
use crate::floor::read_floor;
use crate::identity::read_identity;
use crate::mark::{Ending, read_ending};
use crate::reader::Reader;
use crate::recovery::{Missing, Recovered, corrupt, outline, read_segment, recover, segments};

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The store's id.
    pub store: u128,
    /// How many rows there are.
    pub rows: usize,
    /// The bytes of these rows, with their keys and what the journal adds to each.
    pub live_bytes: u64,
    /// The segments, also those that are not needed any more.
    pub segments: usize,
    /// The bytes of these segments, without what is behind the last commit.
    pub bytes: u64,
    /// The sequence of the last commit; 0 if there is none.
    pub sequence: u64,
    /// The highest sequence that is known to have been answered.
    pub floor: u64,
    /// Whether the next opening finds that the last commits [may be missing](crate::Journal::lacks_commits).
    pub lacks_commits: bool,
    /// Whether that is because it is a [copy](crate::backup()) of another directory.
    pub is_backup: bool,
}

/// Reads every byte of the directory and compares every checksum. Changes nothing.
///
/// # Errors
///
/// [`StoreError::Corrupt`] for the first damage that is found; those of [`Journal::on`](crate::Journal::on).
pub fn check(disk: &mut impl Disk) -> Result<Option<Report>, OpenError> {
    let Some(store) = read_identity(disk)? else { return Ok(None) };
    let floor = read_floor(disk, store)?.sequence;
    Ok(Some(examine(disk, store, floor, Missing::IsDamage)?))
}

/// Checks everything, if commits up to the sequence `floor` were answered.
pub(crate) fn examine(
    disk: &mut impl Disk,
    store: u128,
    floor: u64,
    missing: Missing,
) -> Result<Report, StoreError> {
    let lengths = segments(disk)?;
    let found = recover(disk, store, floor, missing)?;
    let ending = read_ending(disk)?;
    let mut report = Report {
        store,
        rows: 0,
        live_bytes: 0,
        segments: lengths.len(),
        bytes: lengths.values().fold(0, |sum, len| sum.saturating_add(*len)),
        sequence: 0,
        floor,
        lacks_commits: matches!(ending, Ending::OfMachine | Ending::Backup),
        is_backup: ending == Ending::Backup,
    };
    if let Some(found) = found {
        report.rows = found.index.len();
        report.live_bytes = found.index.total().live;
        report.sequence = found.stamp.sequence;
        report.bytes = report.bytes.saturating_sub(found.unused());
        check_frames(disk, store, &found)?;
        let mut reader = Reader::default();
        for (key, place) in found.index.rows() {
            reader.row(disk, key.as_slice(), place)?;
        }
    }
    Ok(report)
}

/// Every frame of a segment is there, also if an outline says where it is.
fn check_frames(disk: &mut impl Disk, store: u128, found: &Recovered) -> Result<(), StoreError> {
    let needed = found.lengths.iter().filter(|(number, _)| **number < found.tail.segment());
    for (&number, &len) in needed {
        let outlined = outline(disk, store, number, len)?.1;
        let read = read_segment(disk, store, number, len)?;
        if read.header.is_none() {
            return Err(corrupt(number, 0, Damage::Header));
        }
        if read.outline != outlined {
            return Err(corrupt(number, read.outline.end.min(outlined.end), Damage::Frame));
        }
    }
    Ok(())
}

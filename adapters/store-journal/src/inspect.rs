//! Looks at a directory that no broker uses, and gives up what is damaged.

use crate::disk::{Disk, Effect, File};
use crate::error::{Damage, OpenError, StoreError, failed};
use crate::floor::read_floor;
use crate::identity::read_identity;
use crate::journal::Journal;
use crate::options::Options;
use crate::reader::Reader;
use crate::recovery::{Missing, Recovered, corrupt, outline, read_segment, recover, segments};
use crate::segment::SEGMENT_HEADER;

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
    /// The bytes of these segments.
    pub bytes: u64,
    /// The sequence of the last commit; 0 if there is none.
    pub sequence: u64,
    /// The highest sequence that is known to have been answered.
    pub floor: u64,
}

/// Reads every byte of the directory and compares every checksum. Changes nothing.
///
/// # Errors
///
/// [`StoreError::Corrupt`] for the first damage that is found; those of [`Journal::on`](crate::Journal::on).
pub fn check(disk: &mut impl Disk) -> Result<Option<Report>, OpenError> {
    examine(disk, Missing::IsDamage)
}

fn examine(disk: &mut impl Disk, missing: Missing) -> Result<Option<Report>, OpenError> {
    let Some(store) = read_identity(disk)? else { return Ok(None) };
    let floor = read_floor(disk, store)?.sequence;
    let lengths = segments(disk)?;
    let found = recover(disk, store, floor, missing)?;
    let mut report = Report {
        store,
        rows: 0,
        live_bytes: 0,
        segments: lengths.len(),
        bytes: lengths.values().fold(0, |sum, len| sum.saturating_add(*len)),
        sequence: 0,
        floor,
    };
    if let Some(found) = found {
        report.rows = found.index.len();
        report.live_bytes = found.index.total().live;
        report.sequence = found.stamp.sequence;
        check_frames(disk, store, &found)?;
        let mut reader = Reader::default();
        for (key, place) in found.index.rows() {
            reader.row(disk, key, place)?;
        }
    }
    Ok(Some(report))
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

/// Shows all rows of a directory in the order of their keys, also if the journal would not open because its beginning or
/// its end is missing.
///
/// # Errors
///
/// What `show` returns; [`StoreError::Corrupt`] at the first row that is damaged; those of
/// [`Journal::on`](crate::Journal::on).
pub fn rows<E: From<OpenError>>(
    disk: &mut impl Disk,
    mut show: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(store) = read_identity(disk)? else { return Ok(()) };
    let found = recover(disk, store, 0, Missing::IsAccepted).map_err(OpenError::from)?;
    let mut reader = Reader::default();
    for (key, place) in found.iter().flat_map(|found| found.index.rows()) {
        let value = reader.row(disk, key, place).map_err(OpenError::from)?;
        show(key, value)?;
    }
    Ok(())
}

/// What a repair gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// Where the journal was cut off: this file and all later segments.
    pub file: File,
    /// What the file kept.
    pub at: u64,
    /// The sequence of the last commit that is left; 0 if none is.
    pub sequence: u64,
    /// The highest sequence that is known to have been answered before.
    pub floor: u64,
}

/// Cuts the journal off where it is damaged, so that it opens: the rest of that segment and all later ones are given up,
/// and rows that had been moved there with them. `None` if nothing was damaged, and nothing is changed.
///
/// # Errors
///
/// [`StoreError::Failed`]; [`StoreError::Corrupt`] if what is damaged is not a segment.
pub fn repair(disk: &mut impl Disk) -> Result<Option<Repair>, OpenError> {
    let mut repair = None;
    let Some(store) = read_identity(disk)? else { return Ok(None) };
    let floor = read_floor(disk, store)?.sequence;
    loop {
        match examine(disk, if repair.is_some() { Missing::IsAccepted } else { Missing::IsDamage }) {
            Ok(_) => break,
            Err(OpenError::Store(StoreError::Corrupt { file: File::Segment(segment), at, damage })) => {
                let at = cut(disk, store, segment, at, damage)?;
                repair = Some(Repair { file: File::Segment(segment), at, sequence: 0, floor });
            }
            Err(other) => return Err(other),
        }
    }
    let Some(repair) = repair else { return Ok(None) };
    // The next commit no longer asks for segments that were removed because of commits that are given up.
    let options = Options { reserve_bytes: 0, ..Options::new(store) };
    let info = Journal::adopt(disk, options, Missing::IsAccepted)?.info();
    Ok(Some(Repair { sequence: info.sequence.saturating_sub(1), ..repair }))
}

/// Gives up what is behind this place. Returns where the segment ends now.
fn cut(disk: &mut impl Disk, store: u128, segment: u64, at: u64, damage: Damage) -> Result<u64, StoreError> {
    let doing = |error| failed("repair", "the storage directory", &error);
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
            disk.run(Effect::Remove(File::Segment(number))).map_err(doing)?;
            disk.run(Effect::SyncDirectory).map_err(doing)?;
        }
        let file = File::Segment(segment);
        if !lengths.contains_key(&segment) {
        } else if cut <= SEGMENT_HEADER as u64 {
            disk.run(Effect::Remove(file)).map_err(doing)?;
        } else {
            disk.run(Effect::Truncate { file, len: cut }).map_err(doing)?;
            disk.run(Effect::Sync(file)).map_err(doing)?;
        }
    }
    disk.run(Effect::Create(File::Floor)).map_err(doing)?;
    disk.run(Effect::SyncDirectory).map_err(doing)?;
    Ok(cut.unwrap_or(at))
}

/// Where the frame begins that holds this byte.
fn frame_with(disk: &mut impl Disk, store: u128, number: u64, len: u64, at: u64) -> Result<u64, StoreError> {
    let outline = outline(disk, store, number, len)?.1;
    Ok(outline.frames().map(|(start, ..)| start).take_while(|start| *start <= at).last().unwrap_or(0))
}

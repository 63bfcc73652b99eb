//! Reads a directory back: which commits it holds, and where each row is.

use std::collections::BTreeMap;

use crate::disk::{Disk, File};
use crate::error::{Damage, StoreError, failed};
use crate::frame::{HEADER, Header, Stamp};
use crate::index::Index;
use crate::mark::{Ending, read_ending};
use crate::outline::{Outline, TRAILER, Trailer};
use crate::scan::{Scan, scan};
use crate::segment::{FORMAT, SEGMENT_HEADER, SegmentHeader};

/// What a directory holds.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// The last segment with a frame.
    pub(crate) tail: Outline,
    /// The last frame's.
    pub(crate) stamp: Stamp,
    /// Whether a segment without frames follows: its creation was interrupted.
    pub(crate) is_followed: bool,
    /// Whether frames follow in the last segment that the loss of power left behind a torn one: they are to be cut off.
    pub(crate) is_torn: bool,
    /// Segments that are not needed any more, but were not removed yet.
    pub(crate) obsolete: Vec<u64>,
    /// The lengths of the segments that are needed.
    pub(crate) lengths: BTreeMap<u64, u64>,
}

impl Recovered {
    /// The bytes behind the last frame of its segment: what was written ahead, or by a commit that was interrupted.
    pub(crate) fn unused(&self) -> u64 {
        let len = self.lengths.get(&self.tail.segment()).copied().unwrap_or_default();
        len.saturating_sub(self.tail.end)
    }
}

/// What to do if the first segments are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    IsDamage,
    /// Their rows are lost.
    IsAccepted,
}

/// Reads the directory, in which commits up to the sequence `floor` were answered; `None` if none was ever durable.
pub(crate) fn recover(
    disk: &mut impl Disk,
    store: u128,
    floor: u64,
    missing: Missing,
) -> Result<Option<Recovered>, StoreError> {
    let mut lengths = segments(disk)?;
    // Only what was not synced can be torn although others follow, and whether it was is what the floor says.
    let may_be_torn = read_ending(disk)? == Ending::OfMachine;
    let tail = match lengths.last_key_value() {
        Some((&last, &len)) => {
            find_tail(disk, store, last, len, &lengths, may_be_torn)?.map(|tail| (last, tail))
        }
        None => None,
    };
    let Some((last, (tail, is_torn))) = tail else {
        return if floor > 0 { Err(corrupt(1, 0, Damage::Cut)) } else { Ok(None) };
    };
    let (segment, is_followed) = (tail.segment(), tail.segment() != last);
    let Some((at, header)) = tail.last else {
        return Err(corrupt(last, SEGMENT_HEADER as u64, Damage::Frame));
    };
    let stamp = header.stamp;
    if stamp.sequence < floor {
        return Err(corrupt(segment, tail.end, Damage::Cut));
    }
    let first = lengths.first_key_value().map_or(segment, |(first, _)| *first);
    let oldest = if missing == Missing::IsAccepted { stamp.oldest.max(first) } else { stamp.oldest };
    if oldest == 0 || oldest > segment {
        return Err(corrupt(segment, at, Damage::Order));
    }
    let needed = lengths.split_off(&oldest);
    let obsolete = lengths.into_keys().collect();
    let mut chain = Chain { index: Index::with_heads(), next: None, end: 0, epoch: 0 };
    for number in oldest..segment {
        let len = *needed.get(&number).ok_or_else(|| corrupt(number, 0, Damage::Missing))?;
        let (first, outline) = outline(disk, store, number, len)?;
        chain.add(first, &outline)?;
    }
    chain.add(first_sequence(disk, store, segment)?, &tail)?;
    chain.index.forget_below(oldest);
    Ok(Some(Recovered { index: chain.index, tail, stamp, is_followed, is_torn, obsolete, lengths: needed }))
}

/// The segments that exist, and their lengths.
pub(crate) fn segments(disk: &mut impl Disk) -> Result<BTreeMap<u64, u64>, StoreError> {
    let files = disk.files().map_err(|error| failed("list", "the storage directory", &error))?;
    let numbered = files.into_iter().filter_map(|(file, len)| match file {
        File::Segment(number) => Some((number, len)),
        File::Identity | File::Floor | File::Reserve | File::Unsynced => None,
    });
    Ok(numbered.collect())
}

/// Reads up to `len` bytes of a file.
pub(crate) fn read(disk: &mut impl Disk, file: File, at: u64, len: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| StoreError::TooLong)?];
    let read = disk
        .read(file, at, &mut bytes)
        .map_err(|error| failed(&format!("read byte {at} of"), file, &error))?;
    bytes.truncate(read);
    Ok(bytes)
}

pub(crate) fn corrupt(segment: u64, at: u64, damage: Damage) -> StoreError {
    StoreError::Corrupt { file: File::Segment(segment), at, damage }
}

/// Reads a whole segment.
pub(crate) fn read_segment(
    disk: &mut impl Disk,
    store: u128,
    number: u64,
    len: u64,
) -> Result<Scan, StoreError> {
    let scan = read_torn_segment(disk, store, number, len)?;
    if scan.continues {
        return Err(corrupt(number, scan.outline.end, Damage::Frame));
    }
    Ok(scan)
}

/// The same if frames may follow behind one that is not valid.
fn read_torn_segment(disk: &mut impl Disk, store: u128, number: u64, len: u64) -> Result<Scan, StoreError> {
    let bytes = read(disk, File::Segment(number), 0, len)?;
    let scan = scan(store, number, &bytes);
    if let Some(header) = scan.header {
        check_header(header, store, number)?;
    }
    Ok(scan)
}

/// The last segment with a frame, and whether frames follow behind a torn one.
///
/// Its last frame may be one whose write was interrupted; it is left out. The segment behind it, if there is one, was
/// being created, so that its header may be missing; then one frame in it was not durable.
pub(crate) fn find_tail(
    disk: &mut impl Disk,
    store: u128,
    last: u64,
    len: u64,
    lengths: &BTreeMap<u64, u64>,
    may_be_torn: bool,
) -> Result<Option<(Outline, bool)>, StoreError> {
    let newest = if may_be_torn {
        read_torn_segment(disk, store, last, len)?
    } else {
        read_segment(disk, store, last, len)?
    };
    let frames = newest.outline.frames().count();
    match newest.header {
        Some(_) if frames > 0 => return Ok(Some((newest.outline, newest.continues))),
        // The first frame was durable before there was another.
        _ if newest.continues => return Err(corrupt(last, newest.outline.end, Damage::Frame)),
        None if frames > 1 => return Err(corrupt(last, 0, Damage::Header)),
        _ => {}
    }
    let Some(number) = last.checked_sub(1).filter(|number| *number > 0) else { return Ok(None) };
    let len = *lengths.get(&number).ok_or_else(|| corrupt(number, 0, Damage::Missing))?;
    let before = read_segment(disk, store, number, len)?;
    if before.header.is_none() {
        return Err(corrupt(number, 0, Damage::Header));
    }
    let end = before.outline.end;
    let sequence = before.outline.last.map(|(_, header)| header.stamp.sequence);
    let next = newest.header.map(|header| header.first);
    match (sequence, next) {
        (None, _) => Err(corrupt(number, end, Damage::Frame)),
        (Some(sequence), Some(next)) if sequence.checked_add(1) != Some(next) => {
            Err(corrupt(number, end, Damage::Frame))
        }
        _ => Ok(Some((before.outline, false))),
    }
}

/// The sequence of a segment's first frame, and its outline: the one at its end, or else from its frames.
pub(crate) fn outline(
    disk: &mut impl Disk,
    store: u128,
    number: u64,
    len: u64,
) -> Result<(u64, Outline), StoreError> {
    if let Some(outline) = stored_outline(disk, store, number, len)? {
        return Ok((first_sequence(disk, store, number)?, outline));
    }
    let scan = read_segment(disk, store, number, len)?;
    let header = scan.header.ok_or_else(|| corrupt(number, 0, Damage::Header))?;
    Ok((header.first, scan.outline))
}

fn stored_outline(
    disk: &mut impl Disk,
    store: u128,
    number: u64,
    len: u64,
) -> Result<Option<Outline>, StoreError> {
    let Some(at) = len.checked_sub(TRAILER as u64) else { return Ok(None) };
    let trailer = read(disk, File::Segment(number), at, TRAILER as u64)?;
    let Some(trailer) = Trailer::read(store, number, &trailer) else { return Ok(None) };
    let Some(at) = at.checked_sub(trailer.entries) else { return Ok(None) };
    let entries = read(disk, File::Segment(number), at, trailer.entries)?;
    Ok(Outline::decode(store, number, trailer, entries))
}

fn first_sequence(disk: &mut impl Disk, store: u128, number: u64) -> Result<u64, StoreError> {
    let bytes = read(disk, File::Segment(number), 0, SEGMENT_HEADER as u64)?;
    let header = SegmentHeader::read(&bytes).ok_or_else(|| corrupt(number, 0, Damage::Header))?;
    check_header(header, store, number)?;
    Ok(header.first)
}

fn check_header(header: SegmentHeader, store: u128, number: u64) -> Result<(), StoreError> {
    if header.store != store {
        return Err(corrupt(number, 0, Damage::OtherStore));
    }
    if header.segment != number || header.format != FORMAT {
        return Err(corrupt(number, 0, Damage::Header));
    }
    Ok(())
}

/// The segments up to now.
struct Chain {
    index: Index,
    next: Option<u64>,
    /// Where the frames of the segment before end.
    end: u64,
    epoch: u64,
}

impl Chain {
    /// Adds a segment whose first frame has the sequence `first`.
    fn add(&mut self, first: u64, outline: &Outline) -> Result<(), StoreError> {
        let segment = outline.segment();
        if self.next.is_some_and(|next| next != first) {
            // The segment before ends too early, or this one was exchanged.
            let before = segment.saturating_sub(1);
            return Err(corrupt(before, self.end, Damage::Frame));
        }
        let mut next = first;
        for (at, header, table) in outline.frames() {
            let Header { stamp, .. } = header;
            if stamp.sequence != next || stamp.epoch < self.epoch {
                return Err(corrupt(segment, at, Damage::Order));
            }
            self.epoch = stamp.epoch;
            next = next.saturating_add(1);
            let values = at.saturating_add(HEADER as u64);
            self.index.apply(segment, values, table).map_err(|_| corrupt(segment, at, Damage::Malformed))?;
        }
        self.next = Some(next);
        self.end = outline.end;
        Ok(())
    }
}

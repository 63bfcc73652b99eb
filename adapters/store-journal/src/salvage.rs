//! Reads what is left of a directory, however damaged.

use crate::disk::{Disk, File};
use crate::error::{Damage, OpenError, StoreError};
use crate::floor::read_floor;
use crate::frame::{HEADER, Site};
use crate::identity::read_identity;
use crate::index::Index;
use crate::inspect::Report;
use crate::mark::{Ending, read_ending};
use crate::reader::Reader;
use crate::recovery::{Missing, corrupt, read, recover, segments};
use crate::scan::{frame_at, next_header};
use crate::segment::{SEGMENT_HEADER, SegmentHeader};

/// Shows all rows that can be read, in the order of their keys, and what is damaged. Changes nothing.
///
/// Of a sound directory these are the rows that [`Journal::rows`](crate::Journal::rows) shows. Damage does not end it: a
/// row or a commit that cannot be read is shown as an error, and left out. So a row behind damage may be one that a commit
/// which is left out has replaced or removed. `None` if nothing was ever stored.
///
/// # Errors
///
/// What `show` returns; [`OpenError::Version`]; [`StoreError::Failed`] if the directory cannot be listed.
pub fn salvage<E: From<OpenError>>(
    disk: &mut impl Disk,
    mut show: impl FnMut(Result<(&[u8], &[u8]), StoreError>) -> Result<(), E>,
) -> Result<Option<Report>, E> {
    let store = match read_identity(disk) {
        Ok(None) => return Ok(None),
        Ok(Some(store)) => store,
        Err(OpenError::Store(damage @ StoreError::Corrupt { .. })) => {
            let Some(store) = any_store(disk)? else { return Err(OpenError::from(damage).into()) };
            show(Err(damage))?;
            store
        }
        Err(error) => return Err(error.into()),
    };
    let lengths = segments(disk).map_err(OpenError::from)?;
    let floor = read_floor(disk, store).map_or(0, |floor| floor.sequence);
    let ending = read_ending(disk).ok();
    let mut report = Report {
        store,
        rows: 0,
        live_bytes: 0,
        segments: lengths.len(),
        bytes: lengths.values().fold(0, |sum, len| sum.saturating_add(*len)),
        sequence: 0,
        floor,
        lacks_commits: matches!(ending, Some(Ending::OfMachine | Ending::Backup)),
        is_backup: ending == Some(Ending::Backup),
    };
    let index = match recover(disk, store, floor, Missing::IsDamage) {
        Ok(None) => return Ok(Some(report)),
        Ok(Some(found)) => {
            report.sequence = found.stamp.sequence;
            report.bytes = report.bytes.saturating_sub(found.unused());
            found.index
        }
        Err(first) => {
            let mut remains = Remains::default();
            for (number, len) in lengths {
                remains.add(disk, store, number, len);
            }
            report.sequence = remains.sequence;
            let others = remains.damage.into_iter().filter(|other| place(other) != place(&first));
            let others: Vec<_> = others.collect();
            [first].into_iter().chain(others).try_for_each(|damage| show(Err(damage)))?;
            remains.index
        }
    };
    (report.rows, report.live_bytes) = (index.len(), index.total().live);
    let mut reader = Reader::default();
    for (key, at) in index.rows() {
        let key = key.as_slice();
        show(reader.row(disk, key, at).map(|value| (key, value)))?;
    }
    Ok(Some(report))
}

/// The store that a segment belongs to.
fn any_store(disk: &mut impl Disk) -> Result<Option<u128>, OpenError> {
    let mut headers = segments(disk)?.into_keys().map(|number| {
        let header = read(disk, File::Segment(number), 0, SEGMENT_HEADER as u64).ok()?;
        SegmentHeader::read(&header)
    });
    Ok(headers.find_map(|header| header).map(|header| header.store))
}

fn place(damage: &StoreError) -> Option<(File, u64)> {
    match damage {
        StoreError::Corrupt { file, at, .. } => Some((*file, *at)),
        StoreError::Fenced | StoreError::Full | StoreError::TooLong | StoreError::Failed(_) => None,
    }
}

/// The commits that can be read of a journal that does not open.
#[derive(Debug, Default)]
struct Remains {
    index: Index,
    damage: Vec<StoreError>,
    /// The last commit's.
    sequence: u64,
    /// Where it ends: segment and byte.
    end: Option<(u64, u64)>,
}

impl Remains {
    /// Adds what can be read of the next segment.
    fn add(&mut self, disk: &mut impl Disk, store: u128, number: u64, len: u64) {
        let bytes = match read(disk, File::Segment(number), 0, len) {
            Ok(bytes) => bytes,
            Err(error) => return self.damage.push(error),
        };
        if SegmentHeader::read(&bytes).is_none_or(|header| header.store != store) {
            self.damage.push(corrupt(number, 0, Damage::Header));
        }
        let mut site = Site { store, segment: number, at: SEGMENT_HEADER as u64 };
        loop {
            let frame = frame_at(site, &bytes).filter(|(header, _)| header.stamp.sequence > self.sequence);
            if let Some((header, table)) =
                frame.and_then(|(header, frame)| Some((header, header.table(frame)?)))
            {
                self.continued(header.stamp.sequence, number);
                let values = site.at.saturating_add(HEADER as u64);
                if self.index.apply(number, values, table).is_err() {
                    self.damage.push(corrupt(number, site.at, Damage::Malformed));
                }
                site.at = site.at.saturating_add(header.frame_bytes());
                self.end = Some((number, site.at));
            } else if let Some(at) = next_header(site, &bytes) {
                site.at = at;
            } else {
                return;
            }
        }
    }

    /// A commit with this sequence is next. If those between are not there, what is behind the one before is damaged.
    fn continued(&mut self, sequence: u64, segment: u64) {
        if let Some((before, at)) = self.end.filter(|_| self.sequence.checked_add(1) != Some(sequence)) {
            let next = before.saturating_add(1);
            let is_missing = next < segment;
            self.damage.push(if is_missing {
                corrupt(next, 0, Damage::Missing)
            } else {
                corrupt(before, at, Damage::Frame)
            });
        }
        self.sequence = sequence;
    }
}

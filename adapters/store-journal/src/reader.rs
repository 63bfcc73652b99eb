//! Reads all rows, and ahead if they are in the order of the journal.

use crate::disk::{Disk, File};
use crate::error::{Damage, StoreError, failed};
use crate::frame::row_crc;
use crate::index::Place;
use crate::recovery::corrupt;

/// What is read at once in bytes, if rows are short and follow each other: from the first of these on, doubled each time.
const AHEAD: (u64, u64) = (4 << 10, 1 << 20);
/// Rows are short up to this many bytes, and follow each other with at most this many between them.
const SHORT: u64 = 64 << 10;

/// A part of a segment. Its buffer is kept from row to row.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    segment: u64,
    at: u64,
    len: usize,
    ahead: u64,
    bytes: Vec<u8>,
}

impl Reader {
    /// The value of a row.
    pub(crate) fn row(
        &mut self,
        disk: &mut impl Disk,
        key: &[u8],
        place: Place,
    ) -> Result<&[u8], StoreError> {
        let (at, len) = (u64::from(place.at), u64::from(place.len));
        let is_valid = |value: &[u8]| row_crc(key, value) == place.crc;
        // What was read ahead may have been written since.
        let is_known = self.find(place).is_some_and(is_valid);
        if !is_known {
            let end = self.at.saturating_add(self.len as u64);
            let follows = place.segment == self.segment && at >= self.at && at.saturating_sub(end) <= SHORT;
            let (least, most) = AHEAD;
            self.ahead = if follows { self.ahead.saturating_mul(2).clamp(least, most) } else { 0 };
            let wanted = if len <= SHORT { len.max(self.ahead) } else { len };
            self.fill(disk, place.segment, at, wanted)?;
            if follows {
                // Meanwhile what was read is used.
                let next = self.ahead.saturating_mul(2).min(most);
                disk.will_read(File::Segment(place.segment), at.saturating_add(wanted), next);
            }
        }
        let value = self.find(place).filter(|value| is_known || is_valid(value));
        value.ok_or_else(|| corrupt(place.segment, at, Damage::Row))
    }

    fn find(&self, place: Place) -> Option<&[u8]> {
        let from = u64::from(place.at).checked_sub(self.at).filter(|_| place.segment == self.segment)?;
        let from = usize::try_from(from).ok()?;
        self.bytes.get(..self.len)?.get(from..)?.get(..usize::try_from(place.len).ok()?)
    }

    fn fill(&mut self, disk: &mut impl Disk, segment: u64, at: u64, wanted: u64) -> Result<(), StoreError> {
        let wanted = usize::try_from(wanted).map_err(|_| StoreError::TooLong)?;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        self.len = 0;
        let file = File::Segment(segment);
        let place = self.bytes.get_mut(..wanted).unwrap_or_default();
        let read = disk.read(file, at, place);
        self.len = read.map_err(|error| failed(&format!("read byte {at} of"), file, &error))?;
        self.segment = segment;
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::SimulatedDisk;

    #[test]
    fn rows_are_read_wherever_they_are() {
        let mut disk = SimulatedDisk::new(1);
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        disk.replace(File::Segment(1), Some(bytes.clone()));
        disk.replace(File::Segment(2), Some(bytes[1..].to_vec()));
        let mut reader = Reader::default();
        let places = [
            (1, 0, 10),
            (1, 10, 5),
            (1, 190_000, 10_000),
            (2, 5, 3),
            (1, 3, 100_000),
            (1, 199_999, 1),
            (1, 7, 0),
        ];
        for (segment, at, len) in places {
            let from = at as usize + usize::from(segment == 2);
            let expected = &bytes[from..from + len as usize];
            let place = Place { segment, at, len, crc: row_crc(b"key", expected) };
            assert_eq!(reader.row(&mut disk, b"key", place).unwrap(), expected);
            assert!(reader.row(&mut disk, b"other", place).is_err());
        }
        let beyond = Place { segment: 1, at: 199_999, len: 2, crc: 0 };
        assert!(reader.row(&mut disk, b"key", beyond).is_err());
    }
}

//! The floor: the highest sequence that was answered, as far as it has been written down.
//!
//! A journal whose end was cut off between two frames looks whole. The floor shows that it is not. It is written after
//! commits, not with them, so it may be lower than what was answered, but never higher than what is durable. Two slots are
//! written in turn, so that an interrupted write leaves one.

use core::time::Duration;

use bytes::{Buf, BufMut};

use crate::disk::{Disk, File};
use crate::error::{StoreError, failed};
use crate::recovery::read;

/// The least time between two writes of the floor.
pub const FLOOR_INTERVAL: Duration = Duration::from_millis(100);
/// The second slot begins here, in another sector and page.
const SLOT: u64 = 4096;
const SLOT_BYTES: usize = 16;
/// The length of the file with both slots in bytes.
pub(crate) const FLOOR_BYTES: usize = 4096 + SLOT_BYTES;

const MAGIC: u32 = 0x5a4a_666c;

/// What the file says, and when it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) sequence: u64,
    /// Whether there is no such file.
    pub(crate) is_missing: bool,
    is_second: bool,
    written: Option<Duration>,
}

impl Floor {
    /// The higher of the valid slots; 0 if there is none.
    pub(crate) fn read(store: u128, bytes: &[u8]) -> Self {
        let first = read_slot(store, bytes);
        let second = usize::try_from(SLOT)
            .ok()
            .and_then(|at| bytes.get(at..))
            .map_or(0, |slot| read_slot(store, slot));
        Self { sequence: first.max(second), is_second: second > first, ..Self::default() }
    }

    /// What a missing file says.
    pub(crate) const fn missing() -> Self {
        Self { sequence: 0, is_missing: true, is_second: false, written: None }
    }

    /// Where to write what, if the floor is lower than this sequence and was not written for [`FLOOR_INTERVAL`].
    pub(crate) fn raise(&mut self, store: u128, sequence: u64, now: Duration) -> Option<(u64, Vec<u8>)> {
        let is_due = self.written.is_none_or(|written| now.saturating_sub(written) >= FLOOR_INTERVAL);
        if sequence <= self.sequence || !is_due {
            return None;
        }
        *self = Self { sequence, is_missing: false, is_second: !self.is_second, written: Some(now) };
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.put_u32(MAGIC);
        slot.put_u64(sequence);
        slot.put_u32(slot_crc(store, &slot));
        Some((if self.is_second { SLOT } else { 0 }, slot))
    }
}

/// The floor of a directory.
pub(crate) fn read_floor(disk: &mut impl Disk, store: u128) -> Result<Floor, StoreError> {
    let files = disk.files().map_err(|error| failed("list", "the storage directory", &error))?;
    if !files.iter().any(|(file, _)| *file == File::Floor) {
        return Ok(Floor::missing());
    }
    Ok(Floor::read(store, &read(disk, File::Floor, 0, FLOOR_BYTES as u64)?))
}

fn read_slot(store: u128, bytes: &[u8]) -> u64 {
    let read = || {
        let mut rest = bytes.get(..SLOT_BYTES)?;
        let crc = slot_crc(store, rest.get(..SLOT_BYTES.checked_sub(4)?)?);
        let magic = rest.try_get_u32().ok()?;
        let sequence = rest.try_get_u64().ok()?;
        (magic == MAGIC && rest.try_get_u32().ok()? == crc).then_some(sequence)
    };
    read().unwrap_or(0)
}

fn slot_crc(store: u128, covered: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&store.to_be_bytes()), covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_that_is_cut_while_it_is_raised_falls_back_to_the_one_before() {
        let mut file = vec![0; FLOOR_BYTES];
        let mut floor = Floor::default();
        for sequence in 1..9 {
            let now = FLOOR_INTERVAL * u32::try_from(sequence).unwrap();
            let (at, slot) = floor.raise(7, sequence, now).unwrap();
            for cut in 0..slot.len() {
                let mut torn = file.clone();
                torn[usize::try_from(at).unwrap()..][..cut].copy_from_slice(&slot[..cut]);
                assert!([sequence - 1, sequence].contains(&Floor::read(7, &torn).sequence));
            }
            file[usize::try_from(at).unwrap()..][..slot.len()].copy_from_slice(&slot);
            assert_eq!(Floor::read(7, &file).sequence, sequence);
        }
    }

    #[test]
    fn the_floor_is_written_at_most_every_100_milliseconds() {
        let mut floor = Floor::default();
        let ms = Duration::from_millis;
        assert!(floor.raise(7, 1, ms(50)).is_some());
        assert_eq!(floor.raise(7, 2, ms(149)), None);
        assert!(floor.raise(7, 2, ms(150)).is_some());
        assert_eq!(floor.raise(7, 2, ms(900)), None, "it is as high as it can be");
    }
}

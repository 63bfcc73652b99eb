//! A frame: one commit in a segment.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | magic `ZJfr` |
//! | 4 | length of the values |
//! | 4 | length of the table |
//! | 4 | zero |
//! | 8 | sequence: one more than that of the frame before, over restarts too |
//! | 8 | epoch: how often the store had been opened when the frame was written |
//! | 8 | the oldest segment that is needed once this frame is durable |
//! | 4 | CRC32C of the table |
//! | 4 | CRC32C of the store's id, the segment's number, the place of the frame, and the bytes above |
//! | | the values, one after another |
//! | | the table, with the checksum of each row |
//! | | zeros up to a multiple of 8 |
//!
//! All numbers are big-endian. The place is part of the checksum, so that what was written elsewhere is never valid here.
//! Each byte of a value is under one checksum only, that of its row; the table is under that of the header.

use bytes::{Buf, BufMut};

use crate::table::{Entries, Entry, MAX_HEAD, MAX_KEY, push_put, push_remove, push_trim};

/// The length of a header in bytes.
pub(crate) const HEADER: usize = 48;
/// Frames begin at multiples of this many bytes.
pub(crate) const ALIGN: usize = 8;
/// The longest frame in bytes.
pub(crate) const MAX_FRAME: u64 = 1 << 30;

const MAGIC: u32 = 0x5a4a_6672;

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) store: u128,
    pub(crate) segment: u64,
    pub(crate) at: u64,
}

/// The position of a commit among all commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sequence: u64,
    pub(crate) epoch: u64,
    pub(crate) oldest: u64,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) values: u32,
    pub(crate) table: u32,
    pub(crate) stamp: Stamp,
    table_crc: u32,
}

impl Header {
    /// The header at the beginning of these bytes, if they are one that was written at this site.
    pub(crate) fn read(site: Site, bytes: &[u8]) -> Option<Self> {
        let header = Self::parse(bytes)?;
        let (covered, mut after) = bytes.get(..HEADER)?.split_at_checked(HEADER.checked_sub(4)?)?;
        (after.try_get_u32().ok()? == header_crc(site, covered)).then_some(header)
    }

    /// The same for bytes of which it is known that they were written.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(..HEADER)?;
        if rest.try_get_u32().ok()? != MAGIC {
            return None;
        }
        let values = rest.try_get_u32().ok()?;
        let table = rest.try_get_u32().ok()?;
        let _reserved = rest.try_get_u32().ok()?;
        let sequence = rest.try_get_u64().ok()?;
        let epoch = rest.try_get_u64().ok()?;
        let oldest = rest.try_get_u64().ok()?;
        Some(Self {
            values,
            table,
            stamp: Stamp { sequence, epoch, oldest },
            table_crc: rest.try_get_u32().ok()?,
        })
    }

    /// The length of the whole frame, with the zeros behind it.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let align = ALIGN as u64;
        let sum =
            (HEADER as u64).saturating_add(u64::from(self.values)).saturating_add(u64::from(self.table));
        sum.next_multiple_of(align)
    }

    pub(crate) fn is_table(&self, table: &[u8]) -> bool {
        table.len() == self.table as usize && crc32c::crc32c(table) == self.table_crc
    }

    /// The table in the bytes of a frame, if it has the right checksum.
    pub(crate) fn table<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let (_, rest) = frame.get(HEADER..)?.split_at_checked(self.values as usize)?;
        rest.get(..self.table as usize).filter(|table| self.is_table(table))
    }

    /// The table in the bytes of a frame, if it and every row have the right checksum.
    pub(crate) fn check<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let table = self.table(frame)?;
        let values = frame.get(HEADER..)?.get(..self.values as usize)?;
        for entry in Entries::new(table) {
            match entry {
                Ok(Entry::Put { key, at, len, crc, .. }) => {
                    let end = at.checked_add(len)?;
                    let value = values.get(at as usize..end as usize)?;
                    if row_crc(key, value) != crc {
                        return None;
                    }
                }
                Ok(Entry::Remove { .. } | Entry::Trim { .. }) => {}
                // The caller applies the table, and reports this.
                Err(_) => break,
            }
        }
        Some(table)
    }
}

fn header_crc(site: Site, covered: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&site.store.to_be_bytes());
    let crc = crc32c::crc32c_append(crc, &site.segment.to_be_bytes());
    let crc = crc32c::crc32c_append(crc, &site.at.to_be_bytes());
    crc32c::crc32c_append(crc, covered)
}

/// The checksum of a row.
pub(crate) fn row_crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// A frame that is being written. Its buffers are kept from commit to commit.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Room for the header, then the values; behind them, once the frame is finished, the table.
    bytes: Vec<u8>,
    values: usize,
    table: Vec<u8>,
}

/// A commit is longer than a frame can be, or has a key that is too long or empty, or a head that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Draft {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER, 0);
        self.table.clear();
        self.values = 0;
    }

    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], value: &[&[u8]]) -> Result<(), TooLong> {
        if key.is_empty() || key.len() > MAX_KEY || head.len() > MAX_HEAD {
            return Err(TooLong);
        }
        let mut crc = crc32c::crc32c(key);
        let mut len = 0_usize;
        for piece in value {
            crc = crc32c::crc32c_append(crc, piece);
            len = len.saturating_add(piece.len());
        }
        let values = self.values.saturating_add(len);
        let len = u32::try_from(len).ok().filter(|_| values as u64 <= MAX_FRAME).ok_or(TooLong)?;
        for piece in value {
            self.bytes.put_slice(piece);
        }
        self.values = values;
        push_put(&mut self.table, key, len, crc, head);
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<(), TooLong> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(TooLong);
        }
        push_remove(&mut self.table, key);
        Ok(())
    }

    pub(crate) fn trim(&mut self, topic: u32, from: u64, to: u64) {
        push_trim(&mut self.table, topic, from, to);
    }

    /// The bytes of values and table up to now.
    pub(crate) fn content_bytes(&self) -> u64 {
        (self.values as u64).saturating_add(self.table.len() as u64)
    }

    /// The length of the frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let sum = self.content_bytes().saturating_add(HEADER as u64);
        sum.next_multiple_of(ALIGN as u64)
    }

    pub(crate) fn table(&self) -> &[u8] {
        &self.table
    }

    /// The frame, encoded for this site. May be called again for another site.
    pub(crate) fn finish(&mut self, site: Site, stamp: Stamp) -> Result<(Header, &[u8]), TooLong> {
        let len = self.frame_bytes();
        if len > MAX_FRAME {
            return Err(TooLong);
        }
        let values = u32::try_from(self.values).map_err(|_| TooLong)?;
        let table = u32::try_from(self.table.len()).map_err(|_| TooLong)?;
        let header = Header { values, table, stamp, table_crc: crc32c::crc32c(&self.table) };
        self.bytes.truncate(HEADER.saturating_add(self.values));
        self.bytes.extend_from_slice(&self.table);
        self.bytes.resize(usize::try_from(len).map_err(|_| TooLong)?, 0);
        let mut front = [0_u8; HEADER];
        let mut at = &mut front[..];
        at.put_u32(MAGIC);
        at.put_u32(values);
        at.put_u32(table);
        at.put_u32(0);
        at.put_u64(stamp.sequence);
        at.put_u64(stamp.epoch);
        at.put_u64(stamp.oldest);
        at.put_u32(header.table_crc);
        let (covered, last) = front.split_at_mut(HEADER.saturating_sub(4));
        last.copy_from_slice(&header_crc(site, covered).to_be_bytes());
        if let Some(place) = self.bytes.get_mut(..HEADER) {
            place.copy_from_slice(&front);
        }
        Ok((header, &self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site = Site { store: 7, segment: 1, at: 64 };
    const STAMP: Stamp = Stamp { sequence: 3, epoch: 2, oldest: 1 };

    fn draft() -> Draft {
        let mut draft = Draft::default();
        draft.clear();
        draft.put(b"key", b"head", &[b"in ", b"pieces"]).unwrap();
        draft.remove(b"other").unwrap();
        draft
    }

    #[test]
    fn a_frame_is_valid_where_it_was_written_and_nowhere_else() {
        let mut draft = draft();
        let (header, frame) = draft.finish(SITE, STAMP).unwrap();
        assert_eq!(frame.len() as u64, header.frame_bytes());
        assert_eq!(Header::read(SITE, frame), Some(header));
        assert!(header.check(frame).is_some());
        for site in [Site { at: 72, ..SITE }, Site { segment: 2, ..SITE }, Site { store: 8, ..SITE }] {
            assert_eq!(Header::read(site, frame), None);
        }
    }

    #[test]
    fn a_flipped_bit_makes_a_frame_invalid_unless_it_is_in_the_zeros_behind_it() {
        let mut draft = draft();
        let content = usize::try_from(draft.content_bytes()).unwrap() + HEADER;
        let frame = draft.finish(SITE, STAMP).unwrap().1.to_vec();
        for at in 0..content {
            let mut flipped = frame.clone();
            flipped[at] ^= 1 << (at % 8);
            let valid =
                Header::read(SITE, &flipped).and_then(|header| header.check(&flipped).map(<[u8]>::len));
            assert_eq!(valid, None, "byte {at}");
        }
    }

    #[test]
    fn keys_have_1_to_65535_bytes_and_heads_up_to_255() {
        let mut draft = draft();
        assert_eq!(draft.put(&vec![1; MAX_KEY + 1], &[], &[]), Err(TooLong));
        assert_eq!(draft.put(b"", &[], &[]), Err(TooLong));
        assert_eq!(draft.put(b"key", &[0; MAX_HEAD + 1], &[]), Err(TooLong));
        assert_eq!(draft.remove(b""), Err(TooLong));
        assert_eq!(draft.put(&vec![1; MAX_KEY], &[0; MAX_HEAD], &[]), Ok(()));
    }
}

//! A segment: one file of the journal.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `ZAIJOURN` |
//! | 4 | format version |
//! | 4 | zero |
//! | 16 | the store's id |
//! | 8 | the segment's number |
//! | 8 | the sequence of its first frame |
//! | 12 | zeros |
//! | 4 | CRC32C of the bytes above |
//!
//! Frames follow, and then, at the end of a segment that is full, its outline (`outline.rs`).

use bytes::{Buf, BufMut};

/// The version of everything that is written to the directory.
pub const FORMAT: u32 = 2;
/// The length of the header in bytes, which is where the first frame begins.
pub(crate) const SEGMENT_HEADER: usize = 64;

const MAGIC: &[u8; 8] = b"ZAIJOURN";

/// The header at the beginning of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) format: u32,
    pub(crate) store: u128,
    pub(crate) segment: u64,
    pub(crate) first: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        bytes.put_slice(MAGIC);
        bytes.put_u32(self.format);
        bytes.put_u32(0);
        bytes.put_u128(self.store);
        bytes.put_u64(self.segment);
        bytes.put_u64(self.first);
        bytes.resize(SEGMENT_HEADER.saturating_sub(4), 0);
        bytes.put_u32(crc32c::crc32c(&bytes));
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (covered, mut crc) =
            bytes.get(..SEGMENT_HEADER)?.split_at_checked(SEGMENT_HEADER.checked_sub(4)?)?;
        let mut rest = covered.strip_prefix(MAGIC)?;
        if crc.try_get_u32().ok()? != crc32c::crc32c(covered) {
            return None;
        }
        let format = rest.try_get_u32().ok()?;
        let _reserved = rest.try_get_u32().ok()?;
        let store = rest.try_get_u128().ok()?;
        Some(Self { format, store, segment: rest.try_get_u64().ok()?, first: rest.try_get_u64().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_not_with_a_flipped_bit() {
        let header = SegmentHeader { format: FORMAT, store: 7, segment: 3, first: 900 };
        let bytes = header.encode();
        assert_eq!(bytes.len(), SEGMENT_HEADER);
        assert_eq!(SegmentHeader::read(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(SegmentHeader::read(&flipped), None, "byte {at}");
        }
    }
}

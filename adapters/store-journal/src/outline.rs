//! The outline of a segment: its frames without their values.
//!
//! It is enough to know where each row is, so a segment whose outline is at its end is not read as a whole when the store
//! is opened. It consists of the header and the table of each frame, one after another, and of:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | magic `ZJol` |
//! | 4 | zero |
//! | 8 | length of the headers and tables |
//! | 8 | where the frames end |
//! | 4 | CRC32C of the headers and tables |
//! | 4 | CRC32C of the store's id, the segment's number and the bytes above |
//!
//! An outline that is missing or invalid costs time, not data: the frames are read instead.

use bytes::{Buf, BufMut};

use crate::frame::{HEADER, Header, Site};
use crate::segment::SEGMENT_HEADER;

/// The length of what is behind headers and tables in bytes.
pub(crate) const TRAILER: usize = 32;

const MAGIC: u32 = 0x5a4a_6f6c;

/// The frames of a segment without their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    store: u128,
    segment: u64,
    /// The header and the table of each frame.
    entries: Vec<u8>,
    /// Where the frames end.
    pub(crate) end: u64,
    /// The last frame: where it is, and its header.
    pub(crate) last: Option<(u64, Header)>,
}

/// A frame in an outline: where it is, its header and its table.
pub(crate) type Outlined<'a> = (u64, Header, &'a [u8]);

/// The end of an outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// The length of headers and tables.
    pub(crate) entries: u64,
    end: u64,
    crc: u32,
}

impl Outline {
    /// The outline of a segment without frames.
    pub(crate) const fn new(store: u128, segment: u64) -> Self {
        Self { store, segment, entries: Vec::new(), end: SEGMENT_HEADER as u64, last: None }
    }

    pub(crate) const fn segment(&self) -> u64 {
        self.segment
    }

    /// Where the next frame goes.
    pub(crate) const fn site(&self) -> Site {
        Site { store: self.store, segment: self.segment, at: self.end }
    }

    /// Adds the next frame, of which only the encoded header is used.
    pub(crate) fn push(&mut self, header: Header, frame: &[u8], table: &[u8]) {
        self.entries.extend_from_slice(frame.get(..HEADER).unwrap_or_default());
        self.entries.extend_from_slice(table);
        self.last = Some((self.end, header));
        self.end = self.end.saturating_add(header.frame_bytes());
    }

    /// The frames, in order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Outlined<'_>> {
        let (mut rest, mut end) = (self.entries.as_slice(), SEGMENT_HEADER as u64);
        core::iter::from_fn(move || {
            let header = Header::parse(rest)?;
            let (table, after) = rest.get(HEADER..)?.split_at_checked(header.table as usize)?;
            let at = end;
            rest = after;
            end = at.saturating_add(header.frame_bytes());
            Some((at, header, table))
        })
    }

    /// Whether the outline is so short that reading it is much faster than reading the segment.
    pub(crate) fn is_worth_it(&self) -> bool {
        (self.entries.len() as u64) < self.end / 2
    }

    /// The encoded outline, which is the end of its segment.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.entries.clone();
        let mut trailer = Vec::with_capacity(TRAILER);
        trailer.put_u32(MAGIC);
        trailer.put_u32(0);
        trailer.put_u64(self.entries.len() as u64);
        trailer.put_u64(self.end);
        trailer.put_u32(crc32c::crc32c(&self.entries));
        trailer.put_u32(trailer_crc(self.store, self.segment, &trailer));
        bytes.append(&mut trailer);
        bytes
    }

    /// The outline with these headers and tables, if they are what the trailer says.
    pub(crate) fn decode(store: u128, segment: u64, trailer: Trailer, entries: Vec<u8>) -> Option<Self> {
        if entries.len() as u64 != trailer.entries || crc32c::crc32c(&entries) != trailer.crc {
            return None;
        }
        let mut outline = Self { entries, ..Self::new(store, segment) };
        let mut used = 0_usize;
        let mut last = None;
        let mut end = outline.end;
        for (at, header, table) in outline.frames() {
            let site = Site { store, segment, at };
            let encoded = outline.entries.get(used..).unwrap_or_default();
            if Header::read(site, encoded) != Some(header) || !header.is_table(table) {
                return None;
            }
            used = used.saturating_add(HEADER).saturating_add(table.len());
            last = Some((at, header));
            end = at.saturating_add(header.frame_bytes());
        }
        if used != outline.entries.len() || end != trailer.end {
            return None;
        }
        outline.last = last;
        outline.end = end;
        Some(outline)
    }
}

impl Trailer {
    /// The trailer in these last bytes of a segment, if they are one.
    pub(crate) fn read(store: u128, segment: u64, bytes: &[u8]) -> Option<Self> {
        let (covered, mut crc) = bytes.get(..TRAILER)?.split_at_checked(TRAILER.checked_sub(4)?)?;
        if crc.try_get_u32().ok()? != trailer_crc(store, segment, covered) {
            return None;
        }
        let mut rest = covered;
        if rest.try_get_u32().ok()? != MAGIC {
            return None;
        }
        let _reserved = rest.try_get_u32().ok()?;
        let entries = rest.try_get_u64().ok()?;
        Some(Self { entries, end: rest.try_get_u64().ok()?, crc: rest.try_get_u32().ok()? })
    }
}

fn trailer_crc(store: u128, segment: u64, covered: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&store.to_be_bytes());
    let crc = crc32c::crc32c_append(crc, &segment.to_be_bytes());
    crc32c::crc32c_append(crc, covered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Draft, Stamp};

    fn outline() -> Outline {
        let mut outline = Outline::new(7, 1);
        for sequence in 1..4 {
            let mut draft = Draft::default();
            draft.clear();
            draft.put(&[4, 5, 6], b"head", &[&vec![1; sequence]]).unwrap();
            let stamp = Stamp { sequence: sequence as u64, epoch: 1, oldest: 1 };
            let (header, frame) = draft.finish(outline.site(), stamp).unwrap();
            let frame = frame.to_vec();
            outline.push(header, &frame, draft.table());
        }
        outline
    }

    #[test]
    fn an_outline_is_read_as_it_was_written() {
        let outline = outline();
        let mut bytes = outline.encode();
        let trailer = Trailer::read(7, 1, &bytes[bytes.len() - TRAILER..]).unwrap();
        bytes.truncate(usize::try_from(trailer.entries).unwrap());
        assert_eq!(Outline::decode(7, 1, trailer, bytes), Some(outline.clone()));
        assert_eq!(
            outline.frames().map(|(_, header, _)| header.stamp.sequence).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn an_outline_with_a_flipped_bit_is_not_used() {
        let bytes = outline().encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let read = Trailer::read(7, 1, &flipped[flipped.len() - TRAILER..]).and_then(|trailer| {
                flipped.truncate(usize::try_from(trailer.entries).unwrap());
                Outline::decode(7, 1, trailer, flipped)
            });
            assert_eq!(read, None, "byte {at}");
        }
    }
}

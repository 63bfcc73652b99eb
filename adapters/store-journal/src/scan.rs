//! Reads the frames of a segment, all of its bytes, and finds where they end.

use crate::frame::{ALIGN, HEADER, Header, Site};
use crate::outline::Outline;
use crate::planted::{Defect, is_planted};
use crate::segment::SegmentHeader;

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// `None` if the segment's header is not valid.
    pub(crate) header: Option<SegmentHeader>,
    /// The frames from the beginning up to the first place without a valid one.
    pub(crate) outline: Outline,
    /// Whether the header of another frame follows behind that place.
    ///
    /// A frame is written when the one before is durable, so the frame at that place was durable once: it is damaged,
    /// and is not one whose write was interrupted.
    pub(crate) continues: bool,
}

/// Reads a segment.
pub(crate) fn scan(store: u128, segment: u64, bytes: &[u8]) -> Scan {
    let mut outline = Outline::new(store, segment);
    while let Some((header, frame)) = frame_at(outline.site(), bytes) {
        let Some(table) = header.check(frame) else { break };
        outline.push(header, frame, table);
    }
    let continues = next_header(outline.site(), bytes).is_some() && !is_planted(Defect::DamageIsTheEnd);
    Scan { header: SegmentHeader::read(bytes), outline, continues }
}

/// A header at this site, and the bytes from there on.
pub(crate) fn frame_at(site: Site, bytes: &[u8]) -> Option<(Header, &[u8])> {
    let frame = bytes.get(usize::try_from(site.at).ok()?..)?;
    let header = Header::read(site, frame)?;
    Some((header, frame))
}

/// Where the next header behind this site is.
pub(crate) fn next_header(site: Site, bytes: &[u8]) -> Option<u64> {
    let first = site.at.saturating_add(ALIGN as u64);
    let last = (bytes.len() as u64).saturating_sub(HEADER as u64);
    (first..=last).step_by(ALIGN).find(|&at| frame_at(Site { at, ..site }, bytes).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Draft, Stamp};
    use crate::segment::FORMAT;

    /// A segment with three frames, and where they begin.
    fn segment() -> (Vec<u8>, Vec<u64>) {
        let mut bytes = SegmentHeader { format: FORMAT, store: 7, segment: 2, first: 1 }.encode();
        let mut outline = Outline::new(7, 2);
        let mut starts = Vec::new();
        for sequence in 1..4 {
            let mut draft = Draft::default();
            draft.clear();
            draft.put(b"key", &[], &[&[9; 40]]).unwrap();
            let stamp = Stamp { sequence, epoch: 1, oldest: 1 };
            starts.push(outline.end);
            let (header, frame) = draft.finish(outline.site(), stamp).unwrap();
            bytes.extend_from_slice(frame);
            outline.push(header, frame, &[]);
        }
        (bytes, starts)
    }

    #[test]
    fn all_frames_are_found() {
        let (bytes, _) = segment();
        let scan = scan(7, 2, &bytes);
        assert_eq!(scan.outline.frames().count(), 3);
        assert_eq!(scan.outline.end, bytes.len() as u64);
        assert!(!scan.continues);
        assert!(scan.header.is_some());
    }

    #[test]
    fn a_frame_that_fails_is_the_end_if_it_is_the_last() {
        let (bytes, starts) = segment();
        for len in starts[2]..bytes.len() as u64 - 8 {
            let scan = scan(7, 2, &bytes[..usize::try_from(len).unwrap()]);
            assert_eq!((scan.outline.end, scan.continues), (starts[2], false), "{len} bytes");
        }
    }

    #[test]
    fn a_frame_that_fails_is_damage_if_another_follows() {
        let (bytes, starts) = segment();
        for at in starts[0]..starts[2] {
            let mut flipped = bytes.clone();
            flipped[usize::try_from(at).unwrap()] ^= 1;
            let scan = scan(7, 2, &flipped);
            let is_whole = scan.outline.frames().count() == 3;
            assert!(scan.continues || is_whole, "byte {at}");
        }
    }
}

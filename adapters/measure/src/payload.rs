//! The payload of a measured message: it shows the receiver whether the message is the right one.
//!
//! Little-endian: a CRC-32 of everything behind it (4 bytes), a mark (3), the [`Kind`] (1), the publisher (8), the
//! message's number (8), the moment from which its latency counts in microseconds (8), and a filler.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes in front of the filler, and so the size of the smallest payload.
pub const HEAD: usize = 32;

/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// Distinguishes measured messages from others, and this format from later ones.
const MARK: [u8; 3] = *b"zb1";

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It counts.
    Measured,
    /// It is verified, but counts in no figure.
    WarmUp,
    /// It is its publisher's last one; its number is the number of messages before it.
    End,
}

/// What the head of a payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// What the message is for.
    pub kind: Kind,
    /// The publisher's number.
    pub publisher: u64,
    /// The number of messages that the publisher published before this one.
    pub number: u64,
    /// When the message was due, or published, in microseconds since an epoch of the tool's choice.
    pub since: u64,
}

/// What a received payload turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A measured message, intact.
    Intact(Stamp),
    /// It has the mark, but not the bytes that were published.
    Corrupted,
    /// Not a measured message.
    Foreign,
}

/// Builds the payloads of one publisher.
#[derive(Debug, Clone)]
pub struct Payloads {
    publisher: u64,
    filler: Vec<u8>,
}

impl Payloads {
    /// Payloads of `size` bytes, but at least [`HEAD`].
    #[must_use]
    pub fn new(publisher: u64, size: usize) -> Self {
        // Neighbouring bytes differ, so that a shifted filler does not go unnoticed.
        let filler = (0..size.saturating_sub(HEAD)).zip((0..=250u8).cycle()).map(|(_, byte)| byte);
        Self { publisher, filler: filler.collect() }
    }

    /// Bytes of a payload.
    #[must_use]
    pub const fn size(&self) -> usize {
        HEAD.saturating_add(self.filler.len())
    }

    /// A payload for each number from `first` on, with a moment each; all in one allocation.
    pub fn build<'a>(
        &'a self,
        kind: Kind,
        first: u64,
        moments: impl ExactSizeIterator<Item = u64> + 'a,
    ) -> impl Iterator<Item = Bytes> + 'a {
        let mut memory = BytesMut::with_capacity(self.size().saturating_mul(moments.len()));
        moments.zip(first..).map(move |(since, number)| {
            let stamp = Stamp { kind, publisher: self.publisher, number, since };
            append(&mut memory, stamp, &self.filler)
        })
    }

    /// The last message, after `number` others.
    #[must_use]
    pub fn end(&self, number: u64, since: u64) -> Bytes {
        let mut memory = BytesMut::with_capacity(HEAD);
        append(&mut memory, Stamp { kind: Kind::End, publisher: self.publisher, number, since }, &[])
    }
}

/// Reads and verifies a whole payload.
#[must_use]
pub fn verify(payload: &[u8]) -> Received {
    let Some((checksum, covered)) = payload.split_first_chunk::<CHECKSUM>() else { return Received::Foreign };
    if !covered.starts_with(&MARK) {
        return Received::Foreign;
    }
    if u32::from_le_bytes(*checksum) != crc32fast::hash(covered) {
        return Received::Corrupted;
    }
    read_head(payload).map_or(Received::Corrupted, Received::Intact)
}

/// Reads the head of a payload without verifying the checksum; `None` if it is not one of a measured message.
#[must_use]
pub fn read_head(payload: &[u8]) -> Option<Stamp> {
    let rest = payload.get(CHECKSUM..)?.strip_prefix(&MARK)?;
    let (kind, rest) = rest.split_first()?;
    let kind = match kind {
        0 => Kind::Measured,
        1 => Kind::WarmUp,
        2 => Kind::End,
        _ => return None,
    };
    let (publisher, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (since, _) = rest.split_first_chunk()?;
    let [publisher, number, since] = [publisher, number, since].map(|field| u64::from_le_bytes(*field));
    Some(Stamp { kind, publisher, number, since })
}

/// Gives a payload a new stamp and checksum; its filler stays. Anything shorter than [`HEAD`] stays as it is.
pub fn restamp(payload: &mut [u8], stamp: Stamp) {
    if payload.len() < HEAD {
        return;
    }
    let Some((checksum, covered)) = payload.split_first_chunk_mut::<CHECKSUM>() else { return };
    let mut head = &mut *covered;
    head.put_slice(&MARK);
    head.put_u8(match stamp.kind {
        Kind::Measured => 0,
        Kind::WarmUp => 1,
        Kind::End => 2,
    });
    for field in [stamp.publisher, stamp.number, stamp.since] {
        head.put_u64_le(field);
    }
    *checksum = crc32fast::hash(covered).to_le_bytes();
}

/// Splits a new payload off memory that is empty.
fn append(memory: &mut BytesMut, stamp: Stamp, filler: &[u8]) -> Bytes {
    memory.put_bytes(0, HEAD);
    memory.put_slice(filler);
    restamp(memory, stamp);
    memory.split().freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        for size in [HEAD, HEAD + 1, 128, 1 << 20] {
            let payloads = Payloads::new(7, size);
            let built: Vec<_> = payloads.build(Kind::WarmUp, 5, [10, 20].into_iter()).collect();
            assert_eq!(built.iter().map(Bytes::len).collect::<Vec<_>>(), [size, size]);
            let stamp = Stamp { kind: Kind::WarmUp, publisher: 7, number: 6, since: 20 };
            assert_eq!(verify(&built[1]), Received::Intact(stamp));
            assert_eq!(read_head(&built[1][..HEAD]), Some(stamp));
        }
        let stamp = Stamp { kind: Kind::End, publisher: 7, number: 2, since: 0 };
        assert_eq!(verify(&Payloads::new(7, 128).end(2, 0)), Received::Intact(stamp));
    }

    #[test]
    fn a_payload_gets_another_stamp() {
        let mut payload =
            Payloads::new(7, 100).build(Kind::WarmUp, 5, [10].into_iter()).next().unwrap().to_vec();
        let stamp = Stamp { kind: Kind::Measured, publisher: 8, number: 9, since: 11 };
        restamp(&mut payload, stamp);
        assert_eq!(verify(&payload), Received::Intact(stamp));
        restamp(&mut payload[..HEAD - 1], Stamp { number: 10, ..stamp });
        assert_eq!(read_head(&payload), Some(stamp), "too short for a stamp");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let whole = Payloads::new(7, 100).build(Kind::Measured, 0, [1].into_iter()).next().unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            let is_mark = (CHECKSUM..CHECKSUM + MARK.len()).contains(&at);
            let expected = if is_mark { Received::Foreign } else { Received::Corrupted };
            assert_eq!(verify(&changed), expected, "byte {at}");
        }
        assert_eq!(verify(&whole[..whole.len() - 1]), Received::Corrupted);
        assert_eq!(verify(&whole[..6]), Received::Foreign);
        assert_eq!(verify(b"a message of another program"), Received::Foreign);
    }
}

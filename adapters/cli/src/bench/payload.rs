//! What stands in a measured message, so that whoever gets it can tell whether it is the right one.
//!
//! Little-endian: 4 bytes of CRC-32 over all that follows, 3 of a mark, 1 that says what it is, 8 of who published it,
//! 8 of its number, 8 of the moment that latency counts from (microseconds since the Unix epoch), and a filler.

use bytes::{BufMut, Bytes, BytesMut};
use zaichik_tokio::Timestamp;

/// Bytes of the smallest payload: one without a filler.
pub(crate) const SMALLEST: usize = 32;

/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// Tells measured messages from others, and their format from a later one.
const MARK: [u8; 3] = *b"zb1";

/// What a message is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It counts.
    Measured,
    /// It is verified, and counts in no figure.
    WarmUp,
    /// Nothing more comes of its publisher; its number is how many messages there were.
    End,
}

/// What a payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) kind: Kind,
    /// Who published it, unique among all runs.
    pub(crate) publisher: u64,
    /// How many messages its publisher published before it.
    pub(crate) number: u64,
    /// When it was due, or published.
    pub(crate) since: Timestamp,
}

/// What a message turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A measured message, intact.
    Intact(Stamp),
    /// It has the mark, but not the bytes that were published.
    Corrupted,
    /// Somebody else's.
    Foreign,
}

/// Makes the payloads of one publisher.
#[derive(Debug)]
pub(crate) struct Payloads {
    publisher: u64,
    filler: Vec<u8>,
}

impl Payloads {
    /// Payloads of `size` bytes; at least [`SMALLEST`].
    pub(crate) fn new(publisher: u64, size: usize) -> Self {
        // A byte that went to another place is to be noticed, so that neighbours differ.
        let filler = (0..size.saturating_sub(SMALLEST)).zip((0..=250u8).cycle()).map(|(_, byte)| byte);
        Self { publisher, filler: filler.collect() }
    }

    /// Bytes of a payload.
    pub(crate) const fn size(&self) -> usize {
        SMALLEST.saturating_add(self.filler.len())
    }

    /// The payload of each number from `first` on, each with its moment; in one piece of memory.
    pub(crate) fn make<'a>(
        &'a self,
        kind: Kind,
        first: u64,
        moments: impl ExactSizeIterator<Item = Timestamp> + 'a,
    ) -> impl Iterator<Item = Bytes> + 'a {
        let mut memory = BytesMut::with_capacity(self.size().saturating_mul(moments.len()));
        moments.zip(first..).map(move |(since, number)| {
            let stamp = Stamp { kind, publisher: self.publisher, number, since };
            write(&mut memory, stamp, &self.filler);
            memory.split().freeze()
        })
    }

    /// Says how many messages there were.
    pub(crate) fn end(&self, number: u64, since: Timestamp) -> Bytes {
        let mut memory = BytesMut::with_capacity(SMALLEST);
        write(&mut memory, Stamp { kind: Kind::End, publisher: self.publisher, number, since }, &[]);
        memory.freeze()
    }
}

/// Looks at a payload.
pub(crate) fn read(payload: &[u8]) -> Reading {
    let Some((checksum, covered)) = payload.split_first_chunk::<CHECKSUM>() else { return Reading::Foreign };
    let Some((mark, rest)) = covered.split_first_chunk::<3>() else { return Reading::Foreign };
    if *mark != MARK {
        return Reading::Foreign;
    }
    if u32::from_le_bytes(*checksum) != crc32fast::hash(covered) {
        return Reading::Corrupted;
    }
    stamp(rest).map_or(Reading::Corrupted, Reading::Intact)
}

fn stamp(bytes: &[u8]) -> Option<Stamp> {
    let (kind, rest) = bytes.split_first()?;
    let kind = match kind {
        0 => Kind::Measured,
        1 => Kind::WarmUp,
        2 => Kind::End,
        _ => return None,
    };
    let (publisher, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (since, _) = rest.split_first_chunk()?;
    Some(Stamp {
        kind,
        publisher: u64::from_le_bytes(*publisher),
        number: u64::from_le_bytes(*number),
        since: Timestamp::from_micros(u64::from_le_bytes(*since)),
    })
}

/// Appends a payload to memory that is empty.
fn write(memory: &mut BytesMut, stamp: Stamp, filler: &[u8]) {
    memory.put_u32_le(0);
    memory.put_slice(&MARK);
    memory.put_u8(match stamp.kind {
        Kind::Measured => 0,
        Kind::WarmUp => 1,
        Kind::End => 2,
    });
    memory.put_u64_le(stamp.publisher);
    memory.put_u64_le(stamp.number);
    memory.put_u64_le(stamp.since.as_micros());
    memory.put_slice(filler);
    if let Some((checksum, covered)) = memory.split_first_chunk_mut::<CHECKSUM>() {
        *checksum = crc32fast::hash(covered).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        for size in [SMALLEST, SMALLEST + 1, 128, 1 << 20] {
            let payloads = Payloads::new(7, size);
            let moments = [10, 20].map(Timestamp::from_micros);
            let made: Vec<_> = payloads.make(Kind::WarmUp, 5, moments.into_iter()).collect();
            assert_eq!(made.iter().map(Bytes::len).collect::<Vec<_>>(), [size, size]);
            let stamp = Stamp { kind: Kind::WarmUp, publisher: 7, number: 6, since: moments[1] };
            assert_eq!(read(&made[1]), Reading::Intact(stamp));
        }
        let end = Payloads::new(7, 128).end(2, Timestamp::ZERO);
        let stamp = Stamp { kind: Kind::End, publisher: 7, number: 2, since: Timestamp::ZERO };
        assert_eq!(read(&end), Reading::Intact(stamp));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let moment = [Timestamp::from_micros(1)].into_iter();
        let whole = Payloads::new(7, 100).make(Kind::Measured, 0, moment).next().expect("one");
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            let expected = if (CHECKSUM..CHECKSUM + MARK.len()).contains(&at) {
                Reading::Foreign
            } else {
                Reading::Corrupted
            };
            assert_eq!(read(&changed), expected, "byte {at}");
        }
        assert_eq!(read(&whole[..whole.len() - 1]), Reading::Corrupted);
        assert_eq!(read(&whole[..6]), Reading::Foreign);
        assert_eq!(read(b"hello, somebody else is here too"), Reading::Foreign);
    }
}

//! The fixed start of a record, and what can be told from it alone.

use crate::limits::Limits;
use crate::read::Reader;

/// Bytes of a record that are not time to live, headers, key or body.
pub const RECORD_OVERHEAD: usize = 16;

/// Where a record's timestamp stands, in bytes from its start.
pub const RECORD_TIMESTAMP_AT: usize = 8;

/// Most headers of one record.
pub const MAX_HEADERS: usize = Limits::MAX_ELEMENTS as usize;

pub(super) const KEY: u8 = 1;
pub(super) const HEADERS: u8 = 2;
pub(super) const TTL: u8 = 4;
pub(super) const TOMBSTONE: u8 = 8;

/// Length and life of a record that was checked when it was published.
///
/// ```
/// use zaichik_proto::{Record, RecordHead};
/// let mut bytes = Vec::new();
/// Record { body: b"one tea", timestamp: 7, ..Record::default() }.encode(&mut bytes);
/// let head = RecordHead::peek(&bytes).expect("a whole head");
/// assert_eq!((head.len, head.timestamp), (bytes.len(), 7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Bytes of the whole record.
    pub len: usize,
    /// When the broker accepted it, in microseconds since the Unix epoch.
    pub timestamp: u64,
    /// Its own time to live in microseconds, if it has one.
    pub ttl_micros: Option<u64>,
}

impl RecordHead {
    /// Reads the record at the front of `bytes`; `None` if there is no whole head.
    #[must_use]
    #[inline]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<RECORD_OVERHEAD>()?;
        let [a, b, c, d, flags, _, _, _, timestamp @ ..] = *fixed;
        let len = (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(4);
        let ttl_micros = if flags & TTL == 0 { None } else { Some(Reader::new(rest).u64().ok()?) };
        Some(Self { len, timestamp: u64::from_le_bytes(timestamp), ttl_micros })
    }
}

/// Whose records: a client leaves timestamps zero, the broker has filled them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Publish,
    Delivery,
}

/// Bytes of the record at the front of `bytes`, as its size field has it; `None` if that is not all there.
#[inline]
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let size = bytes.first_chunk().copied().map(u32::from_le_bytes)?;
    (size as usize).checked_add(4)
}

/// Whether the record at the front of `bytes` is nothing but a body, which most are: then its length is all that can
/// be wrong with it.
#[inline]
pub(super) fn is_plain(bytes: &[u8], origin: Origin) -> bool {
    let Some(fixed) = bytes.first_chunk::<RECORD_OVERHEAD>() else {
        return false;
    };
    let [_, _, _, _, flags, zero, key_low, key_high, timestamp @ ..] = *fixed;
    let is_bare = u32::from_le_bytes([flags, zero, key_low, key_high]) == 0;
    is_bare && (origin == Origin::Delivery || u64::from_le_bytes(timestamp) == 0)
}

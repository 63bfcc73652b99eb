//! The fixed fields at the start of a record.

use crate::limits::Limits;
use crate::read::Reader;

/// Size of a record without time to live, headers, key and body, in bytes.
pub const RECORD_OVERHEAD: usize = 16;

/// Position of the timestamp in a record, in bytes.
pub const RECORD_TIMESTAMP_AT: usize = 8;

/// Maximum number of headers of one record.
pub const MAX_HEADERS: usize = Limits::MAX_ELEMENTS as usize;

pub(super) const KEY: u8 = 1;
pub(super) const HEADERS: u8 = 2;
pub(super) const TTL: u8 = 4;
pub(super) const TOMBSTONE: u8 = 8;

/// The length and lifetime of a record that is already checked.
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
    /// Size of the record in bytes.
    pub len: usize,
    /// When the broker accepted the record, in microseconds since the Unix epoch.
    pub timestamp: u64,
    /// The record's own time to live in microseconds, if it has one.
    pub ttl_micros: Option<u64>,
    /// Whether the record has a key.
    pub has_key: bool,
}

impl RecordHead {
    /// Reads the head of the record at the front of `bytes`; `None` if the head is incomplete.
    #[must_use]
    #[inline]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<RECORD_OVERHEAD>()?;
        let [a, b, c, d, flags, _, _, _, timestamp @ ..] = *fixed;
        let len = (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(4);
        let ttl_micros = if flags & TTL == 0 { None } else { Some(Reader::new(rest).u64().ok()?) };
        let has_key = flags & KEY != 0;
        Some(Self { len, timestamp: u64::from_le_bytes(timestamp), ttl_micros, has_key })
    }
}

/// The origin of records: clients leave timestamps zero, the broker fills them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Publish,
    Delivery,
}

/// Size of the record at the front of `bytes`, according to its size field; `None` if that is incomplete.
#[inline]
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let size = bytes.first_chunk().copied().map(u32::from_le_bytes)?;
    (size as usize).checked_add(4)
}

/// Whether the record at the front of `bytes` is plain: it has a body and nothing else, as most records do. Then only
/// its length can be invalid.
#[inline]
pub(super) fn is_plain(bytes: &[u8], origin: Origin) -> bool {
    let Some(fixed) = bytes.first_chunk::<RECORD_OVERHEAD>() else {
        return false;
    };
    let [_, _, _, _, flags, zero, key_low, key_high, timestamp @ ..] = *fixed;
    let is_bare = u32::from_le_bytes([flags, zero, key_low, key_high]) == 0;
    is_bare && (origin == Origin::Delivery || u64::from_le_bytes(timestamp) == 0)
}

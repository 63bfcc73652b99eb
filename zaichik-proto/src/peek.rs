//! The few fields of a stored record that a log needs, read without parsing the rest.

use crate::read::Reader;
use crate::record::{RECORD_OVERHEAD, TTL};

/// Length and life of a record that was checked when it was published.
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
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<RECORD_OVERHEAD>()?;
        let [a, b, c, d, flags, _, _, _, timestamp @ ..] = *fixed;
        let len = (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(4);
        let ttl_micros = if flags & TTL == 0 { None } else { Some(Reader::new(rest).u64().ok()?) };
        Some(Self { len, timestamp: u64::from_le_bytes(timestamp), ttl_micros })
    }
}

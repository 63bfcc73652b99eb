//! Records that are written.

use bytes::BufMut;

use super::head::{HEADERS, KEY, MAX_HEADERS, RECORD_OVERHEAD, TOMBSTONE, TTL};
use crate::error::RecordError;
use crate::limits::Limits;

/// A record to encode.
///
/// ```
/// use zaichik_proto::Record;
/// let record = Record { key: Some(b"user-7"), body: b"hello", ..Record::default() };
/// assert_eq!(record.encoded_len(), 16 + 6 + 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record<'a> {
    /// The key for compaction, at most 1,024 bytes; an empty key is a key.
    pub key: Option<&'a [u8]>,
    /// At most 1,024 headers, in order: names of 1 to 255 bytes, which may repeat, and values of at most 65,535 bytes.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: &'a [u8],
    /// The record's own time to live in microseconds, above 0 (rule R8).
    pub ttl_micros: Option<u64>,
    /// Whether the record deletes its key (rule C7); such a record has a key and no body.
    pub tombstone: bool,
    /// When the broker accepted the record, in microseconds since the Unix epoch; 0 in a publish.
    pub timestamp: u64,
}

impl Record<'_> {
    /// Size on the wire in bytes; saturates, and the result is then above every limit.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let ttl = if self.ttl_micros.is_some() { 8 } else { 0 };
        let headers = if self.headers.is_empty() { 0 } else { self.headers_len().saturating_add(4) };
        RECORD_OVERHEAD
            .saturating_add(ttl)
            .saturating_add(headers)
            .saturating_add(self.key.map_or(0, <[u8]>::len))
            .saturating_add(self.body.len())
    }

    /// Checks that the layout can hold the record and that the broker would accept it.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong. The peer would reject a frame with such a record.
    pub fn check(&self) -> Result<(), RecordError> {
        if self.key.is_some_and(|key| key.len() > Limits::MAX_KEY) {
            return Err(RecordError::KeyTooLong);
        }
        if self.headers.len() > MAX_HEADERS {
            return Err(RecordError::TooManyHeaders);
        }
        let bad = |(name, value): &(&str, &[u8])| {
            name.is_empty() || name.len() > usize::from(u8::MAX) || value.len() > usize::from(u16::MAX)
        };
        if self.headers.iter().any(bad) {
            return Err(RecordError::BadHeaders);
        }
        if self.ttl_micros == Some(0) {
            return Err(RecordError::ZeroTtl);
        }
        if self.tombstone && (self.key.is_none() || !self.body.is_empty()) {
            return Err(RecordError::BadTombstone);
        }
        if u32::try_from(self.encoded_len()).is_err() {
            return Err(RecordError::BadSize);
        }
        Ok(())
    }

    /// Appends the record.
    ///
    /// A record that [`check`](Self::check) refuses is written in a form that the peer refuses as well.
    pub fn encode(&self, out: &mut impl BufMut) {
        let key = self.key.unwrap_or_default();
        let mut flags = 0;
        flags |= if self.key.is_some() { KEY } else { 0 };
        flags |= if self.headers.is_empty() { 0 } else { HEADERS };
        flags |= if self.ttl_micros.is_some() { TTL } else { 0 };
        flags |= if self.tombstone { TOMBSTONE } else { 0 };
        out.put_u32_le(u32::try_from(self.encoded_len().saturating_sub(4)).unwrap_or(u32::MAX));
        out.put_u8(flags);
        out.put_u8(0);
        out.put_u16_le(u16::try_from(key.len()).unwrap_or(u16::MAX));
        out.put_u64_le(self.timestamp);
        if let Some(ttl) = self.ttl_micros {
            out.put_u64_le(ttl);
        }
        if !self.headers.is_empty() {
            out.put_u32_le(u32::try_from(self.headers_len()).unwrap_or(u32::MAX));
            out.put_u16_le(u16::try_from(self.headers.len()).unwrap_or(u16::MAX));
            for (name, value) in self.headers {
                let lens = u8::try_from(name.len()).ok().zip(u16::try_from(value.len()).ok());
                // Every peer refuses an empty name, so a length that does not fit can't be misread.
                let (name_len, value_len) = lens.unwrap_or_default();
                out.put_u8(name_len);
                out.put_slice(name.as_bytes());
                out.put_u16_le(value_len);
                out.put_slice(value);
            }
        }
        out.put_slice(key);
        out.put_slice(self.body);
    }

    fn headers_len(&self) -> usize {
        let one = |(name, value): &(&str, &[u8])| name.len().saturating_add(value.len()).saturating_add(3);
        self.headers.iter().map(one).fold(2, usize::saturating_add)
    }
}

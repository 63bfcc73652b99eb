//! Records that are read.

use super::head::{HEADERS, KEY, MAX_HEADERS, RECORD_OVERHEAD, TOMBSTONE, TTL, record_len};
use crate::error::RecordError;
use crate::limits::Limits;
use crate::read::Reader;

/// A record, borrowed from its buffer.
///
/// ```
/// use zaichik_proto::{Record, Records};
/// let mut bytes = Vec::new();
/// Record { key: Some(b"k"), body: b"one tea", ..Record::default() }.encode(&mut bytes);
/// let record = Records::from_encoded(1, &bytes).iter().next().expect("one");
/// assert_eq!((record.key(), record.body()), (Some(&b"k"[..]), &b"one tea"[..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    raw: &'a [u8],
    timestamp: u64,
    ttl_micros: Option<u64>,
    tombstone: bool,
    headers: Headers<'a>,
    key: Option<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// Takes the first record off `bytes` and checks everything except the timestamp.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong with the record.
    pub fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RecordError> {
        let len = record_len(bytes).ok_or(RecordError::BadSize)?;
        let (raw, rest) = bytes.split_at_checked(len).ok_or(RecordError::BadSize)?;
        Self::parse(raw).map(|record| (record, rest))
    }

    fn parse(raw: &'a [u8]) -> Result<Self, RecordError> {
        let (fixed, rest) = raw.split_first_chunk::<RECORD_OVERHEAD>().ok_or(RecordError::BadSize)?;
        let [_, _, _, _, flags, zero, key_low, key_high, timestamp @ ..] = *fixed;
        if flags > (KEY | HEADERS | TTL | TOMBSTONE) || zero != 0 {
            return Err(RecordError::ReservedBits);
        }
        let key_len = usize::from(u16::from_le_bytes([key_low, key_high]));
        if key_len > Limits::MAX_KEY {
            return Err(RecordError::KeyTooLong);
        }
        let mut reader = Reader::new(rest);
        let short = |_| RecordError::BadSize;
        let ttl_micros = match flags & TTL {
            0 => None,
            _ => Some(reader.u64().map_err(short)?),
        };
        if ttl_micros == Some(0) {
            return Err(RecordError::ZeroTtl);
        }
        let headers = if flags & HEADERS == 0 {
            Headers::EMPTY
        } else {
            let len = reader.u32().map_err(short)?;
            Headers::parse(reader.take(len as usize).map_err(short)?)?
        };
        let key = if flags & KEY == 0 {
            if key_len != 0 {
                return Err(RecordError::KeyWithoutFlag);
            }
            None
        } else {
            Some(reader.take(key_len).map_err(short)?)
        };
        let body = reader.rest();
        let tombstone = flags & TOMBSTONE != 0;
        if tombstone && (key.is_none() || !body.is_empty()) {
            return Err(RecordError::BadTombstone);
        }
        Ok(Self { raw, timestamp: u64::from_le_bytes(timestamp), ttl_micros, tombstone, headers, key, body })
    }

    /// The encoded record, including its size field.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// When the broker accepted the record, in microseconds since the Unix epoch; 0 in a publish.
    #[must_use]
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The record's own time to live in microseconds, if it has one.
    #[must_use]
    pub const fn ttl_micros(&self) -> Option<u64> {
        self.ttl_micros
    }

    /// Whether the record deletes its key.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        self.tombstone
    }

    /// The record's headers, in order.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// The record's key, if it has one; an empty key is a key.
    #[must_use]
    pub const fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The record's body.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Size of key, headers and body together, which [`Limits::max_message`] bounds, in bytes.
    #[must_use]
    pub fn message_len(&self) -> usize {
        let key = self.key.map_or(0, <[u8]>::len);
        key.saturating_add(self.headers.bytes.len()).saturating_add(self.body.len())
    }
}

/// The headers of a record, in order.
///
/// ```
/// use zaichik_proto::{Record, Records};
/// let mut bytes = Vec::new();
/// Record { headers: &[("trace", b"a1")], ..Record::default() }.encode(&mut bytes);
/// let record = Records::from_encoded(1, &bytes).iter().next().expect("one");
/// assert!(record.headers().iter().eq([("trace", &b"a1"[..])]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const EMPTY: Self = Self { bytes: &[] };

    /// Reads a header section: a `u16` count, then for each header `u8` length, name, `u16` length, value.
    ///
    /// # Errors
    /// [`RecordError::BadHeaders`] if the section is malformed, [`RecordError::TooManyHeaders`] if it has more than
    /// 1,024 headers.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let bad = |_| RecordError::BadHeaders;
        let mut reader = Reader::new(bytes);
        let count = usize::from(reader.u16().map_err(bad)?);
        if count > MAX_HEADERS {
            return Err(RecordError::TooManyHeaders);
        }
        for _ in 0..count {
            let name = reader.short_text("header name").map_err(bad)?;
            reader.long_bytes().map_err(bad)?;
            if name.is_empty() {
                return Err(RecordError::BadHeaders);
            }
        }
        if count == 0 || reader.remaining() != 0 {
            return Err(RecordError::BadHeaders);
        }
        Ok(Self { bytes })
    }

    /// The encoded header section; empty if there are no headers.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The name and value of each header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes.get(2..).unwrap_or_default());
        core::iter::from_fn(move || Some((reader.short_text("header name").ok()?, reader.long_bytes().ok()?)))
    }
}

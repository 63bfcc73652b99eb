//! Records: the layout that a publish, the log and a delivery share (docs/protocol.md §4).
//!
//! ```text
//!  0  u32  size: bytes after this field
//!  4  u8   flags: 1 key, 2 headers, 4 time to live, 8 tombstone
//!  5  u8   zero
//!  6  u16  key length, 0 without a key
//!  8  u64  timestamp: zero in a publish, the broker fills it in
//! 16  [u64 time to live] [u32 headers length, headers] [key] body
//! ```

use bytes::BufMut;
use thiserror::Error;

use crate::error::ProtocolFault;
use crate::limits::Limits;
use crate::peek::{RecordHead, after_plain};
use crate::read::Reader;

/// Bytes of a record that are not time to live, headers, key or body.
pub const RECORD_OVERHEAD: usize = 16;

/// Where a record's timestamp stands, in bytes from its start.
pub const RECORD_TIMESTAMP_AT: usize = 8;

/// Most headers of one record.
pub const MAX_HEADERS: usize = Limits::MAX_ELEMENTS as usize;

const KEY: u8 = 1;
const HEADERS: u8 = 2;
pub(crate) const TTL: u8 = 4;
const TOMBSTONE: u8 = 8;

/// A record about to be written.
///
/// ```
/// use zaichik_proto::Record;
/// let record = Record { key: Some(b"user-7"), body: b"hello", ..Record::default() };
/// assert_eq!(record.encoded_len(), 16 + 6 + 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record<'a> {
    /// The key for compaction, at most 1,024 bytes; the empty key is a key.
    pub key: Option<&'a [u8]>,
    /// Names of 1 to 255 bytes and values of at most 65,535; at most 1,024 of them, in order, repeats allowed.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: &'a [u8],
    /// The record's own time to live in microseconds, above 0 (semantics R8).
    pub ttl_micros: Option<u64>,
    /// Whether the record deletes its key (semantics C7); such a record has a key and no body.
    pub tombstone: bool,
    /// When the broker accepted it, in microseconds since the Unix epoch; 0 in a publish.
    pub timestamp: u64,
}

impl Record<'_> {
    /// Bytes on the wire; saturates, which is above every limit.
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

    /// Checks what the layout can't hold and what the broker would call malformed.
    ///
    /// # Errors
    /// [`RecordError`] says what. Writing such a record would produce a frame that the peer rejects.
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

    /// Appends the record. What [`check`](Self::check) refuses is written so that the peer refuses it too.
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
                // A name without bytes is what every peer refuses, so a length that does not fit can't mislead.
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

/// What is wrong with a record.
///
/// ```
/// use zaichik_proto::{Record, RecordError};
/// let dies_at_once = Record { ttl_micros: Some(0), ..Record::default() };
/// assert_eq!(dies_at_once.check(), Err(RecordError::ZeroTtl));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Its size does not hold its fields, or reaches past its frame.
    #[error("its size does not fit its fields")]
    BadSize,
    /// Flags or padding that must be zero are not.
    #[error("reserved bits are set")]
    ReservedBits,
    /// A key longer than 1,024 bytes.
    #[error("its key is longer than 1,024 bytes")]
    KeyTooLong,
    /// A key length without a key.
    #[error("it has a key length but no key")]
    KeyWithoutFlag,
    /// A timestamp in a publish, where the broker fills it in.
    #[error("a client must leave the timestamp zero")]
    TimestampSet,
    /// A time to live of zero.
    #[error("its time to live is zero")]
    ZeroTtl,
    /// More than 1,024 headers.
    #[error("it has more than 1,024 headers")]
    TooManyHeaders,
    /// Headers that are malformed, or a header section without headers.
    #[error("its headers are malformed")]
    BadHeaders,
    /// A tombstone without a key or with a body.
    #[error("a tombstone must have a key and no body")]
    BadTombstone,
}

/// A record that stays in its buffer.
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
    /// Takes the first record off `bytes` and checks all of it but the timestamp.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong with the record.
    pub fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RecordError> {
        let size = bytes.first_chunk().copied().map(u32::from_le_bytes).ok_or(RecordError::BadSize)?;
        let len = (size as usize).checked_add(4).ok_or(RecordError::BadSize)?;
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

    /// The record's bytes, its size field included.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// When the broker accepted it, in microseconds since the Unix epoch; 0 in a publish.
    #[must_use]
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Its own time to live in microseconds, if it has one.
    #[must_use]
    pub const fn ttl_micros(&self) -> Option<u64> {
        self.ttl_micros
    }

    /// Whether it deletes its key.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        self.tombstone
    }

    /// Its headers, in order.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// Its key, if it has one.
    #[must_use]
    pub const fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// Its body.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Key, headers and body together, in bytes: what [`Limits::max_message`] bounds.
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

    /// Reads a header section: `u16` count, then for each `u8` length, name, `u16` length, value.
    ///
    /// # Errors
    /// [`RecordError::BadHeaders`] or [`RecordError::TooManyHeaders`].
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

    /// The section's bytes; empty without headers.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Name and value of each header.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes.get(2..).unwrap_or_default());
        core::iter::from_fn(move || Some((reader.short_text("header name").ok()?, reader.long_bytes().ok()?)))
    }
}

/// Whose records: a client leaves timestamps zero, the broker has filled them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Publish,
    Delivery,
}

/// One or more records that stay in their frame.
///
/// ```
/// use zaichik_proto::{Record, Records};
/// let mut bytes = Vec::new();
/// for body in ["one tea", "two coffees"] {
///     Record { body: body.as_bytes(), ..Record::default() }.encode(&mut bytes);
/// }
/// let records = Records::from_encoded(2, &bytes);
/// assert_eq!(records.iter().map(|record| record.body().len()).sum::<usize>(), 18);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Records<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Records<'a> {
    /// Takes records that were already encoded; `count` of them.
    ///
    /// The bytes are not checked: what [`Record::encode`] wrote is right, and the peer checks everything else.
    #[must_use]
    pub const fn from_encoded(count: u32, bytes: &'a [u8]) -> Self {
        Self { count, bytes }
    }

    /// How many records.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none; a decoded list has at least one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their bytes, one after the other.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records, in order, as their bytes and what a log needs to know of them: for records that were checked.
    pub fn heads(&self) -> impl Iterator<Item = (&'a [u8], RecordHead)> + Clone + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let head = RecordHead::peek(rest)?;
            let (record, tail) = rest.split_at_checked(head.len)?;
            rest = tail;
            Some((record, head))
        })
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'a>> + Clone + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (record, tail) = RecordRef::split_first(rest).ok()?;
            rest = tail;
            Some(record)
        })
    }

    /// Reads `count` records that fill the rest of a body.
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        count: u32,
        max_records: u32,
        origin: Origin,
    ) -> Result<Self, ProtocolFault> {
        let bytes = reader.rest();
        let possible = bytes.len().checked_div(RECORD_OVERHEAD).unwrap_or(0);
        let limit = possible.min(max_records as usize);
        if count == 0 || count as usize > limit {
            let (limit, got) = (limit as u64, u64::from(count));
            return Err(ProtocolFault::CountTooLarge { field: "records", limit, got });
        }
        let mut rest = bytes;
        for index in 0..count {
            if let Some(tail) = after_plain(rest, origin) {
                rest = tail;
                continue;
            }
            let (record, tail) =
                RecordRef::split_first(rest).map_err(|error| ProtocolFault::BadRecord { index, error })?;
            if origin == Origin::Publish && record.timestamp != 0 {
                return Err(ProtocolFault::BadRecord { index, error: RecordError::TimestampSet });
            }
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(ProtocolFault::TrailingBytes { count: rest.len() });
        }
        Ok(Self { count, bytes })
    }
}

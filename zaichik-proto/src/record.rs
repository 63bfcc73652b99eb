//! Records: the layout that a publish, the log and a delivery share (docs/protocol.md §4).
//!
//! ```text
//!  0  u32  size: bytes after this field
//!  4  u8   flags: 1 key, 2 headers, 4 time to live, 8 tombstone
//!  5  u8   zero
//!  6  u16  key length, 0 without a key
//!  8  u64  timestamp: zero in a publish, filled in by the broker
//! 16  [u64 time to live] [u32 headers length, headers] [key] body
//! ```

mod head;
mod read;
mod write;

use crate::error::{ProtocolFault, RecordError};
use crate::read::Reader;

pub(crate) use self::head::Origin;
pub use self::head::{MAX_HEADERS, RECORD_OVERHEAD, RECORD_TIMESTAMP_AT, RecordHead};
use self::head::{is_plain, record_len};
pub use self::read::{Headers, RecordRef};
pub use self::write::Record;

/// One or more records, borrowed from their frame.
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
    /// Takes `count` records that are already encoded.
    ///
    /// The bytes are not checked: what [`Record::encode`] wrote is valid, and the peer checks everything else.
    #[must_use]
    pub const fn from_encoded(count: u32, bytes: &'a [u8]) -> Self {
        Self { count, bytes }
    }

    /// Number of records.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are no records; decoded records are never empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The encoded records.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records in order, each with its bytes and the head that a log needs; for records that are already checked.
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

    /// Reads one plain record that fills `bytes`; `None` for everything else, even if [`read`](Self::read) accepts it.
    #[inline]
    pub(crate) fn plain(bytes: &'a [u8], max_records: u32, origin: Origin) -> Option<Self> {
        let is_one = is_plain(bytes, origin) && record_len(bytes) == Some(bytes.len());
        (is_one && max_records > 0).then_some(Self { count: 1, bytes })
    }

    /// Reads `count` records, which end the body.
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
            if is_plain(rest, origin)
                && let Some(len) = record_len(rest).filter(|len| *len >= RECORD_OVERHEAD)
                && let Some(tail) = rest.get(len..)
            {
                rest = tail;
                continue;
            }
            let (record, tail) =
                RecordRef::split_first(rest).map_err(|error| ProtocolFault::BadRecord { index, error })?;
            if origin == Origin::Publish && record.timestamp() != 0 {
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

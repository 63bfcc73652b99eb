//! What is known of records without reading them.

use zaichik_proto::{RecordHead, Timestamp};

use super::row::{RecordsRow, Run, RunKind};
use crate::planted::{Defect, is_planted};

/// What a broker has to know of a [`RecordsRow`] whose records it leaves in the store (rule B8).
///
/// Only rows that lack no record, and whose records have no time to live of their own, have one. A store may keep it apart
/// from the row, so that a broker is [restored](crate::Restore::head) without reading the records.
///
/// ```
/// use bytes::Bytes;
/// use zaichik_engine::Timestamp;
/// use zaichik_engine::store::{RecordsHead, RecordsRow, Row, Run, RunKind};
/// use zaichik_proto::Record;
/// let mut data = Vec::new();
/// Record { body: b"one tea", ..Record::default() }.encode(&mut data);
/// let runs = vec![Run { kind: RunKind::Present, count: 1 }];
/// let last_timestamp = Timestamp::from_micros(0);
/// let row = RecordsRow { topic: 0, start: 5, last_timestamp, runs, data: Bytes::from(data) };
/// let head = row.head().expect("it lacks no record");
/// let (mut key, mut bytes) = (Vec::new(), Vec::new());
/// Row::Records(row).key().encode(&mut key);
/// head.encode(&mut bytes);
/// assert_eq!(RecordsHead::decode(&key, &bytes), Ok(head));
/// assert_eq!(head.end(), 6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordsHead {
    /// The topic's number.
    pub topic: u32,
    /// The first offset.
    pub start: u64,
    /// The number of records, at least 1.
    pub count: u32,
    /// Their bytes.
    pub bytes: u32,
    /// When the first record was accepted.
    pub first_timestamp: Timestamp,
    /// When the last one was.
    pub last_timestamp: Timestamp,
    /// Whether a record has a key.
    pub has_keys: bool,
}

impl RecordsHead {
    /// The offset after the last one; saturates.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.count as u64)
    }
}

impl RecordsRow {
    /// What is to be known if the records are left in the store; `None` if that would not be enough. Cost: proportional to the
    /// number of records.
    #[must_use]
    pub fn head(&self) -> Option<RecordsHead> {
        let [Run { kind: RunKind::Present, count }] = *self.runs else { return None };
        let first = RecordHead::peek(&self.data)?;
        let (mut rest, mut has_keys) = (&*self.data, false);
        while let Some(record) = RecordHead::peek(rest) {
            if record.ttl_micros.is_some() && !is_planted(Defect::HeadsForgetTimes) {
                return None;
            }
            has_keys |= record.has_key;
            rest = rest.get(record.len..)?;
        }
        Some(RecordsHead {
            topic: self.topic,
            start: self.start,
            count: u32::try_from(count).ok()?,
            bytes: u32::try_from(self.data.len()).ok()?,
            first_timestamp: Timestamp::from_micros(first.timestamp),
            last_timestamp: self.last_timestamp,
            has_keys,
        })
    }
}

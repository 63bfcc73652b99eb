//! The size of a publish or a batch, which the broker's limits bound.

use zaichik_proto::{Limits, RECORD_OVERHEAD, Record, RecordError};

use crate::error::RequestError;

/// The sizes of a request with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    pub(crate) records: u32,
    /// Bytes of the largest message.
    pub(crate) message: usize,
    /// Bytes of the frame's body.
    pub(crate) frame: usize,
}

impl Size {
    /// Checks and measures records; the frame contains only them.
    pub(crate) fn of(records: &[Record<'_>]) -> Result<Self, RequestError> {
        let mut size = Self { records: u32::try_from(records.len()).unwrap_or(u32::MAX), ..Self::default() };
        for (index, record) in records.iter().enumerate() {
            let bad = |error| RequestError::BadRecord { index, error };
            record.check().map_err(bad)?;
            if record.timestamp != 0 {
                return Err(bad(RecordError::TimestampSet));
            }
            let encoded = record.encoded_len();
            // Fields that every record has do not count towards the message size.
            let mut fixed = RECORD_OVERHEAD;
            fixed = fixed.saturating_add(if record.ttl_micros.is_some() { 8 } else { 0 });
            fixed = fixed.saturating_add(if record.headers.is_empty() { 0 } else { 4 });
            size.message = size.message.max(encoded.saturating_sub(fixed));
            size.frame = size.frame.saturating_add(encoded);
        }
        if records.is_empty() {
            return Err(RequestError::NoRecords);
        }
        Ok(size)
    }

    /// Adds bytes around the records.
    pub(crate) const fn with(mut self, bytes: usize) -> Self {
        self.frame = self.frame.saturating_add(bytes);
        self
    }

    /// Both requests' records in one frame.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            message: self.message.max(other.message),
            frame: self.frame.saturating_add(other.frame),
        }
    }

    pub(crate) const fn check(&self, limits: &Limits) -> Result<(), RequestError> {
        if self.records > limits.max_records {
            return Err(RequestError::TooManyRecords {
                limit: limits.max_records,
                got: self.records as usize,
            });
        }
        if self.message > limits.max_message as usize {
            return Err(RequestError::TooLarge { limit: limits.max_message as usize, got: self.message });
        }
        if self.frame > limits.max_frame as usize {
            return Err(RequestError::TooLarge { limit: limits.max_frame as usize, got: self.frame });
        }
        Ok(())
    }
}

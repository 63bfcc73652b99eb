//! What is known of records without reading them.

use bytes::BufMut;
use zaichik_proto::RECORD_OVERHEAD;

use super::fields::{Fields, put_format};
use crate::store::error::RowError;
use crate::store::head::RecordsHead;
use crate::store::key::Key;

impl RecordsHead {
    /// Appends its bytes, 26, which do not have what the row's key says.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_format(out);
        out.put_u32_le(self.count);
        out.put_u32_le(self.bytes);
        out.put_u64_le(self.first_timestamp.as_micros());
        out.put_u64_le(self.last_timestamp.as_micros());
        out.put_u8(u8::from(self.has_keys));
    }

    /// Reads what belongs to the row with this key.
    ///
    /// # Errors
    /// [`RowError::Key`], [`RowError::Format`] or [`RowError::Damaged`].
    pub fn decode(key: &[u8], head: &[u8]) -> Result<Self, RowError> {
        let row = Key::decode(key)?;
        let Key::Records { topic, start } = row else {
            return Err(RowError::Key { kind: row.kind(), len: key.len() });
        };
        let mut fields = Fields::new(&row, head)?;
        let head = Self {
            topic,
            start,
            count: fields.u32("the number of its records")?,
            bytes: fields.u32("the size of its records")?,
            first_timestamp: fields.time("its first timestamp")?,
            last_timestamp: fields.time("its last timestamp")?,
            has_keys: fields.bool("whether it has keys")?,
        };
        fields.end()?;
        let least = u64::from(head.count).saturating_mul(RECORD_OVERHEAD as u64);
        fields.check(head.count > 0 && head.end() < u64::MAX, "the number of its records")?;
        fields.check(u64::from(head.bytes) >= least, "the size of its records")?;
        fields.check(head.first_timestamp <= head.last_timestamp, "its first timestamp")?;
        Ok(head)
    }
}

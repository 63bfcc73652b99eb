//! Marks of records, and keys of records that have no row.

use bytes::BufMut;
use zaichik_proto::Limits;

use super::fields::{Fields, put_bytes, put_len};
use crate::store::error::RowError;
use crate::store::row::{KeysRow, Mark, MarkedRun, MarksRow, RememberedKey};

impl KeysRow {
    /// Maximum keys of a row.
    pub const MAX_KEYS: usize = 1_024;

    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_len(self.keys.len(), out);
        for key in &self.keys {
            out.put_u64_le(key.offset);
            out.put_u64_le(key.accepted.as_micros());
            put_bytes(&key.key, out);
        }
    }
}

pub(super) fn read(topic: u32, start: u64, fields: &mut Fields<'_>) -> Result<KeysRow, RowError> {
    const KEYS: &str = "its keys";
    let key = |fields: &mut Fields<'_>| {
        let (offset, accepted) = (fields.u64(KEYS)?, fields.time(KEYS)?);
        let key = fields.bytes(KEYS)?;
        fields.check(key.len() <= Limits::MAX_KEY && offset < u64::MAX, KEYS)?;
        Ok(RememberedKey { offset, accepted, key })
    };
    let keys = fields.list(KEYS, KeysRow::MAX_KEYS, key)?;
    fields.check(keys.first().is_some_and(|key| key.offset == start), KEYS)?;
    let rises = keys.is_sorted_by(|a, b| a.offset < b.offset && a.accepted <= b.accepted);
    fields.check(rises, KEYS)?;
    Ok(KeysRow { topic, keys })
}

impl MarksRow {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_len(self.runs.len(), out);
        for run in &self.runs {
            out.put_u64_le(run.from);
            out.put_u64_le(run.to);
            out.put_u8(match run.mark {
                Mark::Superseded => 0,
                Mark::Dead => 1,
            });
        }
    }
}

pub(super) fn read_marks(topic: u32, start: u64, fields: &mut Fields<'_>) -> Result<MarksRow, RowError> {
    const RUNS: &str = "its runs";
    let run = |fields: &mut Fields<'_>| {
        let (from, to) = (fields.u64(RUNS)?, fields.u64(RUNS)?);
        let mark = if fields.bool(RUNS)? { Mark::Dead } else { Mark::Superseded };
        Ok(MarkedRun { from, to, mark })
    };
    let runs = fields.list(RUNS, usize::MAX, run)?;
    let (mut at, mut last) = (start, None);
    for run in &runs {
        let is_next = at < run.from || (at == run.from && last != Some(run.mark));
        fields.check(is_next && run.from < run.to && run.to < u64::MAX, RUNS)?;
        (at, last) = (run.to, Some(run.mark));
    }
    fields.check(last.is_some(), RUNS)?;
    Ok(MarksRow { topic, start, runs })
}

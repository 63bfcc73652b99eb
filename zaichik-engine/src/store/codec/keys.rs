//! Marks of records, and keys of records that have no row.

use bytes::BufMut;
use zaichik_proto::Limits;

use super::fields::{Fields, put_bytes, put_len};
use crate::store::error::RowError;
use crate::store::row::{KeysRow, Mark, MarkedRun, MarksRow, RememberedKey, Row};

/// Maximum entries of a row: one for each offset of a block.
const MAX_ENTRIES: usize = 128;

impl KeysRow {
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
    let keys = fields.list(KEYS, MAX_ENTRIES, key)?;
    fields.check(!keys.is_empty() && keys.iter().all(|key| Row::block_of(key.offset) == start), KEYS)?;
    let rises = keys.is_sorted_by(|a, b| a.offset < b.offset && a.accepted <= b.accepted);
    fields.check(rises, KEYS)?;
    Ok(KeysRow { topic, keys })
}

impl MarksRow {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_len(self.runs.len(), out);
        for run in &self.runs {
            out.put_u8(in_block(run.from.saturating_sub(self.start)));
            out.put_u8(in_block(run.to.saturating_sub(run.from)));
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
        let from = start.saturating_add(u64::from(fields.u8(RUNS)?));
        let to = from.saturating_add(u64::from(fields.u8(RUNS)?));
        let mark = if fields.bool(RUNS)? { Mark::Dead } else { Mark::Superseded };
        Ok(MarkedRun { from, to, mark })
    };
    let runs = fields.list(RUNS, MAX_ENTRIES, run)?;
    fields.check(Row::block_of(start) == start, RUNS)?;
    let block_end = start.saturating_add(Row::BLOCK);
    let (mut at, mut last) = (start, None);
    for run in &runs {
        let is_next = at < run.from || (at == run.from && last != Some(run.mark));
        fields.check(is_next && run.from < run.to && run.to <= block_end, RUNS)?;
        (at, last) = (run.to, Some(run.mark));
    }
    fields.check(last.is_some(), RUNS)?;
    Ok(MarksRow { topic, start, runs })
}

/// A number of offsets of a block.
fn in_block(offsets: u64) -> u8 {
    u8::try_from(offsets).unwrap_or(u8::MAX)
}

//! Records.

use bytes::{BufMut, Bytes};
use zaichik_proto::RecordRef;

use super::fields::{Fields, put_len};
use crate::store::error::RowError;
use crate::store::row::{RecordsRow, Run, RunKind};

impl RecordsRow {
    /// Everything but the data.
    pub(super) fn put_head(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.last_timestamp.as_micros());
        put_len(self.runs.len(), out);
        for run in &self.runs {
            out.put_u8(match run.kind {
                RunKind::Present => 0,
                RunKind::Expired => 1,
                RunKind::Superseded => 2,
            });
            out.put_u64_le(run.count);
        }
    }
}

/// Bytes of a value before the number of runs, and of that number: the format and the last timestamp.
const BEFORE_RUNS: usize = 1 + 8;
const RUN_COUNT: usize = 4;
/// Bytes of a run.
const RUN: usize = 1 + 8;

impl RecordsRow {
    /// The [`data`](Self::data) in the value of such a row, without a look at the records: for a store that knows by a checksum
    /// that the value is the one it was given. `None` if the value is too short to be one.
    #[must_use]
    pub fn data_of(value: &[u8]) -> Option<&[u8]> {
        let (count, rest) = value.get(BEFORE_RUNS..)?.split_first_chunk::<RUN_COUNT>()?;
        let runs = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(RUN)?;
        rest.get(runs..)
    }
}

pub(super) fn read(topic: u32, start: u64, fields: &mut Fields<'_>) -> Result<RecordsRow, RowError> {
    const RUNS: &str = "its runs";
    let last_timestamp = fields.time("its last timestamp")?;
    let run = |fields: &mut Fields<'_>| {
        let kind = match fields.u8(RUNS)? {
            0 => RunKind::Present,
            1 => RunKind::Expired,
            2 => RunKind::Superseded,
            _ => return Err(fields.damaged(RUNS)),
        };
        Ok(Run { kind, count: fields.u64(RUNS)? })
    };
    let runs = fields.list(RUNS, usize::MAX, run)?;
    let (mut end, mut present, mut last) = (start, 0u64, None);
    for run in &runs {
        fields.check(run.count > 0 && last != Some(run.kind), RUNS)?;
        end = end.checked_add(run.count).ok_or_else(|| fields.damaged(RUNS))?;
        present = present.saturating_add(if run.kind == RunKind::Present { run.count } else { 0 });
        last = Some(run.kind);
    }
    fields.check(last.is_some() && end < u64::MAX, RUNS)?;
    let data = fields.rest();
    let (mut rest, mut timestamp) = (data, 0);
    for _ in 0..present {
        let (record, tail) = RecordRef::split_first(rest).map_err(|_| fields.damaged("a record"))?;
        fields.check(timestamp <= record.timestamp(), "a timestamp")?;
        (rest, timestamp) = (tail, record.timestamp());
    }
    fields.check(rest.is_empty(), "its length")?;
    fields.check(timestamp <= last_timestamp.as_micros(), "a timestamp")?;
    Ok(RecordsRow { topic, start, last_timestamp, runs, data: Bytes::copy_from_slice(data) })
}

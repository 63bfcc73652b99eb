//! Shared subscriptions.

use bytes::BufMut;

use super::fields::{Fields, put_len, put_text};
use crate::store::error::RowError;
use crate::store::row::GroupRow;

impl GroupRow {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_text(&self.principal, out);
        out.put_u8(u8::from(self.by_key));
        for number in [self.rewind, self.window, self.max_span] {
            out.put_u32_le(number);
        }
        for number in [self.inactive_micros, self.ack_deadline_micros, self.cursor] {
            out.put_u64_le(number);
        }
        put_len(self.done.len(), out);
        for (from, to) in &self.done {
            out.put_u64_le(*from);
            out.put_u64_le(*to);
        }
        put_len(self.failures.len(), out);
        for (offset, failures) in &self.failures {
            out.put_u64_le(*offset);
            out.put_u32_le(*failures);
        }
        put_len(self.delays.len(), out);
        for (offset, until) in &self.delays {
            out.put_u64_le(*offset);
            out.put_u64_le(until.as_micros());
        }
    }
}

pub(super) fn read(topic: u32, name: &str, fields: &mut Fields<'_>) -> Result<GroupRow, RowError> {
    let principal = fields.text("its principal")?.into();
    let by_key = fields.bool("its mode")?;
    let (rewind, window) = (fields.u32("its rewinds")?, fields.u32("its window")?);
    let max_span = fields.u32("its span")?;
    fields.check(max_span > 0, "its span")?;
    let (inactive_micros, ack_deadline_micros) =
        (fields.u64("its time to live")?, fields.u64("its time to acknowledge")?);
    let cursor = fields.u64("its cursor")?;
    let pair = |fields: &mut Fields<'_>| Ok((fields.u64("what is done")?, fields.u64("what is done")?));
    let done = fields.list("what is done", usize::MAX, pair)?;
    let mut end = cursor;
    let is_above = |(from, to): &(u64, u64)| {
        let is_above = end < *from && from < to;
        end = *to;
        is_above
    };
    fields.check(done.iter().all(is_above), "what is done")?;
    let failure = |fields: &mut Fields<'_>| Ok((fields.u64("its failures")?, fields.u32("its failures")?));
    let failures = fields.list("its failures", usize::MAX, failure)?;
    let is_open = |offset: u64| {
        let after = done.partition_point(|(from, _)| *from <= offset);
        cursor <= offset
            && after.checked_sub(1).and_then(|at| done.get(at)).is_none_or(|(_, to)| *to <= offset)
    };
    let counted = failures.is_sorted_by(|a, b| a.0 < b.0)
        && failures.iter().all(|(offset, failures)| *failures > 0 && is_open(*offset));
    fields.check(counted, "its failures")?;
    let delay = |fields: &mut Fields<'_>| Ok((fields.u64("its delays")?, fields.time("its delays")?));
    let delays = fields.list("its delays", usize::MAX, delay)?;
    let delayed = delays.is_sorted_by(|a, b| a.0 < b.0) && delays.iter().all(|(offset, _)| is_open(*offset));
    fields.check(delayed && delays.iter().all(|(_, until)| until.as_micros() > 0), "its delays")?;
    Ok(GroupRow {
        topic,
        name: name.into(),
        principal,
        by_key,
        inactive_micros,
        window,
        max_span,
        ack_deadline_micros,
        cursor,
        rewind,
        done,
        failures,
        delays,
    })
}

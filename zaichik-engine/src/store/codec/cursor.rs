//! Durable subscriptions.

use bytes::BufMut;

use super::fields::{Fields, put_len, put_text};
use crate::store::error::RowError;
use crate::store::row::{CursorRow, DeliveredRange};
use crate::subscription::MAX_RANGES;

impl CursorRow {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_text(&self.principal, out);
        for number in [self.epoch, self.held_since, self.rewind, self.sought, self.window] {
            out.put_u32_le(number);
        }
        for number in [self.inactive_micros, self.cursor, self.start, self.paused_until.as_micros()] {
            out.put_u64_le(number);
        }
        put_len(self.delivered.len(), out);
        for range in &self.delivered {
            out.put_u64_le(range.from);
            out.put_u64_le(range.to);
            out.put_u32_le(range.attempts);
            out.put_u8(u8::from(range.is_done));
        }
        put_len(self.failures.len(), out);
        for (offset, failures) in &self.failures {
            out.put_u64_le(*offset);
            out.put_u32_le(*failures);
        }
    }
}

pub(super) fn read(topic: u32, name: &str, fields: &mut Fields<'_>) -> Result<CursorRow, RowError> {
    let principal = fields.text("its principal")?.into();
    let (epoch, held_since) = (fields.u32("its epoch")?, fields.u32("its epoch")?);
    fields.check(0 < held_since && held_since <= epoch, "its epoch")?;
    let (rewind, sought) = (fields.u32("its rewinds")?, fields.u32("its rewinds")?);
    fields.check(sought <= rewind, "its rewinds")?;
    let window = fields.u32("its window")?;
    let inactive_micros = fields.u64("its time to live")?;
    let (cursor, start) = (fields.u64("its cursor")?, fields.u64("its start")?);
    fields.check(start <= cursor, "its start")?;
    let paused_until = fields.time("its pause")?;
    let delivered = fields.list("its deliveries", MAX_RANGES, range)?;
    let failure = |fields: &mut Fields<'_>| Ok((fields.u64("its failures")?, fields.u32("its failures")?));
    let failures = fields.list("its failures", usize::MAX, failure)?;
    let (mut at, mut is_known) = (cursor, true);
    for range in &delivered {
        is_known &= at <= range.from && range.from < range.to && (range.attempts > 0 || range.is_done);
        at = range.to;
    }
    fields.check(is_known, "its deliveries")?;
    // The cursor is never at an offset that is done.
    let front = delivered.first().filter(|range| range.is_done);
    fields.check(front.is_none_or(|range| range.from > cursor), "its deliveries")?;
    let counted = failures.first().is_none_or(|(offset, _)| *offset >= cursor)
        && failures.is_sorted_by(|a, b| a.0 < b.0)
        && failures.iter().all(|(_, failures)| *failures > 0);
    fields.check(counted, "its failures")?;
    Ok(CursorRow {
        topic,
        name: name.into(),
        principal,
        epoch,
        held_since,
        inactive_micros,
        window,
        cursor,
        start,
        rewind,
        sought,
        paused_until,
        delivered,
        failures,
    })
}

fn range(fields: &mut Fields<'_>) -> Result<DeliveredRange, RowError> {
    let (from, to) = (fields.u64("its deliveries")?, fields.u64("its deliveries")?);
    let attempts = fields.u32("its deliveries")?;
    Ok(DeliveredRange { from, to, attempts, is_done: fields.bool("its deliveries")? })
}

//! Producers and their answers.

use bytes::{BufMut, Bytes};
use zaichik_proto::{BatchDuplicate, BatchResult, Duplicate, Entry, Refusal, RefusalCode};

use super::fields::{Fields, put_bytes, put_text};
use crate::store::error::RowError;
use crate::store::row::{Answer, AnswerRow, ProducerRow};

impl ProducerRow {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_text(&self.principal, out);
        out.put_u32_le(self.epoch);
        out.put_u64_le(self.oldest);
        out.put_u32_le(self.count);
    }
}

pub(super) fn read(producer: u128, fields: &mut Fields<'_>) -> Result<ProducerRow, RowError> {
    let principal = fields.text("its principal")?.into();
    let (epoch, oldest) = (fields.u32("its epoch")?, fields.u64("its oldest answer")?);
    let count = fields.u32("its answers")?;
    // After the last sequence there is no next one, so it may be the last answer.
    let last = oldest.checked_add(u64::from(count.saturating_sub(1)));
    fields.check(last.is_some(), "its answers")?;
    Ok(ProducerRow { producer, principal, epoch, oldest, count })
}

impl AnswerRow {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_text(&self.principal, out);
        out.put_u64_le(self.sequence);
        match &self.answer {
            Answer::Run { requests, step, first_offset } => {
                out.put_u8(0);
                out.put_u32_le(*requests);
                out.put_u32_le(*step);
                out.put_u64_le(*first_offset);
            }
            Answer::Published { created, first_offset, duplicates } => {
                out.put_u8(1);
                out.put_u8(u8::from(*created));
                out.put_u64_le(first_offset.unwrap_or(u64::MAX));
                put_bytes(duplicates, out);
            }
            Answer::Batched { results, duplicates } => {
                out.put_u8(2);
                put_bytes(results, out);
                put_bytes(duplicates, out);
            }
            Answer::Refused(refusal) => {
                out.put_u8(3);
                out.put_u16_le(refusal.code.code());
                out.put_u32_le(refusal.operation);
                out.put_u64_le(refusal.value);
            }
            Answer::Lost => out.put_u8(4),
        }
    }
}

pub(super) fn read_answer(
    producer: u128,
    number: u64,
    fields: &mut Fields<'_>,
) -> Result<AnswerRow, RowError> {
    let principal = fields.text("its principal")?.into();
    let sequence = fields.u64("its sequence")?;
    let answer = match fields.u8("what was answered")? {
        0 => read_run(sequence, fields)?,
        1 => {
            let (created, offset) = (fields.bool("its topic")?, fields.u64("its offset")?);
            let duplicates = read_entries::<Duplicate>("its duplicates", fields)?;
            Answer::Published { created, first_offset: Some(offset).filter(|at| *at < u64::MAX), duplicates }
        }
        2 => {
            let results = read_entries::<BatchResult>("its results", fields)?;
            Answer::Batched { results, duplicates: read_entries::<BatchDuplicate>("its duplicates", fields)? }
        }
        3 => {
            let code = RefusalCode::from_code(fields.u16("its refusal")?);
            let (operation, value) = (fields.u32("its refusal")?, fields.u64("its refusal")?);
            let is_known = !matches!(code, RefusalCode::Unknown(_)) && !code.is_retryable();
            fields.check(is_known, "its refusal")?;
            Answer::Refused(Refusal { code, operation, value })
        }
        4 => Answer::Lost,
        _ => return Err(fields.damaged("what was answered")),
    };
    Ok(AnswerRow { producer, number, principal, sequence, answer })
}

fn read_run(sequence: u64, fields: &mut Fields<'_>) -> Result<Answer, RowError> {
    let (requests, step) = (fields.u32("its run")?, fields.u32("its run")?);
    let first_offset = fields.u64("its run")?;
    let last = requests.checked_sub(1).map(u64::from);
    let fits = last.is_some_and(|last| {
        let offset = last.checked_mul(u64::from(step)).and_then(|further| first_offset.checked_add(further));
        sequence.checked_add(last).is_some() && offset.is_some_and(|offset| offset < u64::MAX)
    });
    fields.check(fits && step > 0, "its run")?;
    Ok(Answer::Run { requests, step, first_offset })
}

fn read_entries<T: Entry>(field: &'static str, fields: &mut Fields<'_>) -> Result<Bytes, RowError> {
    let bytes = fields.bytes(field)?;
    // A chunk that is too short is not an entry.
    let valid = bytes.chunks(T::SIZE.max(1)).all(|entry| entry.len() == T::SIZE && T::read(entry).is_some());
    fields.check(valid, field)?;
    Ok(bytes)
}

//! Topics.

use bytes::BufMut;
use zaichik_proto::{CompactionMode, Overflow, TopicName};

use super::fields::{Fields, put_len, put_text};
use crate::config::TopicSettings;
use crate::store::error::RowError;
use crate::store::row::{Era, TopicRow};

impl TopicRow {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        put_text(&self.name, out);
        put_settings(&self.settings, out);
        out.put_u8(u8::from(self.explicit));
        for offset in [
            self.rows_from,
            self.first,
            self.hidden_below,
            self.limit_end,
            self.dropped_records,
            self.dropped_bytes,
        ] {
            out.put_u64_le(offset);
        }
        out.put_u64_le(self.changed_at.as_micros());
        put_len(self.eras.len(), out);
        for era in &self.eras {
            out.put_u64_le(era.from);
            out.put_u64_le(era.window_micros);
        }
    }
}

pub(super) fn read(topic: u32, fields: &mut Fields<'_>) -> Result<TopicRow, RowError> {
    let name = fields.text("its name")?;
    fields.check(TopicName::parse(name.as_bytes()).is_ok(), "its name")?;
    let settings = read_settings(fields)?;
    let explicit = fields.bool("whether it is explicit")?;
    let (rows_from, first) = (fields.u64("its rows")?, fields.u64("its first offset")?);
    fields.check(rows_from <= first && first < u64::MAX, "its first offset")?;
    let (hidden_below, limit_end) = (fields.u64("its floor")?, fields.u64("what its limits removed")?);
    let (dropped_records, dropped_bytes) =
        (fields.u64("what its limits still remove")?, fields.u64("what its limits still remove")?);
    let changed_at = fields.time("the change of its windows")?;
    let era = |fields: &mut Fields<'_>| {
        Ok(Era { from: fields.u64("its eras")?, window_micros: fields.u64("its eras")? })
    };
    let eras = fields.list("its eras", usize::MAX, era)?;
    fields.check(eras.is_sorted_by(|a, b| a.from < b.from), "its eras")?;
    let name = name.into();
    Ok(TopicRow {
        topic,
        name,
        settings,
        explicit,
        rows_from,
        first,
        hidden_below,
        limit_end,
        dropped_records,
        dropped_bytes,
        changed_at,
        eras,
    })
}

fn put_settings(settings: &TopicSettings, out: &mut impl BufMut) {
    out.put_u64_le(settings.retention_ttl_micros);
    out.put_u64_le(settings.compaction_window_micros);
    out.put_u8(match settings.compaction {
        CompactionMode::First => 0,
        CompactionMode::Latest => 1,
    });
    out.put_u64_le(settings.max_messages);
    out.put_u64_le(settings.max_bytes);
    out.put_u8(match settings.overflow {
        Overflow::DropOldest => 0,
        Overflow::Reject => 1,
    });
    out.put_u64_le(settings.max_keys);
    out.put_u64_le(settings.tombstone_ttl_micros);
}

fn read_settings(fields: &mut Fields<'_>) -> Result<TopicSettings, RowError> {
    const SETTINGS: &str = "its settings";
    let settings = TopicSettings {
        retention_ttl_micros: fields.u64(SETTINGS)?,
        compaction_window_micros: fields.u64(SETTINGS)?,
        compaction: match fields.u8(SETTINGS)? {
            0 => CompactionMode::First,
            1 => CompactionMode::Latest,
            _ => return Err(fields.damaged(SETTINGS)),
        },
        max_messages: fields.u64(SETTINGS)?,
        max_bytes: fields.u64(SETTINGS)?,
        overflow: match fields.u8(SETTINGS)? {
            0 => Overflow::DropOldest,
            1 => Overflow::Reject,
            _ => return Err(fields.damaged(SETTINGS)),
        },
        max_keys: fields.u64(SETTINGS)?,
        tombstone_ttl_micros: fields.u64(SETTINGS)?,
    };
    fields.check(settings.check() == 0, SETTINGS)?;
    Ok(settings)
}

//! A topic's rows.

use zaichik_proto::Timestamp;

use super::Topic;
use super::amount::Amount;
use crate::store::{KeysRow, MarksRow, RecordsRow, Row, TopicRow};

impl Topic {
    /// The topic itself; `topic` is its number.
    pub(crate) fn row(&self, topic: u32) -> TopicRow {
        let Amount { records: dropped_records, bytes: dropped_bytes } = self.log.owed();
        TopicRow {
            topic,
            name: Box::from(&*self.name),
            settings: self.settings,
            explicit: self.explicit,
            rows_from: self.log.rows_from(),
            first: self.log.first().offset,
            hidden_below: self.hidden_below,
            limit_end: self.limit_end,
            dropped_records,
            dropped_bytes,
            changed_at: Timestamp::from_micros(self.log.changed_at()),
            eras: self.keys.as_ref().map(|keys| keys.eras()).unwrap_or_default(),
        }
    }

    /// Its records.
    pub(crate) fn records_rows(&self, topic: u32) -> impl Iterator<Item = RecordsRow> {
        self.log.records_rows(topic)
    }

    /// What became of them.
    pub(crate) fn marks_rows(&self, topic: u32) -> impl Iterator<Item = MarksRow> {
        self.log.marks_rows(topic)
    }

    /// The remembered keys whose record has no row.
    pub(crate) fn keys_rows(&self, topic: u32) -> impl Iterator<Item = KeysRow> {
        let gone = |offset: u64| !self.log.holds(offset);
        let keys = self.keys.iter().flat_map(move |keys| keys.remembered_keys(0, gone));
        let mut keys = keys.peekable();
        core::iter::from_fn(move || {
            let block = Row::block_of(keys.peek()?.offset);
            let of_block = || keys.next_if(|key| Row::block_of(key.offset) == block);
            Some(KeysRow { topic, keys: core::iter::from_fn(of_block).collect() })
        })
    }
}

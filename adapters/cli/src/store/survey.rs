//! What is in a storage directory, counted from its rows.

use std::collections::BTreeMap;

use zaichik_engine::store::{CursorRow, GroupRow, MetaRow, RecordsRow, Row, TopicRow};
use zaichik_store_journal::{Disk, OpenError, Report, salvage};
use zaichik_tokio::Timestamp;

use super::problem::Problem;

/// What is in a storage directory.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) meta: Option<MetaRow>,
    /// The latest time that a row says the broker had.
    pub(super) latest: Option<Timestamp>,
    /// By their numbers, which are in the order of creation.
    pub(super) topics: BTreeMap<u32, TopicSurvey>,
    pub(super) subscriptions: u64,
    pub(super) producers: u64,
}

/// What is left of a topic.
#[derive(Debug, Default)]
pub(super) struct TopicSurvey {
    /// `None` if its row is lost.
    pub(super) row: Option<TopicRow>,
    /// The messages that are stored, from the first offset on that is not gone. Some may have expired since.
    pub(super) messages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// When the first of them was accepted.
    pub(super) oldest: Option<Timestamp>,
    /// The offset after the last one that was given to a message.
    pub(super) end: u64,
    pub(super) subscriptions: u64,
}

impl Survey {
    /// Counts all rows that can be read, and shows everything that is wrong. `None` if nothing was ever stored.
    ///
    /// # Errors
    /// The directory cannot be listed, or has another format.
    pub(super) fn take(
        disk: &mut impl Disk,
        mut found_wrong: impl FnMut(Problem),
    ) -> Result<Option<(Self, Report)>, OpenError> {
        let mut survey = Self::default();
        let report = salvage(disk, |found| {
            match found.map(|(key, value)| Row::decode(key, value)) {
                Ok(Ok(row)) => survey.add(&row),
                Ok(Err(error)) => found_wrong(error.into()),
                Err(error) => found_wrong(error.into()),
            }
            Ok::<_, OpenError>(())
        })?;
        Ok(report.map(|report| (survey, report)))
    }

    /// Counts a row; rows come in the order of their keys.
    pub(super) fn add(&mut self, row: &Row) {
        match row {
            Row::Meta(row) => {
                self.meta = Some(*row);
                self.passed(row.now);
            }
            Row::Topic(row) => {
                let topic =
                    TopicSurvey { end: row.rows_from, row: Some(row.clone()), ..TopicSurvey::default() };
                self.topics.insert(row.topic, topic);
            }
            Row::Records(row) => {
                self.passed(row.last_timestamp);
                self.topics.entry(row.topic).or_default().add(row);
            }
            Row::Cursor(CursorRow { topic, .. }) | Row::Group(GroupRow { topic, .. }) => {
                let topic = self.topics.entry(*topic).or_default();
                topic.subscriptions = topic.subscriptions.saturating_add(1);
                self.subscriptions = self.subscriptions.saturating_add(1);
            }
            Row::Producer(_) => self.producers = self.producers.saturating_add(1),
            Row::Answer(_) | Row::Marks(_) | Row::Keys(_) => {}
        }
    }

    /// The messages of all topics.
    pub(super) fn messages(&self) -> u64 {
        self.topics.values().fold(0, |sum, topic| sum.saturating_add(topic.messages))
    }

    fn passed(&mut self, time: Timestamp) {
        self.latest = self.latest.max(Some(time));
    }
}

impl TopicSurvey {
    /// Its name, if that is not lost.
    pub(super) fn name(&self, number: u32) -> String {
        self.row.as_ref().map_or_else(|| nameless(number), |row| row.name.to_string())
    }

    /// The first offset whose record is not gone.
    pub(super) fn first(&self) -> u64 {
        self.row.as_ref().map_or(0, |row| row.first)
    }

    fn add(&mut self, row: &RecordsRow) {
        let first = self.first();
        for (_, record) in row.records().filter(|(offset, _)| *offset >= first) {
            self.messages = self.messages.saturating_add(1);
            self.bytes = self.bytes.saturating_add(record.as_bytes().len() as u64);
            self.oldest = self.oldest.or_else(|| Some(Timestamp::from_micros(record.timestamp())));
        }
        self.end = self.end.max(row.end());
    }
}

/// What a topic is called whose name is lost: its number after a `$`, with which no name begins (rule T6).
pub(super) fn nameless(number: u32) -> String {
    format!("${number}")
}

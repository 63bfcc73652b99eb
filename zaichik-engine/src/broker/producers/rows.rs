//! Producers as rows, and from them.

use zaichik_proto::{Producer, Timestamp};

use super::staging::Changed;
use super::{Producers, entry_at};
use crate::store::{AnswerRow, ProducerRow};

/// A producer in the table.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct RestoredProducer {
    index: u32,
    pub(in crate::broker) id: u128,
    /// How many answers it has.
    count: u32,
}

impl Producers {
    /// All producers, by id.
    pub(in crate::broker) fn rows(&self) -> impl Iterator<Item = ProducerRow> {
        self.sorted().into_iter().filter_map(|(producer, index)| {
            let entry = self.entries.get(index)?;
            let (oldest, count) = entry.history.extent();
            Some(ProducerRow { producer, principal: Box::default(), epoch: entry.epoch, oldest, count })
        })
    }

    /// The answers of all producers, by id.
    pub(in crate::broker) fn answer_rows(&self) -> impl Iterator<Item = AnswerRow> {
        let entries = self.sorted().into_iter().filter_map(|(_, index)| self.entries.get(index));
        entries.flat_map(|entry| entry.history.rows(entry.id))
    }

    /// Adds a stored producer, even above the limit.
    pub(in crate::broker) fn restore(&mut self, row: &ProducerRow) -> RestoredProducer {
        let (id, epoch, sequence) = (row.producer, row.epoch, row.oldest);
        let index = self.insert(Timestamp::ZERO, &Producer { id, epoch, sequence });
        self.limit = self.limit.max(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        RestoredProducer { index, id, count: row.count }
    }

    /// Adds stored answers; `false` if they do not continue those before.
    pub(in crate::broker) fn restore_answer(&mut self, producer: RestoredProducer, row: AnswerRow) -> bool {
        let entry = entry_at(&mut self.entries, producer.index);
        let before = entry.history.footprint();
        let continues = entry.history.restore(row);
        self.own = self.own.saturating_sub(before).saturating_add(entry.history.footprint());
        continues
    }

    /// A stored producer is forgotten.
    pub(in crate::broker) fn leave_out(&mut self, producer: u128) {
        self.left_out.push(Changed::Gone { producer, answers: 0..0 });
    }

    /// So is one of its stored answers.
    pub(in crate::broker) fn leave_out_answer(&mut self, producer: u128, number: u64) {
        let end = number.saturating_add(1);
        match self.left_out.last_mut() {
            Some(Changed::Gone { producer: last, answers }) if *last == producer && answers.end == number => {
                answers.end = end;
            }
            _ => self.left_out.push(Changed::Gone { producer, answers: number..end }),
        }
    }

    /// Whether all answers of a producer were added.
    pub(in crate::broker) fn is_restored(&self, producer: RestoredProducer) -> bool {
        let entry = self.entries.get(producer.index);
        entry.is_some_and(|entry| entry.history.extent().1 == producer.count)
    }

    /// All producers count as heard now.
    pub(in crate::broker) fn restored(&mut self, now: Timestamp) {
        for index in 0..self.entries.end() {
            if let Some(entry) = self.entries.get_mut(index) {
                entry.heard = now;
            }
        }
    }

    /// The ids and places of all producers, by id.
    fn sorted(&self) -> Vec<(u128, u32)> {
        let places = 0..self.entries.end();
        let mut all: Vec<_> = places.filter_map(|index| Some((self.entries.get(index)?.id, index))).collect();
        all.sort_unstable();
        all
    }
}

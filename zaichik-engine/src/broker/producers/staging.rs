//! What a store is given of producers.

use core::ops::Range;

use super::{Changes, Producers};
use crate::planted::{Defect, is_planted};
use crate::store::{Key, Op, ProducerRow, Row};

/// A producer that has changed.
#[derive(Debug)]
pub(super) enum Changed {
    /// It may be gone by now.
    There(u32),
    Gone {
        producer: u128,
        /// The numbers of its stored answers.
        answers: Range<u64>,
    },
}

impl Producers {
    /// Lists what changes from now on; a store has all producers that there are, and those that were left out.
    pub(in crate::broker) fn begin_storing(&mut self) {
        let mut changes = Changes::default();
        self.left_out.drain(..).for_each(|one| changes.add_removed(one));
        self.changes = Some(changes);
        for index in 0..self.entries.end() {
            if let Some(entry) = self.entries.get_mut(index) {
                entry.staged = entry.history.numbers();
            }
        }
    }

    /// Appends what has changed since the last call.
    pub(in crate::broker) fn stage(&mut self, ops: &mut Vec<Op>) {
        for changed in self.changes.as_mut().map(Changes::take).unwrap_or_default() {
            match changed {
                Changed::There(index) => self.stage_one(index, ops),
                Changed::Gone { producer, answers } => {
                    ops.push(Op::Remove { key: Key::Producer { producer } });
                    ops.extend(answers.map(|number| Op::Remove { key: Key::Answer { producer, number } }));
                }
            }
        }
    }

    /// Changes ever.
    pub(in crate::broker) fn change_count(&self) -> u64 {
        self.changes.as_ref().map_or(0, Changes::count)
    }

    /// How many producers have changed.
    pub(in crate::broker) fn changed_len(&self) -> usize {
        self.changes.as_ref().map_or(0, Changes::len)
    }

    /// A producer has changed.
    #[inline]
    pub(super) fn changed(&mut self, index: u32) {
        if let Some(changes) = &mut self.changes
            && let Some(entry) = self.entries.get_mut(index)
            && !(is_planted(Defect::UnmarkedProducer) && entry.staged.end > 0)
        {
            changes.add(Changed::There(index), &mut entry.is_changed);
        }
    }

    fn stage_one(&mut self, index: u32, ops: &mut Vec<Op>) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        let (producer, numbers) = (entry.id, entry.history.numbers());
        let staged = core::mem::replace(&mut entry.staged, numbers.clone());
        let is_reset = core::mem::take(&mut entry.is_reset);
        entry.is_changed = false;
        let (oldest, count) = entry.history.extent();
        let row = ProducerRow { producer, principal: Box::default(), epoch: entry.epoch, oldest, count };
        let gone = if is_reset { staged.clone() } else { staged.start..staged.end.min(numbers.start) };
        ops.extend(gone.map(|number| Op::Remove { key: Key::Answer { producer, number } }));
        ops.push(Op::Put { row: Row::Producer(row) });
        // The last answer that was staged may be a run that has grown since.
        let from = if is_reset { numbers.start } else { staged.end.saturating_sub(1).max(numbers.start) };
        ops.extend(entry.history.rows_from(producer, from).map(|row| Op::Put { row: Row::Answer(row) }));
    }
}

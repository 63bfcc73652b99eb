//! What a store has of a topic, and the operations that bring it up to date.
//!
//! The log knows which of its rows are staged. Here is the rest: the topic's own row, and the remembered keys whose
//! record has no row.

use std::collections::BTreeMap;

use super::Topic;
use super::log::Log;
use crate::planted::{Defect, is_planted};
use crate::store::{Key, KeysRow, Op, RememberedKey, Row, TopicRow};

/// Approximate bytes of a written row of keys in the table of them.
const KEYS_ROW_BYTES: usize = 48;

/// What was staged of a topic.
#[derive(Debug, Default)]
pub(super) struct Staging {
    /// The topic's own row.
    row: Option<TopicRow>,
    /// By their block, the rows of keys: a bit for each offset of the block whose key is in the row.
    keys: BTreeMap<u64, u128>,
}

impl Staging {
    #[cold]
    fn footprint(&self, log: &Log) -> usize {
        let name = self.row.as_ref().map_or(0, |row| row.name.len());
        let eras = self.row.as_ref().map_or(0, |row| row.eras.capacity().saturating_mul(16));
        let keys = self.keys.len().saturating_mul(KEYS_ROW_BYTES);
        let own = keys.saturating_add(name).saturating_add(eras).saturating_add(size_of::<Self>());
        own.saturating_add(log.staging_footprint())
    }
}

const _: () = assert!(Row::BLOCK == u128::BITS as u64);

impl Topic {
    /// Begins to track what changes in rows; no row is staged so far, and [`stage`](Self::stage) is called from now on.
    /// A restored topic has begun. Memory: some hundred bytes; 48 bytes for each block of 128 offsets in which a key is
    /// remembered without its record; and until it is staged, 24 bytes for each block in which `latest` compaction marks
    /// records, at most 400 KiB.
    pub(crate) fn begin_storing(&mut self) {
        if self.staging.is_none() {
            self.staging = Some(Box::default());
            self.log.begin_storing();
        }
    }

    /// All rows of a topic that is being restored are staged.
    pub(super) fn continue_storing(&mut self, row: &TopicRow, keys: &[RememberedKey]) {
        let mut staging = Staging { row: Some(row.clone()), ..Staging::default() };
        for key in keys {
            *staging.keys.entry(Row::block_of(key.offset)).or_default() |= bit(key.offset);
        }
        self.staging = Some(Box::new(staging));
        self.log.continue_storing();
    }

    /// Appends the operations that bring a store from what was staged last to the topic's present state; `number` is the
    /// topic's. Without [`begin_storing`](Self::begin_storing) there are none. No publish is being checked.
    ///
    /// Takes as long as what changed since. Afterwards the topic's memory is to be charged again.
    pub(crate) fn stage(&mut self, number: u32, ops: &mut Vec<Op>) {
        let Some(mut staging) = self.staging.take() else { return };
        let gone = self.log.stage(number, ops);
        for (from, to) in gone {
            self.stage_keys(number, &mut staging, (from, to), ops);
        }
        self.remove_keys(number, &mut staging, ops);
        self.stage_row(number, &mut staging, ops);
        self.staging = Some(staging);
    }

    /// Whether nothing that concerns a store has happened since the topic was listed as changed, if it was only read and
    /// expired: neither was a record removed, nor can one have died in another way.
    pub(crate) fn has_only_been_read(&self) -> bool {
        self.listed_first == self.first() && !self.settings.is_live_only() && !self.log.has_deaths()
    }

    /// The offset of the first record that was not removed.
    pub(crate) const fn first(&self) -> u64 {
        self.log.first().offset
    }

    /// Bytes of the records that were not staged; 0 without [`begin_storing`](Self::begin_storing).
    pub(crate) fn unstaged(&self) -> usize {
        usize::try_from(self.log.unstaged()).unwrap_or(usize::MAX)
    }

    /// Bytes allocated to know what is staged, also those of the log.
    #[inline]
    pub(super) fn staging_footprint(&self) -> usize {
        self.staging.as_deref().map_or(0, |staging| staging.footprint(&self.log))
    }

    /// Puts keys in a range of offsets whose record lost its row.
    fn stage_keys(&self, topic: u32, staging: &mut Staging, (from, to): (u64, u64), ops: &mut Vec<Op>) {
        let Some(keys) = self.keys.as_ref().filter(|_| !is_planted(Defect::KeysLeftOut)) else { return };
        let rows_from = self.log.staged_from().unwrap_or_default();
        let is_gone = |offset: u64| offset < rows_from || !self.log.holds(offset);
        let mut all = keys.remembered_keys(Row::block_of(from), is_gone).peekable();
        while let Some(block) = all.peek().map(|key| Row::block_of(key.offset)).filter(|block| *block < to) {
            let of_block = || all.next_if(|key| Row::block_of(key.offset) == block);
            let keys: Vec<_> = core::iter::from_fn(of_block).collect();
            self.log.spend(keys.len() as u64);
            let bits = keys.iter().fold(0, |bits, key| bits | bit(key.offset));
            let written = staging.keys.entry(block).or_default();
            if bits & !*written != 0 {
                *written = bits;
                ops.push(Op::Put { row: Row::Keys(KeysRow { topic, keys }) });
            }
        }
    }

    /// Removes the rows all of whose keys are forgotten.
    fn remove_keys(&self, topic: u32, staging: &mut Staging, ops: &mut Vec<Op>) {
        let remembered = self.keys.as_ref().and_then(|keys| keys.oldest()).unwrap_or(u64::MAX);
        while let Some(first) = staging.keys.first_entry() {
            let start = *first.key();
            let last = start.saturating_add(u64::from(first.get().checked_ilog2().unwrap_or(0)));
            if last >= remembered {
                return;
            }
            first.remove();
            ops.push(Op::Remove { key: Key::Keys { topic, start } });
        }
    }

    /// Puts the topic's own row if it changed.
    fn stage_row(&self, topic: u32, staging: &mut Staging, ops: &mut Vec<Op>) {
        let rows_from = self.log.staged_from().unwrap_or_default();
        let row = TopicRow { rows_from, ..self.row(topic) };
        if staging.row.as_ref() != Some(&row) {
            ops.push(Op::Put { row: Row::Topic(row.clone()) });
            staging.row = Some(row);
        }
    }
}

/// The bit of an offset in its block.
const fn bit(offset: u64) -> u128 {
    1 << (offset % Row::BLOCK)
}

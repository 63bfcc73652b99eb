//! Keys of which one record at a time may be in work (rule G7).

use std::collections::{BTreeMap, VecDeque};

use crate::table::Table;

/// Bytes of the table that stay allocated.
const SPARE: usize = 4 << 10;

/// The keys of records that are held or came back, and the later records that wait for these. A call takes O(1), and O(log n)
/// in the keys for which records wait. Memory: about 20 bytes for each key, 60 more if records wait for it, and 8 for each
/// of these.
#[derive(Debug)]
pub(super) struct Keys {
    /// The keys of records that are held or came back: keyed hashes, by which they are found.
    busy: Table<u64>,
    /// The offsets that wait, in order, by key: a busy one for which at least one record waits.
    waiting: BTreeMap<u64, VecDeque<u64>>,
    blocked: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self { busy: Table::new(), waiting: BTreeMap::new(), blocked: 0 }
    }
}

impl Keys {
    pub(super) fn is_busy(&self, key: u64) -> bool {
        self.busy.find(key, |busy| *busy == key).is_some()
    }

    /// A record of a key is about to be handed out; returns whether it may be, because the key was not busy.
    pub(super) fn begin(&mut self, key: u64) -> bool {
        let is_free = !self.is_busy(key);
        if is_free {
            self.busy.insert(key, key, |busy| *busy);
        }
        is_free
    }

    /// A later record of a busy key waits.
    pub(super) fn block(&mut self, key: u64, offset: u64) {
        debug_assert!(self.is_busy(key), "nothing would end the wait");
        self.waiting.entry(key).or_default().push_back(offset);
        self.blocked = self.blocked.saturating_add(1);
    }

    /// The record of a key that was in work is done; returns the one that is next, if one waits.
    pub(super) fn release(&mut self, key: u64) -> Option<u64> {
        if self.blocked > 0
            && let Some(next) = self.next_waiting(key)
        {
            return Some(next);
        }
        self.busy.remove(key, |busy| *busy == key);
        if self.busy.allocation_size() > SPARE {
            self.busy.shrink(|busy| *busy);
        }
        None
    }

    /// How many records wait.
    pub(super) const fn blocked(&self) -> usize {
        self.blocked
    }

    /// The offsets that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.waiting.values().flatten().copied()
    }

    /// Bytes allocated, about.
    pub(super) fn footprint(&self) -> usize {
        let keys = self.waiting.len().saturating_mul(size_of::<(u64, VecDeque<u64>)>());
        let waiting = keys.saturating_add(self.blocked.saturating_mul(size_of::<[u64; 2]>()));
        self.busy.allocation_size().saturating_add(waiting.saturating_mul(3) / 2)
    }

    /// Takes the first record that waits for a key.
    fn next_waiting(&mut self, key: u64) -> Option<u64> {
        let offsets = self.waiting.get_mut(&key)?;
        let next = offsets.pop_front();
        if offsets.is_empty() {
            self.waiting.remove(&key);
        }
        self.blocked = self.blocked.saturating_sub(usize::from(next.is_some()));
        next
    }
}

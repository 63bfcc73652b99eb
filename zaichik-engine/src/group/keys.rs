//! Keys of which one record at a time may be in work (rule G7).

use std::collections::{BTreeMap, VecDeque};

/// The keys of records that are held or came back, and the later records that wait for these. Every call takes O(log n).
/// Memory: about 60 bytes for each key, and 8 for each record that waits.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The offsets that wait, in order, by key. Another record of the key is held or came back.
    busy: BTreeMap<u64, VecDeque<u64>>,
    blocked: usize,
}

impl Keys {
    pub(super) fn is_busy(&self, key: u64) -> bool {
        self.busy.contains_key(&key)
    }

    /// A record of a key is handed out that is not busy.
    pub(super) fn begin(&mut self, key: u64) {
        let before = self.busy.insert(key, VecDeque::new());
        debug_assert!(before.is_none(), "two records of one key at a time");
    }

    /// A later record of a busy key waits.
    pub(super) fn block(&mut self, key: u64, offset: u64) {
        self.busy.entry(key).or_default().push_back(offset);
        self.blocked = self.blocked.saturating_add(1);
    }

    /// The record of a key that was in work is done; returns the one that is next, if one waits.
    pub(super) fn release(&mut self, key: u64) -> Option<u64> {
        let next = self.busy.get_mut(&key)?.pop_front();
        match next {
            Some(_) => self.blocked = self.blocked.saturating_sub(1),
            None => drop(self.busy.remove(&key)),
        }
        next
    }

    /// How many records wait.
    pub(super) const fn blocked(&self) -> usize {
        self.blocked
    }

    /// The offsets that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.busy.values().flatten().copied()
    }

    /// Bytes allocated, about.
    pub(super) fn footprint(&self) -> usize {
        let keys = self.busy.len().saturating_mul(size_of::<(u64, VecDeque<u64>)>());
        keys.saturating_add(self.blocked.saturating_mul(size_of::<[u64; 2]>())).saturating_mul(3) / 2
    }
}

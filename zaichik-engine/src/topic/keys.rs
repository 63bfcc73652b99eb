//! Compaction in `first` mode: the keys that a topic remembers (rules C1 to C5, C9).
//!
//! Keys expire in the order of acceptance, because the window is anchored at the accepted record: a queue holds them,
//! and a hash table finds them in it. No operation scans them.

mod rows;

use std::hash::Hasher;

use crate::queue::Queue;
use crate::table::Table;
use siphasher::sip::SipHasher13;

/// Expired keys removed per new key; more than one, so that the queue shrinks.
const FORGET_PER_CALL: usize = 4;

/// The keys of one topic. Memory: the key's bytes and about 60 bytes a key.
#[derive(Debug)]
pub(crate) struct Keys {
    entries: Queue<Entry>,
    /// The keys' bytes, concatenated in the order of `entries`.
    bytes: Queue<u8>,
    /// Bytes removed from the front of `bytes` so far.
    bytes_gone: u64,
    /// Number of the first entry; numbers rise by one, and the table holds them.
    first: u64,
    table: Table<u64>,
    eras: Queue<Era>,
    hash_key: u128,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    accepted: u64,
    offset: u64,
    /// Where its key starts, counted from the first byte ever stored.
    start: u64,
}

/// The smallest window in force since the entries from `from` on were accepted (rule R7).
#[derive(Debug, Clone, Copy)]
struct Era {
    from: u64,
    /// Records from this offset on were accepted in it.
    offset: u64,
    window: u64,
}

/// The result of looking up a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    /// Not remembered before; it is now.
    New,
    /// Remembered with the record at this offset.
    Duplicate(u64),
    /// Not remembered, and the limit of keys is reached.
    LimitReached,
}

impl Keys {
    /// No keys; the next record has the offset `end`.
    pub(crate) fn new(hash_key: u128, window: u64, end: u64) -> Self {
        let mut eras = Queue::new();
        eras.extend(&[Era { from: 0, offset: end, window }]);
        Self {
            entries: Queue::new(),
            bytes: Queue::new(),
            bytes_gone: 0,
            first: 0,
            table: Table::new(),
            eras,
            hash_key,
        }
    }

    /// Looks up a key, and remembers it with `offset` if it is new.
    pub(crate) fn accept(&mut self, key: &[u8], now: u64, offset: u64, max_keys: u64) -> KeyStatus {
        let mut hasher = SipHasher13::new_with_key(&self.hash_key.to_le_bytes());
        hasher.write(key);
        let hash = hasher.finish();
        let found = self.table.find(hash, |number| self.is_key(*number, key));
        if let Some(entry) = found.and_then(|number| self.entry(number))
            && now < self.forgets_at(found.unwrap_or_default(), entry)
        {
            return KeyStatus::Duplicate(entry.offset);
        }
        self.forget(now, FORGET_PER_CALL);
        if self.remembered(now) >= max_keys {
            return KeyStatus::LimitReached;
        }
        let number = self.next_number();
        let start = self.bytes_gone.saturating_add(self.bytes.len() as u64);
        self.entries.extend(&[Entry { hash, accepted: now, offset, start }]);
        self.bytes.extend(key);
        self.remove_from_table(hash, found);
        let (entries, first) = (&self.entries, self.first);
        self.table.insert(hash, number, |number| hash_of(entries, first, *number));
        KeyStatus::New
    }

    /// The number of the next entry, for [`undo_to`](Self::undo_to).
    pub(crate) fn next_number(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    /// Forgets the entries from `number` on: their publish was refused.
    pub(crate) fn undo_to(&mut self, number: u64) {
        while self.next_number() > number
            && let Some(entry) = self.entries.back()
        {
            self.entries.truncate(self.entries.len().saturating_sub(1));
            let gone = self.next_number();
            self.remove_from_table(entry.hash, Some(gone));
            let keep = usize::try_from(entry.start.saturating_sub(self.bytes_gone)).unwrap_or(usize::MAX);
            self.bytes.truncate(keep);
        }
    }

    /// Changes the window; the next record has the offset `end`.
    pub(crate) fn set_window(&mut self, window: u64, end: u64) {
        let next = self.next_number();
        // Keys accepted under a longer window are remembered for this one from now on. Eras have rising windows.
        let shorter = self.eras.partition_point(|_, era| era.window < window);
        let (from, offset) = self.eras.get(shorter).map_or((next, end), |era| (era.from, era.offset));
        self.eras.truncate(self.eras.partition_point(|_, era| era.window < window && era.from < from));
        self.eras.extend(&[Era { from, offset, window }]);
    }

    /// Removes up to `budget` expired keys; returns whether there may be more.
    pub(crate) fn forget(&mut self, now: u64, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(entry) = self.entries.front() else {
                return false;
            };
            if now < self.forgets_at(self.first, entry) {
                return false;
            }
            self.remove_from_table(entry.hash, Some(self.first));
            self.entries.take(1);
            let end = self.entries.front().map(|next| next.start);
            let len = end.map_or(self.bytes.len() as u64, |end| end.saturating_sub(self.bytes_gone));
            self.bytes.take(usize::try_from(len).unwrap_or(usize::MAX));
            self.bytes_gone = self.bytes_gone.saturating_add(len);
            self.first = self.first.saturating_add(1);
            if self.eras.get(1).is_some_and(|next| next.from <= self.first) {
                self.eras.take(1);
            }
        }
        true
    }

    /// When the next key expires; `u64::MAX` if none does.
    pub(crate) fn next_forget(&self) -> u64 {
        self.entries.front().map_or(u64::MAX, |entry| self.forgets_at(self.first, entry))
    }

    /// Frees memory of removed keys, in steps.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink();
        self.bytes.shrink();
        let (queue, first) = (&self.entries, self.first);
        self.table.shrink(|number| hash_of(queue, first, *number));
    }

    /// Whether [`shrink`](Self::shrink) has something to do although no key was removed.
    pub(crate) fn is_moving(&self) -> bool {
        self.table.is_moving()
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        let queues = self.entries.footprint().saturating_add(self.bytes.footprint());
        queues.saturating_add(self.eras.footprint()).saturating_add(self.table.allocation_size())
    }

    /// Keys still in the window. They are the last ones, so a binary search counts them.
    pub(crate) fn remembered(&self, now: u64) -> u64 {
        // The usual case first: no key at the front has left the window.
        if self.entries.front().is_none_or(|entry| now < self.forgets_at(self.first, entry)) {
            return self.entries.len() as u64;
        }
        let gone = self.entries.partition_point(|index, entry| {
            self.forgets_at(self.first.saturating_add(index as u64), entry) <= now
        });
        self.entries.len().saturating_sub(gone) as u64
    }

    fn entry(&self, number: u64) -> Option<Entry> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get(index)
    }

    /// When an entry expires: at this instant it is no longer remembered.
    fn forgets_at(&self, number: u64, entry: Entry) -> u64 {
        let era = self.eras.partition_point(|_, era| era.from <= number);
        let window = self.eras.get(era.saturating_sub(1)).map_or(0, |era| era.window);
        entry.accepted.saturating_add(window)
    }

    fn is_key(&self, number: u64, key: &[u8]) -> bool {
        let Some(entry) = self.entry(number) else {
            return false;
        };
        let total = self.bytes_gone.saturating_add(self.bytes.len() as u64);
        let end = self.entry(number.saturating_add(1)).map_or(total, |next| next.start);
        let place = |at: u64| usize::try_from(at.saturating_sub(self.bytes_gone)).unwrap_or(usize::MAX);
        let (start, end) = (place(entry.start), place(end));
        end.saturating_sub(start) == key.len() && self.bytes.continues_with(start, key)
    }

    fn remove_from_table(&mut self, hash: u64, number: Option<u64>) {
        let Some(number) = number else { return };
        self.table.remove(hash, |other| *other == number);
    }
}

/// The hash of the entry with this number; `first` is the number of the first one.
fn hash_of(entries: &Queue<Entry>, first: u64, number: u64) -> u64 {
    let index = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
    entries.get(index).map_or(0, |entry| entry.hash)
}

#[cfg(test)]
mod tests;

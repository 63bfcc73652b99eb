//! Compaction in `latest` mode: the newest record of each key (rules C4, C6).
//!
//! A key is kept while its newest record is live. The entries form a list in the order of those records, so keys whose
//! record was removed by a limit or the topic's time to live are at its front; other deaths have separate tables.
//! Checking a publish only adds keys; the newest record of a key changes when a record is appended.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::log::RecordInfo;
use crate::arena::Arena;
use crate::table::Table;

/// Maximum dead keys removed for one new key. More than one is necessary only after `max_keys` was lowered.
const DROP_PER_KEY: usize = 256;

/// Maximum keys that are moved to smaller allocations in one call; more stay where they are.
const MOVED_AT_ONCE: usize = 1_024;

/// Capacity for checked records that stays allocated.
const SPARE_CHECKED: usize = 128;

/// No entry.
const NONE: u32 = u32::MAX;

/// The newest record of each key of one topic. Memory: the key's bytes and about 120 bytes a key.
#[derive(Debug)]
pub(crate) struct LatestKeys {
    entries: Arena<Entry>,
    table: Table<u32>,
    hash_key: u128,
    /// The ends of the list.
    oldest: u32,
    youngest: u32,
    /// By time of death: entries whose newest record has its own time to live.
    own_deaths: BTreeSet<(u64, u32)>,
    /// By offset: entries whose newest record is a tombstone.
    tombstones: BTreeSet<(u64, u32)>,
    /// Keys of the records that were checked and not yet appended, in order.
    checked: VecDeque<Checked>,
    /// Keys that count against the limit.
    live: u64,
    /// Bytes of all keys.
    key_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    /// `None` while the first record of the key is checked but not appended.
    newest: Option<RecordInfo>,
    /// Whether it counts against the limit: not if its newest record is, or will be, a tombstone that dies at once.
    counts: bool,
    older: u32,
    younger: u32,
}

#[derive(Debug, Clone, Copy)]
struct Checked {
    entry: u32,
    is_new: bool,
    counted: bool,
}

/// The conditions that decide whether a record is live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Liveness {
    pub(crate) now: u64,
    /// The log's first offset.
    pub(crate) first: u64,
    pub(crate) tombstone_ttl: u64,
}

impl Liveness {
    pub(crate) fn is_dead(&self, info: &RecordInfo) -> bool {
        let deleted = info.is_tombstone && info.timestamp.saturating_add(self.tombstone_ttl) <= self.now;
        deleted || info.own_death <= self.now || info.offset < self.first
    }
}

impl LatestKeys {
    pub(crate) fn new(hash_key: u128) -> Self {
        Self {
            entries: Arena::new(),
            table: Table::new(),
            hash_key,
            oldest: NONE,
            youngest: NONE,
            own_deaths: BTreeSet::new(),
            tombstones: BTreeSet::new(),
            checked: VecDeque::new(),
            live: 0,
            key_bytes: 0,
        }
    }

    /// Checks a record with a key; `false` if there is no room for the key.
    pub(crate) fn check(
        &mut self,
        key: &[u8],
        is_tombstone: bool,
        liveness: Liveness,
        max_keys: u64,
    ) -> bool {
        let dies_at_once = is_tombstone && liveness.tombstone_ttl == 0;
        let hash = self.hash(key);
        let entries = &self.entries;
        let is_key = |slot: &u32| entries.get(*slot).is_some_and(|entry| *entry.key == *key);
        let mut found = self.table.find(hash, is_key);
        let newest = |slot: u32| self.entries.get(slot)?.newest;
        if let Some(slot) = found.filter(|slot| newest(*slot).is_some_and(|info| liveness.is_dead(&info))) {
            self.remove_entry(slot);
            found = None;
        }
        let counted = found.and_then(|slot| self.entries.get(slot)).is_some_and(|entry| entry.counts);
        if !counted && !dies_at_once && !self.has_room(liveness, max_keys) {
            return false;
        }
        let entry = found.unwrap_or_else(|| self.insert(hash, key.into()));
        self.checked.push_back(Checked { entry, is_new: found.is_none(), counted });
        self.count(entry, !dies_at_once);
        true
    }

    /// Forgets the records that were checked and not appended.
    #[inline(never)]
    pub(crate) fn discard_checked(&mut self) {
        while let Some(Checked { entry, is_new, counted }) = self.checked.pop_back() {
            self.count(entry, counted);
            if is_new {
                self.remove_entry(entry);
            }
        }
    }

    /// The next checked record was appended; returns the record that it supersedes.
    pub(crate) fn append(&mut self, info: RecordInfo) -> Option<RecordInfo> {
        let checked = self.checked.pop_front();
        debug_assert!(checked.is_some(), "a record was appended that was not checked");
        let slot = checked?.entry;
        self.unlink(slot);
        let entry = self.entries.get_mut(slot)?;
        let before = entry.newest.replace(info);
        self.link(slot);
        if info.own_death < u64::MAX {
            self.own_deaths.insert((info.own_death, slot));
        }
        if info.is_tombstone {
            self.tombstones.insert((info.offset, slot));
        }
        before
    }

    /// Removes up to `budget` keys whose newest record is dead; returns whether there may be more.
    pub(crate) fn forget(&mut self, liveness: Liveness, budget: usize) -> bool {
        (0..budget).all(|_| self.drop_dead(liveness))
    }

    /// Frees memory of removed keys.
    pub(crate) fn shrink(&mut self) {
        if self.checked.is_empty() && self.checked.capacity() > SPARE_CHECKED {
            self.checked = VecDeque::new();
        }
        let len = self.entries.len();
        let is_large = self.entries.capacity() > len.saturating_mul(4).max(16);
        if !is_large || len > MOVED_AT_ONCE || !self.checked.is_empty() {
            let entries = &self.entries;
            return self.table.shrink(|slot| entries.get(*slot).map_or(0, |entry| entry.hash));
        }
        let mut smaller = Self::new(self.hash_key);
        let mut next = self.oldest;
        while let Some(mut entry) = self.entries.remove(next) {
            next = entry.younger;
            let (hash, key, counts) = (entry.hash, core::mem::take(&mut entry.key), entry.counts);
            let slot = smaller.insert(hash, key);
            smaller.count(slot, counts);
            smaller.checked.push_back(Checked { entry: slot, is_new: true, counted: false });
            if let Some(info) = entry.newest {
                smaller.append(info);
            }
        }
        smaller.checked = VecDeque::new();
        *self = smaller;
    }

    /// Whether [`shrink`](Self::shrink) has something to do although no key was removed.
    pub(crate) fn is_moving(&self) -> bool {
        self.table.is_moving()
    }

    /// How many keys count against the limit.
    pub(crate) const fn live(&self) -> u64 {
        self.live
    }

    /// Keys in the table, counted or not.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the next key dies, if the topic's records live for `ttl`; `u64::MAX` if none does.
    #[inline(never)]
    pub(crate) fn next_forget(&self, liveness: Liveness, ttl: u64) -> u64 {
        let newest = |slot: u32| self.entries.get(slot)?.newest;
        let tombstone = self.tombstones.first().and_then(|(_, slot)| newest(*slot));
        let deleted = tombstone.map(|info| info.timestamp.saturating_add(liveness.tombstone_ttl));
        let own = self.own_deaths.first().map(|(death, _)| *death);
        let removed = newest(self.oldest).and_then(|info| match ttl {
            _ if info.offset < liveness.first => Some(0),
            0 | u64::MAX => None,
            ttl => Some(info.timestamp.saturating_add(ttl)),
        });
        own.into_iter().chain(deleted).chain(removed).min().unwrap_or(u64::MAX)
    }

    /// Approximate bytes allocated.
    #[inline(never)]
    pub(crate) fn footprint(&self) -> usize {
        let entries = self.entries.footprint();
        let checked = self.checked.capacity().saturating_mul(size_of::<Checked>());
        let deaths = self.own_deaths.len().saturating_add(self.tombstones.len()).saturating_mul(32);
        let keys = self.entries.len().saturating_mul(16).saturating_add(self.key_bytes);
        let tables = self.table.allocation_size().saturating_add(deaths).saturating_add(checked);
        size_of::<Self>().saturating_add(entries).saturating_add(keys).saturating_add(tables)
    }

    /// Whether list, tables and counts are consistent.
    pub(crate) fn is_consistent(&self) -> bool {
        let (mut listed, mut at, mut last) = (0usize, self.oldest, None);
        while let Some((entry, info)) = self.entries.get(at).and_then(|entry| Some((entry, entry.newest?))) {
            if last.is_some_and(|last| last >= info.offset) || listed > self.entries.len() {
                return false;
            }
            (listed, at, last) = (listed.saturating_add(1), entry.younger, Some(info.offset));
        }
        let all = || self.entries.iter();
        let bytes = all().map(|entry| entry.key.len()).fold(0, usize::saturating_add);
        let info = || all().filter_map(|entry| entry.newest);
        listed == info().count()
            && self.table.len() == self.entries.len()
            && self.live == all().filter(|entry| entry.counts).count() as u64
            && self.key_bytes == bytes
            && self.own_deaths.len() == info().filter(|info| info.own_death < u64::MAX).count()
            && self.tombstones.len() == info().filter(|info| info.is_tombstone).count()
    }

    /// Whether one more key may count; dead keys make room.
    fn has_room(&mut self, liveness: Liveness, max_keys: u64) -> bool {
        for _ in 0..DROP_PER_KEY {
            if self.live < max_keys {
                return true;
            }
            if !self.drop_dead(liveness) {
                return false;
            }
        }
        self.live < max_keys
    }

    fn drop_dead(&mut self, liveness: Liveness) -> bool {
        let is_dead = |slot: &u32| {
            let info = self.entries.get(*slot).and_then(|entry| entry.newest);
            info.is_some_and(|info| liveness.is_dead(&info))
        };
        let own = self.own_deaths.first().map(|(_, slot)| *slot);
        let tombstone = self.tombstones.first().map(|(_, slot)| *slot);
        let dead = [Some(self.oldest), own, tombstone].into_iter().flatten().find(is_dead);
        dead.inspect(|slot| self.remove_entry(*slot)).is_some()
    }

    fn insert(&mut self, hash: u64, key: Box<[u8]>) -> u32 {
        self.key_bytes = self.key_bytes.saturating_add(key.len());
        let entry = Entry { hash, key, newest: None, counts: false, older: NONE, younger: NONE };
        let slot = self.entries.insert(entry);
        let entries = &self.entries;
        let hash_of = |slot: &u32| entries.get(*slot).map_or(0, |entry| entry.hash);
        self.table.insert(hash, slot, hash_of);
        slot
    }

    fn remove_entry(&mut self, slot: u32) {
        self.count(slot, false);
        self.unlink(slot);
        if let Some(entry) = self.entries.remove(slot) {
            self.key_bytes = self.key_bytes.saturating_sub(entry.key.len());
            self.table.remove(entry.hash, |other| *other == slot);
        }
    }

    fn count(&mut self, slot: u32, counts: bool) {
        if let Some(entry) = self.entries.get_mut(slot) {
            let before = core::mem::replace(&mut entry.counts, counts);
            self.live = self.live.saturating_sub(u64::from(before)).saturating_add(u64::from(counts));
        }
    }

    /// Removes an entry from the list and the tables of deaths, if it is in them.
    fn unlink(&mut self, slot: u32) {
        let Some(entry) = self.entries.get_mut(slot) else {
            debug_assert!(false, "{slot} is not an entry");
            return;
        };
        let Some(info) = entry.newest else { return };
        let (older, younger) = (entry.older, entry.younger);
        (entry.older, entry.younger) = (NONE, NONE);
        match self.entries.get_mut(older) {
            Some(entry) => entry.younger = younger,
            None => self.oldest = younger,
        }
        match self.entries.get_mut(younger) {
            Some(entry) => entry.older = older,
            None => self.youngest = older,
        }
        if info.own_death < u64::MAX {
            self.own_deaths.remove(&(info.own_death, slot));
        }
        if info.is_tombstone {
            self.tombstones.remove(&(info.offset, slot));
        }
    }

    /// Adds an entry at the young end of the list.
    fn link(&mut self, slot: u32) {
        let older = core::mem::replace(&mut self.youngest, slot);
        match self.entries.get_mut(older) {
            Some(entry) => entry.younger = slot,
            None => self.oldest = slot,
        }
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.older = older;
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.hash_key.to_le_bytes());
        hasher.write(key);
        hasher.finish()
    }
}

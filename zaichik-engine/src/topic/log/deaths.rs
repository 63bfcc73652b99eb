//! When records die before the topic's time to live ends (rules C6, C7, R8).
//!
//! Records with their own time to live, and with `latest` compaction those superseded within their window and tombstones,
//! are kept here until they die, each kind in the order of its deaths. Deaths that have come are *settled*, a bounded
//! number at a time: the records are marked in their chunks, and no longer count. Readers look up what is not settled yet,
//! so a death takes effect on time whether housekeeping ran or not.

use core::ops::Bound;
use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;

/// Facts about a record, available without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordInfo {
    pub(crate) offset: u64,
    pub(crate) timestamp: u64,
    /// When its own time to live ends; `u64::MAX` if it has none.
    pub(crate) own_death: u64,
    /// Its bytes.
    pub(crate) len: u32,
    pub(crate) is_tombstone: bool,
}

/// A record that died.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dead {
    pub(super) offset: u64,
    pub(super) len: u32,
    /// Whether readers skip it without a gap.
    pub(super) is_silent: bool,
}

/// A death that was settled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Settled {
    /// The record died of this.
    Died(Dead),
    /// The own time to live of the record at this offset had ended before; that is settled separately.
    Outlived(u64),
}

/// Future deaths. Memory: about 100 bytes for each record in each of the three tables.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    window: u64,
    tombstone_ttl: u64,
    /// When these two settings were changed; they do not end a record's life before that.
    changed_at: u64,
    /// Superseded records within the window. Timestamps rise with offsets, so they die in this order.
    lagging: BTreeMap<u64, RecordInfo>,
    /// Tombstones; they die in this order, too.
    tombstones: BTreeMap<u64, RecordInfo>,
    /// By time of death and offset: the bytes of records with their own time to live.
    own: BTreeMap<(u64, u64), u32>,
    /// The entry of `own` that was examined last for whether its record still exists.
    own_examined: (u64, u64),
}

/// Entries of `own` below which stale ones are not looked for.
const STALE_FROM: u64 = 64;

/// Entries examined for each one added while more than half are stale.
const EXAMINED: usize = 4;

impl Deaths {
    /// Changes the settings at `now`. Records due by then [were removed](Self::pop) before.
    pub(super) fn set(&mut self, window: u64, tombstone_ttl: u64, now: u64) {
        if (window, tombstone_ttl) != (self.window, self.tombstone_ttl) {
            (self.window, self.tombstone_ttl, self.changed_at) = (window, tombstone_ttl, now);
        }
    }

    /// Tracks an appended tombstone.
    pub(super) fn track_tombstone(&mut self, info: RecordInfo) {
        self.tombstones.insert(info.offset, info);
    }

    /// Tracks an appended record with its own time to live.
    pub(super) fn track_own(&mut self, own_death: u64, offset: u64, len: u32) {
        self.own.insert((own_death, offset), len);
    }

    /// Removes some entries of records below `first`, if there are more of them than of the `alive` records.
    pub(super) fn drop_stale(&mut self, alive: u64, first: u64) {
        if self.own.len() as u64 <= alive.saturating_mul(2).saturating_add(STALE_FROM) {
            return;
        }
        for _ in 0..EXAMINED {
            let after = (Bound::Excluded(self.own_examined), Bound::Unbounded);
            let Some((key, _)) = self.own.range(after).next() else {
                self.own_examined = (0, 0);
                return;
            };
            self.own_examined = *key;
            if key.1 < first {
                self.own.remove(&self.own_examined);
            }
        }
    }

    /// A record was superseded; returns it if that made it dead now, unless its own time to live ended first.
    pub(super) fn supersede(&mut self, info: RecordInfo, now: u64) -> Option<Dead> {
        let ends_at = info.timestamp.saturating_add(self.window);
        if ends_at > now {
            self.lagging.insert(info.offset, info);
            return None;
        }
        let death = self.silent_death(info.offset, now).unwrap_or(now);
        (death < info.own_death).then(|| self.take_out(info))
    }

    /// Settles one death that has come by `now`, in a log whose first offset is `first`; `None` if there is none.
    pub(super) fn pop(&mut self, now: u64, first: u64) -> Option<Settled> {
        if let Some(info) = self.next_silent(now, first) {
            let death = self.silent_death(info.offset, now).unwrap_or(now);
            if death < info.own_death {
                return Some(Settled::Died(self.take_out(info)));
            }
            // Its own time to live ended first.
            self.lagging.remove(&info.offset);
            self.tombstones.remove(&info.offset);
            return Some(Settled::Outlived(info.offset));
        }
        // Last, because records that died silently earlier have been removed from this table.
        let entry = self.own.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, offset), len) = entry.remove_entry();
        Some(Settled::Died(Dead { offset, len, is_silent: false }))
    }

    /// Removes the entries of one record that no longer exists; `false` if there is none at the front of the tables.
    pub(super) fn drop_removed(&mut self, first: u64, is_empty: bool) -> bool {
        let removed = |info: &RecordInfo| info.offset < first;
        let lagging = self.lagging.first_entry().filter(|entry| removed(entry.get()));
        if lagging.map(OccupiedEntry::remove_entry).is_some() {
            return true;
        }
        let tombstone = self.tombstones.first_entry().filter(|entry| removed(entry.get()));
        tombstone.map(OccupiedEntry::remove_entry).is_some() || (is_empty && self.own.pop_first().is_some())
    }

    /// Whether there are deaths that have come by `now` and are not settled.
    #[inline]
    pub(super) fn is_behind(&self, now: u64, first: u64) -> bool {
        self.own.first_key_value().is_some_and(|((death, _), _)| *death <= now)
            || self.next_silent(now, first).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.lagging.is_empty() && self.tombstones.is_empty()
    }

    /// When the window after a record was superseded ended, or its time to live as a tombstone; `None` if neither did
    /// by `now`.
    pub(super) fn silent_death(&self, offset: u64, now: u64) -> Option<u64> {
        let superseded = self.lagging.get(&offset).map(|info| self.window_end(info));
        let deleted = self.tombstones.get(&offset).map(|info| self.tombstone_end(info));
        superseded.into_iter().chain(deleted).min().filter(|death| *death <= now)
    }

    /// When the next record dies; 0 if [`drop_removed`](Self::drop_removed) has something to do.
    #[inline(never)]
    pub(super) fn next(&self, first: u64, is_empty: bool) -> u64 {
        let end_if_there = |info: &RecordInfo, end: u64| if info.offset < first { 0 } else { end };
        let lagging = self.lagging.values().next().map(|info| end_if_there(info, self.window_end(info)));
        let deleted =
            self.tombstones.values().next().map(|info| end_if_there(info, self.tombstone_end(info)));
        let own = self.own.keys().next().map(|(death, _)| if is_empty { 0 } else { *death });
        lagging.into_iter().chain(deleted).chain(own).min().unwrap_or(u64::MAX)
    }

    /// When the settings were changed.
    pub(super) const fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// Whether a record is superseded and within its window.
    pub(super) fn is_superseded(&self, offset: u64) -> bool {
        self.lagging.contains_key(&offset)
    }

    /// The settings were changed at this time, before a restart.
    pub(super) const fn restore_changed_at(&mut self, at: u64) {
        self.changed_at = at;
    }

    /// A record was superseded before a restart, and its window was not over.
    pub(super) fn restore_superseded(&mut self, info: RecordInfo) {
        self.lagging.insert(info.offset, info);
    }

    /// A record died silently before a restart.
    pub(super) fn restore_dead(&mut self, info: RecordInfo) -> Dead {
        self.take_out(info)
    }

    /// Approximate bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        let info = self.lagging.len().saturating_add(self.tombstones.len()).saturating_mul(80);
        info.saturating_add(self.own.len().saturating_mul(40))
    }

    /// The next record that died silently by `now` and still exists.
    fn next_silent(&self, now: u64, first: u64) -> Option<RecordInfo> {
        let lagging = self.lagging.range(first..).next().map(|(_, info)| info);
        let tombstone = || self.tombstones.range(first..).next().map(|(_, info)| info);
        let superseded = lagging.filter(|info| self.window_end(info) <= now);
        superseded.or_else(|| tombstone().filter(|info| self.tombstone_end(info) <= now)).copied()
    }

    fn take_out(&mut self, info: RecordInfo) -> Dead {
        self.lagging.remove(&info.offset);
        self.tombstones.remove(&info.offset);
        self.own.remove(&(info.own_death, info.offset));
        Dead { offset: info.offset, len: info.len, is_silent: true }
    }

    fn window_end(&self, info: &RecordInfo) -> u64 {
        info.timestamp.saturating_add(self.window).max(self.changed_at)
    }

    fn tombstone_end(&self, info: &RecordInfo) -> u64 {
        let end = info.timestamp.saturating_add(self.tombstone_ttl);
        // Later tombstones are not affected by the change.
        if info.timestamp < self.changed_at { end.max(self.changed_at) } else { end }
    }
}

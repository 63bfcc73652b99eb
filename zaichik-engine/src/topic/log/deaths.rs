//! When the records of a topic with `latest` compaction die (rules C6, C7, R8).
//!
//! Records superseded within their window, tombstones, and records with their own time to live are kept here until they
//! die, each kind in the order of its deaths. Readers look up an offset, so a death takes effect on time whether
//! housekeeping ran or not.

use std::collections::BTreeMap;

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
    /// Entries of `own` that remained after the last sweep.
    own_swept: usize,
}

/// Entries of `own` below which a sweep is not worthwhile.
const SWEEP_FROM: usize = 64;

impl Deaths {
    /// Changes the settings at `now`. Records due by then [were removed](Self::pop) before.
    pub(super) fn set(&mut self, window: u64, tombstone_ttl: u64, now: u64) {
        if (window, tombstone_ttl) != (self.window, self.tombstone_ttl) {
            (self.window, self.tombstone_ttl, self.changed_at) = (window, tombstone_ttl, now);
        }
    }

    /// Tracks an appended record of a log whose first offset is `first`.
    pub(super) fn track(&mut self, info: RecordInfo, first: u64) {
        if info.is_tombstone {
            self.tombstones.insert(info.offset, info);
        }
        if info.own_death < u64::MAX {
            self.own.insert((info.own_death, info.offset), info.len);
            // Limits may have removed records earlier; their entries must not accumulate.
            if self.own.len() > self.own_swept.saturating_mul(2).saturating_add(SWEEP_FROM) {
                self.own.retain(|(_, offset), _| *offset >= first);
                self.own_swept = self.own.len();
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

    /// Removes a dead record, if there is one; a record that a limit removed counts as dead.
    pub(super) fn pop(&mut self, now: u64, first: u64) -> Option<Dead> {
        while let Some(info) = self.next_silent(now, first) {
            let death = self.silent_death(info.offset, now).unwrap_or(now);
            if info.offset < first || death < info.own_death {
                return Some(self.take_out(info));
            }
            // Its own time to live ended first.
            self.lagging.remove(&info.offset);
            self.tombstones.remove(&info.offset);
        }
        // Last, because records that died silently earlier have been removed from this table.
        let entry = self.own.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, offset), len) = entry.remove_entry();
        Some(Dead { offset, len, is_silent: false })
    }

    /// When the window after a record was superseded ended, or its time to live as a tombstone; `None` if neither did
    /// by `now`.
    pub(super) fn silent_death(&self, offset: u64, now: u64) -> Option<u64> {
        let superseded = self.lagging.get(&offset).map(|info| self.window_end(info));
        let deleted = self.tombstones.get(&offset).map(|info| self.tombstone_end(info));
        superseded.into_iter().chain(deleted).min().filter(|death| *death <= now)
    }

    /// Whether a record died silently and is still in these tables.
    pub(super) fn is_behind(&self, now: u64) -> bool {
        self.next_silent(now, 0).is_some()
    }

    /// When the next record dies; 0 if a limit removed a record that is still in these tables.
    #[inline(never)]
    pub(super) fn next(&self, first: u64) -> u64 {
        let end_if_there = |info: &RecordInfo, end: u64| if info.offset < first { 0 } else { end };
        let lagging = self.lagging.values().next().map(|info| end_if_there(info, self.window_end(info)));
        let deleted =
            self.tombstones.values().next().map(|info| end_if_there(info, self.tombstone_end(info)));
        let own = self.own.keys().next().map(|(death, _)| *death);
        lagging.into_iter().chain(deleted).chain(own).min().unwrap_or(u64::MAX)
    }

    /// Approximate bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        let info = self.lagging.len().saturating_add(self.tombstones.len()).saturating_mul(80);
        info.saturating_add(self.own.len().saturating_mul(40))
    }

    /// The next record that died silently by `now`, or is below `first`.
    fn next_silent(&self, now: u64, first: u64) -> Option<RecordInfo> {
        let is_due = |info: &&RecordInfo, end: u64| end <= now || info.offset < first;
        let lagging = self.lagging.values().next().filter(|info| is_due(info, self.window_end(info)));
        let next = || self.tombstones.values().next().filter(|info| is_due(info, self.tombstone_end(info)));
        lagging.or_else(next).copied()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_only_the_topic_ends_are_not_tracked() {
        let mut deaths = Deaths::default();
        let info = RecordInfo { offset: 7, timestamp: 1, own_death: u64::MAX, len: 20, is_tombstone: false };
        deaths.track(info, 0);
        assert_eq!((deaths.footprint(), deaths.next(0)), (0, u64::MAX));
        deaths.track(RecordInfo { own_death: u64::MAX - 1, ..info }, 0);
        assert_ne!(deaths.footprint(), 0);
        assert_eq!(deaths.next(0), u64::MAX - 1);
    }
}

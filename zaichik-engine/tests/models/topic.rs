//! One topic of the naive model: its records, all of them, and which of them are still there.

use zaichik_proto::RefusalCode;

use crate::model::{FOREVER, Record, Settings};

/// A topic; every question is a scan.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) settings: Settings,
    pub(crate) explicit: bool,
    pub(crate) base: u64,
    /// Every record ever accepted; the first one has the offset `base`.
    pub(crate) log: Vec<Entry>,
    /// Every key ever accepted.
    pub(crate) keys: Vec<Key>,
    /// The offset after the highest one that a limit removed.
    pub(crate) limit_end: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) timestamp: u64,
    pub(crate) record: Record,
    /// Gone for everybody: by the topic's time to live, by a limit, or because nobody is left who wants it.
    pub(crate) removed: bool,
    /// Not for newcomers: it was dead when settings changed.
    pub(crate) hidden: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) bytes: Vec<u8>,
    pub(crate) accepted: u64,
    pub(crate) offset: u64,
    /// The smallest window in force since.
    pub(crate) window: u64,
}

impl Topic {
    pub(crate) fn new(settings: Settings, base: u64) -> Self {
        Self { settings, explicit: false, base, log: Vec::new(), keys: Vec::new(), limit_end: 0 }
    }

    pub(crate) fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    /// R1: a record expires at the instant, and stays expired whatever the settings become. One that expired by
    /// itself is gone as soon as everything before it is.
    pub(crate) fn age(&mut self, now: u64) {
        let ttl = self.settings.ttl;
        for entry in &mut self.log {
            entry.removed |= ttl > 0 && entry.timestamp.saturating_add(ttl) <= now && ttl != FOREVER;
        }
        for entry in &mut self.log {
            if !entry.removed && !entry.expired_by_itself(now) {
                break;
            }
            entry.removed = true;
        }
    }

    /// R2: with `retention_ttl = 0` a record is kept for the subscriptions there are.
    pub(crate) fn trim(&mut self, cursors: &[u64]) {
        if self.settings.ttl == 0 {
            for (entry, offset) in self.log.iter_mut().zip(self.base..) {
                entry.removed |= cursors.iter().all(|cursor| *cursor > offset);
            }
        }
    }

    /// R5, `reject`: removes from the oldest on, only as far as needed.
    pub(crate) fn make_way(
        &mut self,
        need: (u64, u64),
        cursors: &[u64],
        now: u64,
    ) -> Result<(), (RefusalCode, u64)> {
        while self.is_over(need) {
            let base = self.base;
            let oldest = self.log.iter_mut().zip(base..).find(|(entry, _)| !entry.removed);
            let (entry, offset) = oldest.ok_or((RefusalCode::TopicFull, 0))?;
            let committed = !cursors.is_empty() && cursors.iter().all(|cursor| *cursor > offset);
            if !committed && !entry.expired_by_itself(now) {
                return Err((RefusalCode::TopicFull, 0));
            }
            entry.removed = true;
        }
        Ok(())
    }

    /// R5, `drop_oldest`.
    pub(crate) fn drop_oldest(&mut self) {
        while !self.settings.reject && self.is_over((0, 0)) {
            let oldest = self.log.iter_mut().zip(self.base..).find(|(entry, _)| !entry.removed);
            let (entry, offset) = oldest.expect("nothing is not too much");
            entry.removed = true;
            self.limit_end = offset + 1;
        }
    }

    pub(crate) fn is_over(&self, (count, bytes): (u64, u64)) -> bool {
        let kept: Vec<_> = self.log.iter().filter(|entry| !entry.removed).collect();
        let kept_bytes: u64 = kept.iter().map(|entry| entry.record.len()).sum();
        kept.len() as u64 + count > self.settings.max_messages || kept_bytes + bytes > self.settings.max_bytes
    }

    /// R3: the first live record that is acceptable; the end if there is none.
    pub(crate) fn first_for_newcomers(&self, now: u64, accepts: impl Fn(u64, &Entry) -> bool) -> u64 {
        let mut all = self.log.iter().zip(self.base..);
        let found =
            all.find(|(entry, offset)| entry.is_live(now) && !entry.hidden && accepts(*offset, entry));
        found.map_or_else(|| self.end(), |(_, offset)| offset)
    }

    pub(crate) fn first_live(&self, from: u64, now: u64) -> Option<(u64, &Entry)> {
        let mut all = self.log.iter().zip(self.base..);
        all.find(|(entry, offset)| *offset >= from && entry.is_live(now))
            .map(|(entry, offset)| (offset, entry))
    }
}

impl Entry {
    pub(crate) fn is_live(&self, now: u64) -> bool {
        !self.removed && !self.expired_by_itself(now)
    }

    /// R8.
    pub(crate) fn expired_by_itself(&self, now: u64) -> bool {
        self.record.ttl.is_some_and(|ttl| self.timestamp.saturating_add(ttl) <= now)
    }
}

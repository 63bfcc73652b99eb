//! One topic of the naive model: its records, all of them, and which of them are still there.

use std::collections::BTreeSet;

use zaichik_proto::RefusalCode;

use crate::model::keys::{self, Key};
use crate::model::words::{FOREVER, Record, Refusal, Settings};

/// A topic; every question is a scan.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) settings: Settings,
    pub(crate) explicit: bool,
    pub(crate) base: u64,
    /// Every record ever accepted; the first one has the offset `base`.
    pub(crate) log: Vec<Entry>,
    /// Every key ever accepted while the first record of a key counted.
    pub(crate) keys: Vec<Key>,
    /// The step at hand; nothing is superseded or too much before its end.
    step: Option<Pending>,
    /// The offset after the highest one that a limit removed.
    pub(crate) limit_end: u64,
}

/// A step in which records come.
#[derive(Debug, Clone)]
struct Pending {
    /// The length of the log before it.
    from: usize,
    /// `latest`: the keys that count.
    live_keys: BTreeSet<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) timestamp: u64,
    pub(crate) record: Record,
    /// Gone for everybody: by the topic's time to live, by a limit, or because nobody is left who wants it.
    pub(crate) removed: bool,
    /// Not for newcomers: it was dead when settings changed.
    pub(crate) hidden: bool,
    /// When a newer record of its key came (`latest`).
    pub(crate) superseded: Option<u64>,
    /// When it died of that, or as a tombstone, under settings that are no more.
    pub(crate) died: Option<u64>,
    /// It lived when settings changed, so it does not die of them before.
    pub(crate) not_before: u64,
}

/// What became of an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Live,
    /// Readers are told (R4).
    Gone,
    /// Superseded, or a tombstone that had its time: readers are not told (C6).
    Quiet,
}

/// What a publish appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) first: Option<u64>,
    /// Which records were duplicates of which offsets.
    pub(crate) duplicates: Vec<(u32, u64)>,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Topic {
    pub(crate) const fn new(settings: Settings, base: u64) -> Self {
        Self { settings, explicit: false, base, log: Vec::new(), keys: Vec::new(), step: None, limit_end: 0 }
    }

    pub(crate) fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    /// Accepts all records, or says why it can't; what it looks like after a refusal means nothing. At the end of the
    /// step comes [`settle`](Self::settle).
    ///
    /// `earlier` is what the same batch has appended already: count and bytes.
    pub(crate) fn publish(
        &mut self,
        now: u64,
        records: &[Record],
        max_message: u64,
        cursors: &[u64],
        earlier: (u64, u64),
    ) -> Result<Accepted, Refusal> {
        self.begin(now, cursors);
        let settings = self.settings;
        let (mut accepted, mut duplicates): (Vec<&Record>, _) = (Vec::new(), Vec::new());
        for (record, index) in records.iter().zip(0..) {
            if record.message_len() > max_message {
                return Err((RefusalCode::TooLarge, max_message));
            }
            if record.len() > settings.max_bytes {
                return Err((RefusalCode::TooLarge, settings.max_bytes));
            }
            let offset = self.end().saturating_add(accepted.len() as u64);
            if let Some(key) = &record.key {
                if settings.latest {
                    let is_kept = settings.ttl > 0 || !cursors.is_empty();
                    let stays = is_kept && (!record.tombstone || settings.tombstone_ttl > 0);
                    let step = self.step.as_mut().expect("it has begun");
                    keys::take(&mut step.live_keys, key, stays, settings.max_keys)?;
                } else if settings.window > 0
                    && let Some(original) = keys::accept(&mut self.keys, key, now, offset, &settings)?
                {
                    duplicates.push((index, original));
                    continue;
                }
            }
            accepted.push(record);
        }
        let (count, bytes) = (accepted.len() as u64, accepted.iter().map(|record| record.len()).sum());
        let first = (count > 0).then_some(self.end());
        if self.end().checked_add(count).is_none_or(|end| end == u64::MAX) {
            return Err((RefusalCode::OffsetsExhausted, 0));
        }
        if count > 0 {
            // Nor does a batch evict its own records.
            if count + earlier.0 > settings.max_messages {
                return Err((RefusalCode::TooLarge, settings.max_messages));
            }
            if bytes + earlier.1 > settings.max_bytes {
                return Err((RefusalCode::TooLarge, settings.max_bytes));
            }
            if settings.reject {
                self.make_way((count, bytes), cursors, now)?;
            }
            for record in accepted {
                self.append(now, record.clone());
            }
        }
        Ok(Accepted { first, duplicates, count, bytes })
    }

    /// A step begins, or goes on, in which records may come.
    pub(crate) fn begin(&mut self, now: u64, cursors: &[u64]) {
        // What has gone from the front makes what expired behind it go too.
        self.trim(cursors);
        self.age(now);
        if self.step.is_none() {
            let live_keys = keys::live(&self.log, &self.settings, now);
            self.step = Some(Pending { from: self.log.len(), live_keys });
        }
    }

    /// The step ends: what nobody waits for, and what is too much, goes.
    pub(crate) fn settle(&mut self, now: u64, cursors: &[u64]) {
        if let Some(step) = self.step.take().filter(|_| self.settings.latest) {
            for index in step.from..self.log.len() {
                keys::supersede(&mut self.log, index, now);
            }
        }
        self.trim(cursors);
        self.drop_oldest(now);
    }

    fn append(&mut self, now: u64, record: Record) {
        self.log.push(Entry {
            timestamp: now,
            record,
            removed: false,
            hidden: false,
            superseded: None,
            died: None,
            not_before: 0,
        });
    }

    /// New settings in place (R7): what is dead stays dead.
    pub(crate) fn change(&mut self, settings: Settings, cursors: &[u64], now: u64) {
        self.age(now);
        let floor = if self.settings.ttl == 0 { self.end() } else { self.first_live(now, |_, _| true) };
        self.trim(cursors);
        let (base, old) = (self.base, self.settings);
        for (entry, offset) in self.log.iter_mut().zip(base..) {
            entry.hidden |= offset < floor;
            match entry.quiet_death(&old) {
                death if death <= now => entry.died = Some(death),
                _ => entry.not_before = now,
            }
        }
        keys::change(&mut self.keys, &old, &settings);
        self.settings = settings;
        self.explicit = true;
        self.age(now);
        self.settle(now, cursors);
    }

    /// T3: whether `compaction` may change.
    pub(crate) fn is_empty(&self, now: u64, cursors: &[u64]) -> bool {
        let mut after = self.clone();
        after.trim(cursors);
        after.age(now);
        after.log.iter().all(|entry| entry.removed)
    }

    /// R1: a record expires at the instant, and stays expired whatever the settings become. One that expired by
    /// itself is gone as soon as everything before it is.
    pub(crate) fn age(&mut self, now: u64) {
        let settings = self.settings;
        for entry in &mut self.log {
            let death = entry.timestamp.saturating_add(settings.ttl);
            entry.removed |= settings.ttl > 0 && settings.ttl != FOREVER && death <= now;
        }
        for entry in &mut self.log {
            if entry.fate(&settings, now) != Fate::Gone {
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
    fn make_way(&mut self, need: (u64, u64), cursors: &[u64], now: u64) -> Result<(), Refusal> {
        while self.is_over(need, now) {
            let (base, settings) = (self.base, self.settings);
            let oldest = self.log.iter_mut().zip(base..).find(|(entry, _)| !entry.removed);
            let (entry, offset) = oldest.ok_or((RefusalCode::TopicFull, 0))?;
            let committed = !cursors.is_empty() && cursors.iter().all(|cursor| *cursor > offset);
            if !committed && entry.fate(&settings, now) == Fate::Live {
                return Err((RefusalCode::TopicFull, 0));
            }
            entry.removed = true;
        }
        Ok(())
    }

    /// R5, `drop_oldest`.
    fn drop_oldest(&mut self, now: u64) {
        while !self.settings.reject && self.is_over((0, 0), now) {
            let oldest = self.log.iter_mut().zip(self.base..).find(|(entry, _)| !entry.removed);
            let (entry, offset) = oldest.expect("nothing is not too much");
            entry.removed = true;
            self.limit_end = offset + 1;
        }
    }

    /// With `latest` the dead do not count; what the step at hand brings does, whatever becomes of it.
    fn is_over(&self, (count, bytes): (u64, u64), now: u64) -> bool {
        let from = self.step.as_ref().map_or(self.log.len(), |step| step.from);
        let counts = |index: usize, entry: &Entry| {
            !self.settings.latest || index >= from || entry.fate(&self.settings, now) == Fate::Live
        };
        let kept = self.log.iter().enumerate().filter(|(_, entry)| !entry.removed);
        let kept: Vec<_> =
            kept.filter(|(index, entry)| counts(*index, entry)).map(|(_, entry)| entry).collect();
        let kept_bytes: u64 = kept.iter().map(|entry| entry.record.len()).sum();
        kept.len() as u64 + count > self.settings.max_messages || kept_bytes + bytes > self.settings.max_bytes
    }

    /// R3: the first record live for newcomers that is acceptable; the end if there is none.
    pub(crate) fn first_live(&self, now: u64, accepts: impl Fn(u64, &Entry) -> bool) -> u64 {
        let mut all = self.log.iter().zip(self.base..);
        let found = all.find(|(entry, offset)| {
            entry.fate(&self.settings, now) == Fate::Live && !entry.hidden && accepts(*offset, entry)
        });
        found.map_or_else(|| self.end(), |(_, offset)| offset)
    }

    /// Whether an offset died silently, and was then ended by the topic's time to live.
    pub(crate) fn is_unsure(&self, offset: u64, now: u64) -> bool {
        let index = offset.checked_sub(self.base).and_then(|index| usize::try_from(index).ok());
        let entry = index.and_then(|index| self.log.get(index));
        let ttl = self.settings.ttl;
        entry.is_some_and(|entry| {
            let is_over = ttl > 0 && ttl != FOREVER && entry.timestamp.saturating_add(ttl) <= now;
            is_over && entry.quiet_death(&self.settings) <= now
        })
    }

    /// A record that was accepted, and what became of it.
    pub(crate) fn entry(&self, offset: u64, now: u64) -> Option<(&Entry, Fate)> {
        let index = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        self.log.get(index).map(|entry| (entry, entry.fate(&self.settings, now)))
    }
}

impl Entry {
    pub(crate) fn fate(&self, settings: &Settings, now: u64) -> Fate {
        let (own, quiet) = (self.own_death(), self.quiet_death(settings));
        match () {
            () if self.removed => Fate::Gone,
            () if quiet <= now && quiet < own => Fate::Quiet,
            () if own <= now => Fate::Gone,
            () => Fate::Live,
        }
    }

    /// R8.
    fn own_death(&self) -> u64 {
        self.record.ttl.map_or(FOREVER, |ttl| self.timestamp.saturating_add(ttl))
    }

    /// When a newer record of its key ends it, or its time as a tombstone does (C6, C7).
    fn quiet_death(&self, settings: &Settings) -> u64 {
        if let Some(died) = self.died {
            return died;
        }
        let after = |span: u64| self.timestamp.saturating_add(span).max(self.not_before);
        let superseded = self.superseded.filter(|_| settings.latest);
        let of_key = superseded.map_or(FOREVER, |moment| moment.max(after(settings.window)));
        let is_tombstone = settings.latest && self.record.tombstone;
        of_key.min(if is_tombstone { after(settings.tombstone_ttl) } else { FOREVER })
    }
}

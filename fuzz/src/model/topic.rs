//! One topic of the model: every record that it accepted, and which of them still exist.

use std::collections::BTreeSet;
use std::rc::Rc;

use zaichik_proto::RefusalCode;

use crate::model::entry::{Entry, Liveness};
use crate::model::keys::{self, Key};
use crate::model::words::{FOREVER, Record, Refusal, Settings, Start};

/// A topic; every question is answered with a scan.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) settings: Settings,
    pub(crate) explicit: bool,
    pub(crate) base: u64,
    /// Every record ever accepted; the first one has the offset `base`.
    pub(crate) log: Vec<Entry>,
    /// All entries before this index are removed, so that scans may begin here.
    front: usize,
    /// The keys accepted in `first` mode whose window is not over.
    keys: Vec<Key>,
    /// The current step; nothing is superseded or evicted before its end.
    step: Option<Step>,
    /// The offset after the highest one that a limit removed.
    pub(crate) limit_end: u64,
    /// Whether the broker has a store.
    pub(crate) is_stored: bool,
}

/// A step that may append records: a publish or a batch.
#[derive(Debug, Clone)]
struct Step {
    /// The length of the log before it.
    from: usize,
    /// `latest` mode: the keys that count towards `max_keys`.
    live_keys: BTreeSet<Vec<u8>>,
}

/// The result of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) first: Option<u64>,
    /// Index of each duplicate in the publish, and the offset of its original.
    pub(crate) duplicates: Vec<(u32, u64)>,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Topic {
    pub(crate) const fn new(settings: Settings, base: u64, is_stored: bool) -> Self {
        Self {
            settings,
            explicit: false,
            base,
            log: Vec::new(),
            front: 0,
            keys: Vec::new(),
            step: None,
            limit_end: 0,
            is_stored,
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    /// Accepts all records, or changes nothing and returns the reason. [`settle`](Self::settle) ends the step.
    ///
    /// `earlier` is the count and bytes of the records that the same batch has already appended.
    pub(crate) fn publish(
        &mut self,
        now: u64,
        records: &[Record],
        max_message: u64,
        cursors: &[u64],
        earlier: (u64, u64),
    ) -> Result<Accepted, Refusal> {
        let step = self.step.clone();
        self.begin(now, cursors);
        keys::forget(&mut self.keys, now);
        let keys = self.keys.len();
        let accepted = self.try_publish(now, records, max_message, cursors, earlier);
        if accepted.is_err() {
            self.step = step;
            self.keys.truncate(keys);
        }
        accepted
    }

    fn try_publish(
        &mut self,
        now: u64,
        records: &[Record],
        max_message: u64,
        cursors: &[u64],
        earlier: (u64, u64),
    ) -> Result<Accepted, Refusal> {
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
            // A batch does not evict its own records.
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

    /// Begins or continues a step that may append records.
    pub(crate) fn begin(&mut self, now: u64, cursors: &[u64]) {
        // Removing records from the front allows expired ones behind them to be removed too.
        self.trim(cursors);
        self.age(now);
        if self.step.is_none() {
            let live_keys = if self.settings.latest {
                keys::live(self.kept(), &self.settings, now)
            } else {
                BTreeSet::new()
            };
            self.step = Some(Step { from: self.log.len(), live_keys });
        }
    }

    /// Ends the step: removes records that no subscription needs or that exceed the limits.
    pub(crate) fn settle(&mut self, now: u64, cursors: &[u64]) {
        if let Some(step) = self.step.take().filter(|_| self.settings.latest) {
            for index in step.from.max(self.front)..self.log.len() {
                keys::supersede(&mut self.log[self.front..=index], now);
            }
        }
        self.trim(cursors);
        self.drop_oldest(now);
    }

    fn append(&mut self, now: u64, record: Record) {
        self.log.push(Entry {
            timestamp: now,
            record: Rc::new(record),
            removed: false,
            expired: false,
            hidden: false,
            superseded: None,
            died: None,
            not_before: 0,
        });
    }

    /// Changes the settings in place (rule R7): dead records stay dead.
    pub(crate) fn change(&mut self, settings: Settings, cursors: &[u64], now: u64) {
        self.age(now);
        let floor = if self.settings.ttl == 0 { self.end() } else { self.first_live(now, |_, _| true) };
        self.trim(cursors);
        let (base, old) = (self.base, self.settings);
        for (entry, offset) in self.log.iter_mut().zip(base..) {
            entry.hidden |= offset < floor;
            match entry.silent_death(&old) {
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

    /// Rule R10: removes what is before a point; returns the first record that is left, and how many live ones went.
    pub(crate) fn cut(&mut self, before: Start, cursors: &[u64], now: u64) -> (u64, u64) {
        self.trim(cursors);
        self.age(now);
        let to = match before {
            Start::Earliest => self.base,
            Start::Latest => self.end(),
            Start::Offset(offset) => offset.clamp(self.base, self.end()),
            Start::Time(time) => self.first_since(time),
        };
        let live = |topic: &Self| {
            let is_live =
                |entry: &&Entry| !entry.removed && entry.liveness(&topic.settings, now) == Liveness::Live;
            topic.kept().iter().filter(is_live).count() as u64
        };
        let all = live(self);
        let index = usize::try_from(to - self.base).expect("it is in the log");
        if index > self.front {
            self.remove_to(index);
            self.limit_end = self.limit_end.max(to);
        }
        self.age(now);
        let is_live = |entry: &Entry| !entry.removed && entry.liveness(&self.settings, now) == Liveness::Live;
        let start = self.kept().iter().position(is_live).map_or(self.log.len(), |at| self.front + at);
        (self.base + start as u64, all - live(self))
    }

    /// The first offset whose record was accepted at or after a time; the end if none was.
    pub(crate) fn first_since(&self, time: u64) -> u64 {
        self.base + self.log.iter().take_while(|entry| entry.timestamp < time).count() as u64
    }

    /// Rule T3: whether `compaction` may change.
    pub(crate) fn is_empty(&self, now: u64, cursors: &[u64]) -> bool {
        let mut after = self.clone();
        after.trim(cursors);
        after.age(now);
        after.front == after.log.len()
    }

    /// Rule R1: a record expires at the exact instant, and stays expired under any later settings. One whose own time
    /// to live is over is gone as soon as everything before it is.
    pub(crate) fn age(&mut self, now: u64) {
        let settings = self.settings;
        if settings.ttl > 0 && settings.ttl != FOREVER {
            for entry in &mut self.log[self.front..] {
                entry.expired |= entry.timestamp.saturating_add(settings.ttl) <= now;
                entry.removed |= entry.expired;
            }
        }
        let is_missing = |entry: &Entry| entry.liveness(&settings, now) == Liveness::Missing;
        while let Some(entry) = self.log.get_mut(self.front).filter(|entry| is_missing(entry)) {
            entry.removed = true;
            self.front += 1;
        }
    }

    /// Rule R2: with `retention_ttl = 0` a record is kept for the subscriptions that exist.
    pub(crate) fn trim(&mut self, cursors: &[u64]) {
        let lowest = cursors.iter().min().copied().unwrap_or(u64::MAX);
        while self.settings.ttl == 0 && self.base + (self.front as u64) < lowest.min(self.end()) {
            self.log[self.front].removed = true;
            self.front += 1;
        }
    }

    /// Rule R5, `reject`: removes records from the oldest on, only as far as needed.
    fn make_way(&mut self, need: (u64, u64), cursors: &[u64], now: u64) -> Result<(), Refusal> {
        let committed = cursors.iter().min().copied().unwrap_or(0);
        let (mut gone, mut index) = ((0, 0), self.front);
        while self.is_over(need, gone, now) {
            let entry = self.log.get(index).ok_or((RefusalCode::TopicFull, 0))?;
            let is_committed = committed > self.base + index as u64;
            if !entry.removed && !is_committed && entry.liveness(&self.settings, now) == Liveness::Live {
                return Err((RefusalCode::TopicFull, 0));
            }
            if !entry.removed && self.counts(index, now) {
                gone = (gone.0 + 1, gone.1 + entry.record.len());
            }
            index += 1;
        }
        self.remove_to(index);
        Ok(())
    }

    /// Rule R5, `drop_oldest`.
    fn drop_oldest(&mut self, now: u64) {
        while !self.settings.reject && self.is_over((0, 0), (0, 0), now) {
            let oldest = (self.front..self.log.len()).find(|index| !self.log[*index].removed);
            let oldest = oldest.expect("an empty topic exceeds no limit");
            self.remove_to(oldest + 1);
            self.limit_end = self.base + self.front as u64;
        }
    }

    fn remove_to(&mut self, index: usize) {
        for entry in &mut self.log[self.front..index] {
            entry.removed = true;
        }
        self.front = self.front.max(index);
    }

    /// Whether the kept records, without `gone` and with `need`, exceed a limit.
    fn is_over(&self, need: (u64, u64), gone: (u64, u64), now: u64) -> bool {
        let Settings { max_messages, max_bytes, .. } = self.settings;
        if (max_messages, max_bytes) == (FOREVER, FOREVER) {
            return false;
        }
        let kept = (self.front..self.log.len()).filter(|index| self.counts(*index, now));
        let (count, bytes) =
            kept.fold((0, 0), |(count, bytes), index| (count + 1, bytes + self.log[index].record.len()));
        count + need.0 - gone.0 > max_messages || bytes + need.1 - gone.1 > max_bytes
    }

    /// Whether an entry counts towards the limits. Dead records do not, but the records of the current step always do.
    fn counts(&self, index: usize, now: u64) -> bool {
        let entry = &self.log[index];
        let from = self.step.as_ref().map_or(self.log.len(), |step| step.from);
        let is_live = || entry.liveness(&self.settings, now) == Liveness::Live;
        !entry.removed && (index >= from || is_live())
    }

    /// Rule R3: the first record that is live for new subscriptions and satisfies `accepts`; the end if there is none.
    pub(crate) fn first_live(&self, now: u64, accepts: impl Fn(u64, &Entry) -> bool) -> u64 {
        let mut all = self.log[self.front..].iter().zip(self.base + self.front as u64..);
        let found = all.find(|(entry, offset)| {
            let is_live = entry.liveness(&self.settings, now) == Liveness::Live;
            is_live && !entry.hidden && accepts(*offset, entry)
        });
        found.map_or_else(|| self.end(), |(_, offset)| offset)
    }

    /// Rule R9: whether a Gap that begins at this offset may have the reason `limit`, or `expired`. Both are right
    /// where a record's own time to live is over: it counts towards limits as long as it is behind a live record, and
    /// whether it then expires or is evicted depends on what the broker does in one step. Rule B8: a record that a limit
    /// removed while it was only in the store may be found expired.
    pub(crate) fn allows_reason(&self, from: u64, limit: bool, now: u64) -> bool {
        let is_own_death = self.at(from).is_some_and(|entry| entry.own_death() <= now);
        let may_be_found_expired = self.is_stored && self.at(from).is_some_and(|one| self.expires(one, now));
        limit == (from < self.limit_end) || is_own_death || (!limit && may_be_found_expired)
    }

    /// Rule R1: whether the topic's time to live ends a record by now.
    fn expires(&self, entry: &Entry, now: u64) -> bool {
        let ttl = self.settings.ttl;
        ttl > 0 && ttl != FOREVER && entry.timestamp.saturating_add(ttl) <= now
    }

    /// Entries that may not be removed yet.
    fn kept(&self) -> &[Entry] {
        &self.log[self.front..]
    }

    /// Bytes of the records that new subscriptions receive.
    pub(crate) fn live_bytes(&self, now: u64) -> u64 {
        let is_live = |one: &&Entry| one.liveness(&self.settings, now) == Liveness::Live;
        let live = self.kept().iter().filter(is_live).filter(|one| !one.hidden);
        live.map(|entry| entry.record.len()).sum()
    }

    /// Whether an offset died silently, and then expired with the topic's time to live. Both a Gap and silence are
    /// right there: the broker does not know when such a record was accepted, once its memory was reused (rule C8).
    pub(crate) fn is_unsure(&self, offset: u64, now: u64) -> bool {
        let expired = |entry: &Entry| entry.expired || self.expires(entry, now);
        self.may_be_silent(offset, now) && self.at(offset).is_some_and(expired)
    }

    /// Whether an offset died silently, regardless of later events.
    pub(crate) fn may_be_silent(&self, offset: u64, now: u64) -> bool {
        self.at(offset).is_some_and(|entry| entry.silent_death(&self.settings) <= now)
    }

    /// The record accepted at an offset, and what a reader receives there.
    pub(crate) fn entry(&self, offset: u64, now: u64) -> Option<(&Entry, Liveness)> {
        self.at(offset).map(|entry| (entry, entry.liveness(&self.settings, now)))
    }

    /// The size of the largest record.
    pub(crate) fn largest(&self) -> u64 {
        self.log.iter().map(|entry| entry.record.len()).max().unwrap_or(0)
    }

    /// The key of the record accepted at an offset.
    pub(crate) fn key_of(&self, offset: u64) -> Option<Vec<u8>> {
        self.at(offset)?.record.key.clone()
    }

    pub(crate) fn at(&self, offset: u64) -> Option<&Entry> {
        self.log.get(usize::try_from(offset.checked_sub(self.base)?).ok()?)
    }
}

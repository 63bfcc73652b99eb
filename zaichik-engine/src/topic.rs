//! One topic: its settings, its log, its keys, and who waits for its next record.

mod contents;
mod cursors;
mod keys;
mod latest;
mod log;
mod plain;
mod position;
mod retired;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use zaichik_proto::{CompactionMode, Duplicate, GapReason, Overflow, Records, Refusal, RefusalCode, Start};

pub(crate) use self::cursors::{CursorId, Cursors};
use self::keys::{KeyStatus, Keys};
use self::latest::{LatestKeys, Liveness};
use self::log::{Log, RecordInfo};
pub(crate) use self::log::{Position, Pull, Want};
pub(crate) use self::plain::Appended;
pub(crate) use self::retired::Retired;
use crate::config::TopicSettings;
use crate::ring::Node;
use zaichik_proto::Timestamp;

/// Idle time after which a topic's allocations are cut to size, in microseconds.
const SEAL_AFTER: u64 = 1_000_000;

/// Chunks, keys, and deaths of records that one step of housekeeping deals with at most.
const FREE_PER_STEP: usize = 64;

/// Chunks that a run of publishes or a commit frees at most; more than it can add.
const FREE_PER_COMMIT: usize = 4;

/// A topic. Nothing in it refers to another one.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) settings: TopicSettings,
    /// Whether `CreateTopic` has given it its settings (semantics T1 to T4).
    pub(crate) explicit: bool,
    /// Ring of the subscriptions that are caught up.
    pub(crate) waiting: Node,
    /// Cursors of its subscriptions.
    pub(crate) cursors: Cursors,
    log: Log,
    /// With `first` compaction: what is a duplicate.
    keys: Option<Box<Keys>>,
    /// With `latest` compaction: what is superseded.
    newest: Option<Box<LatestKeys>>,
    /// Newcomers see nothing below this offset (R7).
    hidden_below: u64,
    /// The offset after the highest one that a limit removed (R9).
    limit_end: u64,
    last_append: Timestamp,
    /// When housekeeping looks at it next; `Timestamp::MAX` if it needs not.
    pub(crate) due: Timestamp,
    /// What the ledger was told last.
    pub(crate) charged: usize,
}

/// What became of the records of one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Offset of the first record appended; `None` if all were duplicates.
    pub(crate) first_offset: Option<u64>,
    /// How many were appended.
    pub(crate) count: u64,
}

/// What publishes that are checked together would append.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    /// Records, duplicates left out.
    count: u64,
    /// Their bytes.
    bytes: u64,
    /// Number of the first key that is remembered for them.
    keys_from: u64,
    /// The first offset that stays: with `overflow = reject`, what is below makes room.
    keep_from: u64,
}

/// What a topic needs from its broker to accept records.
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    /// Largest message, in bytes.
    pub(crate) max_message: u32,
    /// Key of the hashes of keys.
    pub(crate) hash_key: u128,
    /// Takes the duplicates found.
    pub(crate) duplicates: &'a mut Vec<Duplicate>,
    /// Takes allocations that are still being sent from.
    pub(crate) retired: &'a mut Retired,
}

impl Topic {
    pub(crate) fn new(name: Arc<str>, settings: TopicSettings, waiting: Node, first_offset: u64) -> Self {
        let mut log = Log::starting_at(first_offset);
        log.set_latest(latest_times(&settings), 0);
        Self {
            name,
            settings,
            explicit: false,
            waiting,
            cursors: Cursors::default(),
            log,
            keys: None,
            newest: None,
            hidden_below: 0,
            limit_end: 0,
            last_append: Timestamp::ZERO,
            due: Timestamp::MAX,
            charged: 0,
        }
    }

    /// Accepts all records of a publish in one step, or refuses it and changes nothing (semantics C, R5).
    pub(crate) fn publish(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        intake: &mut Intake<'_>,
    ) -> Result<Accepted, Refusal> {
        intake.duplicates.clear();
        let mut draft = self.draft(now);
        let accepted = self.check(now, records, &mut draft, intake);
        match accepted {
            Ok(_) => {
                self.append(now, records, &draft, intake.duplicates, intake.retired);
                self.appended(now, intake.retired);
            }
            Err(_) => self.abandon(&draft),
        }
        accepted
    }

    /// Begins to check publishes that are to be accepted together, or not at all.
    pub(crate) fn draft(&mut self, now: Timestamp) -> Draft {
        // What nobody waits for any more takes no room, whether housekeeping came by or not.
        self.age(now.as_micros());
        if self.is_latest() {
            self.log.mark_all_dead(now.as_micros());
        }
        if let Some(newest) = &mut self.newest {
            newest.discard_checked();
        }
        let keys_from = self.keys.as_ref().map_or(0, |keys| keys.next_number());
        Draft { count: 0, bytes: 0, keys_from, keep_from: self.log.first().offset }
    }

    /// Checks a publish that follows those in the draft. Nothing changes but the draft and the keys that it
    /// remembers; then either every publish of the draft is [appended](Self::append), in order, and
    /// [that is all](Self::appended), or the draft is [abandoned](Self::abandon).
    pub(crate) fn check(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        draft: &mut Draft,
        intake: &mut Intake<'_>,
    ) -> Result<Accepted, Refusal> {
        let before = *draft;
        self.plan(now.as_micros(), records, draft, intake)?;
        self.check_limits(now.as_micros(), draft)?;
        let count = draft.count.saturating_sub(before.count);
        let first_offset = (count > 0).then(|| self.log.end().saturating_add(before.count));
        Ok(Accepted { first_offset, count })
    }

    /// The publishes of a draft are refused: forgets the keys that it remembers.
    pub(crate) fn abandon(&mut self, draft: &Draft) {
        if let Some(keys) = &mut self.keys {
            keys.undo_to(draft.keys_from);
        }
        if let Some(newest) = &mut self.newest {
            newest.discard_checked();
        }
    }

    /// Appends what was checked: all records but the duplicates.
    pub(crate) fn append(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        draft: &Draft,
        duplicates: &[Duplicate],
        retired: &mut Retired,
    ) {
        let count = u64::from(records.len()).saturating_sub(duplicates.len() as u64);
        if count == 0 {
            return;
        }
        let at = now.as_micros();
        self.last_append = now;
        self.log.raise_first(draft.keep_from);
        if self.is_unread() {
            if let Some(newest) = &mut self.newest {
                newest.discard_checked();
            }
            self.log.skip(count, at);
            return;
        }
        let is_latest = self.is_latest();
        let mut duplicates = duplicates.iter().peekable();
        for (record, index) in records.iter().zip(0u32..) {
            if duplicates.next_if(|duplicate| duplicate.record == index).is_none() {
                self.log.append(record.as_bytes(), record.ttl_micros(), at, retired);
                if is_latest {
                    let len = record.as_bytes().len();
                    let info = self.log.last(len, record.ttl_micros(), record.is_tombstone());
                    self.supersede(info, record.key().is_some(), at);
                }
            }
        }
    }

    /// Everything of a draft was appended: what is too much goes.
    pub(crate) fn appended(&mut self, now: Timestamp, retired: &mut Retired) {
        let at = now.as_micros();
        if self.settings.overflow == Overflow::DropOldest {
            self.drop_oldest(at);
        }
        self.log.free(at, FREE_PER_COMMIT, retired);
    }

    /// The record at an offset, while it is live.
    pub(crate) fn record(&mut self, now: Timestamp, offset: u64) -> Option<Bytes> {
        let want = Want { records: 1, bytes: 0, single: usize::MAX };
        match self.pull(now, Position::at(offset), want) {
            Pull::Records { data, .. } => Some(data),
            Pull::Gap { .. } | Pull::Skip { .. } | Pull::NoRoom | Pull::End => None,
        }
    }

    /// What a subscription at `from` gets.
    pub(crate) fn pull(&mut self, now: Timestamp, from: Position, want: Want) -> Pull {
        self.log.expire(now.as_micros(), self.settings.retention_ttl_micros);
        self.log.pull(from, want, now.as_micros())
    }

    /// Why the offsets from `from` on are missing (R9).
    pub(crate) const fn gap_reason(&self, from: u64) -> GapReason {
        if from < self.limit_end { GapReason::Limit } else { GapReason::Expired }
    }

    /// The topic has other settings from here on; what was dead stays dead (R7).
    pub(crate) fn change_settings(&mut self, now: Timestamp, settings: TopicSettings) {
        let at = now.as_micros();
        let live = self.start(now, Start::Earliest);
        // What nobody waited for until here does not come back under a longer life.
        self.trim_committed();
        self.hidden_below = self.hidden_below.max(live);
        if let Some(keys) = &mut self.keys {
            keys.set_window(settings.compaction_window_micros);
        }
        let liveness = self.liveness(at);
        if let Some(newest) = &mut self.newest {
            // Those whose newest record died do not come back under a longer life of tombstones.
            while newest.forget(liveness, FREE_PER_STEP) {}
        }
        if settings.compaction != self.settings.compaction {
            // There are no records, so there is nothing to remember.
            (self.keys, self.newest) = (None, None);
        }
        self.log.set_latest(latest_times(&settings), at);
        self.settings = settings;
        self.age(at);
        if settings.overflow == Overflow::DropOldest {
            self.drop_oldest(at);
        }
    }

    /// The offset of the next record.
    pub(crate) const fn end(&self) -> u64 {
        self.log.end()
    }

    /// One bounded step of housekeeping; afterwards [`due`](Self::due_at) is right again.
    pub(crate) fn housekeep(&mut self, now: Timestamp, retired: &mut Retired) {
        let at = now.as_micros();
        self.age(at);
        let more = self.log.free(at, FREE_PER_STEP, retired);
        if self.is_latest() {
            self.housekeep_latest(at, retired);
        }
        if let Some(keys) = &mut self.keys {
            keys.forget(at, FREE_PER_STEP);
            keys.shrink();
            if keys.next_forget() == u64::MAX && self.settings.compaction_window_micros == 0 {
                self.keys = None;
            }
        }
        if !more && self.seal_at() <= now {
            self.log.seal(retired);
        }
    }

    /// A cursor moved or went away: frees some of what nobody needs any more (R2).
    pub(crate) fn release_committed(&mut self, now: Timestamp, retired: &mut Retired) {
        if self.settings.is_live_only() {
            self.trim_committed();
            self.log.free(now.as_micros(), FREE_PER_COMMIT, retired);
        }
    }

    /// When housekeeping has something to do next.
    pub(crate) fn due_at(&self) -> Timestamp {
        let log = Timestamp::from_micros(self.log.next_death(self.settings.retention_ttl_micros));
        let keys = self.keys.as_ref().map_or(u64::MAX, |keys| keys.next_forget());
        let newest = self.newest.as_ref().map_or(u64::MAX, |newest| {
            newest.next_forget(self.liveness(0), self.settings.retention_ttl_micros)
        });
        log.min(Timestamp::from_micros(keys.min(newest))).min(self.seal_at())
    }

    /// Bytes allocated for records and keys, and for the cursors.
    pub(crate) fn footprint(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.footprint().saturating_add(size_of::<Keys>()));
        let newest = self.newest.as_ref().map_or(0, |newest| newest.footprint());
        let keys = keys.saturating_add(newest);
        self.log.footprint().saturating_add(keys).saturating_add(self.cursors.footprint())
    }

    /// Whether its parts agree with each other.
    pub(crate) fn is_consistent(&self) -> bool {
        self.log.is_consistent() && self.newest.as_ref().is_none_or(|newest| newest.is_consistent())
    }

    /// A topic may change its compaction mode while there are no records between the first offset and the end (T3).
    pub(crate) fn is_empty(&mut self, now: Timestamp) -> bool {
        self.age(now.as_micros());
        self.log.is_empty()
    }

    /// Gives up what is committed, and then what a time to live has ended: some may be behind the committed.
    fn age(&mut self, at: u64) {
        self.trim_committed();
        self.log.expire(at, self.settings.retention_ttl_micros);
    }

    fn seal_at(&self) -> Timestamp {
        if self.log.is_sealed() { Timestamp::MAX } else { self.last_append.plus_micros(SEAL_AFTER) }
    }

    /// Looks each record up and counts what is to be appended.
    fn plan(
        &mut self,
        at: u64,
        records: Records<'_>,
        draft: &mut Draft,
        intake: &mut Intake<'_>,
    ) -> Result<(), Refusal> {
        let window = self.settings.compaction_window_micros;
        let first_mode = self.settings.compaction == CompactionMode::First;
        let latest_mode = self.is_latest() && !self.is_unread();
        for (record, index) in records.iter().zip(0u32..) {
            if record.message_len() > intake.max_message as usize {
                return Err(Refusal::with_value(RefusalCode::TooLarge, u64::from(intake.max_message)));
            }
            let len = record.as_bytes().len() as u64;
            if len > self.settings.max_bytes {
                return Err(Refusal::with_value(RefusalCode::TooLarge, self.settings.max_bytes));
            }
            if window > 0
                && first_mode
                && let Some(key) = record.key()
            {
                let keys = self.keys.get_or_insert_with(|| Box::new(Keys::new(intake.hash_key, window)));
                let offset = self.log.end().saturating_add(draft.count);
                match keys.accept(key, at, offset, self.settings.max_keys) {
                    KeyStatus::New => {}
                    KeyStatus::Duplicate(offset) => {
                        intake.duplicates.push(Duplicate { record: index, offset });
                        continue;
                    }
                    KeyStatus::LimitReached => {
                        return Err(Refusal::with_value(RefusalCode::KeysFull, self.settings.max_keys));
                    }
                }
            }
            if latest_mode && let Some(key) = record.key() {
                self.plan_latest(at, key, record.is_tombstone(), intake.hash_key)?;
            }
            draft.count = draft.count.saturating_add(1);
            draft.bytes = draft.bytes.saturating_add(len);
        }
        Ok(())
    }

    /// Checks that the draft fits, and with `overflow = reject` how much it needs removed and may (R5).
    fn check_limits(&mut self, at: u64, draft: &mut Draft) -> Result<(), Refusal> {
        let &mut Draft { count, bytes, .. } = draft;
        // The last offset is never given out, so that "the offset after" always exists.
        if self.log.end().checked_add(count).is_none_or(|end| end == u64::MAX) {
            return Err(Refusal::new(RefusalCode::OffsetsExhausted));
        }
        // A publish never evicts its own records.
        let TopicSettings { max_messages, max_bytes, .. } = self.settings;
        if count > max_messages || bytes > max_bytes {
            let limit = if count > max_messages { max_messages } else { max_bytes };
            return Err(Refusal::with_value(RefusalCode::TooLarge, limit));
        }
        if self.settings.overflow == Overflow::DropOldest || count == 0 {
            return Ok(());
        }
        // What may stay with the draft; from there on everything fits.
        let (messages, all_bytes) = (max_messages.saturating_sub(count), max_bytes.saturating_sub(bytes));
        let keep = self.log.first_within(messages, all_bytes);
        // The first one that is neither dead nor committed by all, if there is anybody to commit.
        let committed = self.cursors.lowest().unwrap_or(0);
        let first = self.log.first();
        if keep > first.offset
            && keep > self.log.first_live(Position::at(first.offset.max(committed)), at).offset
        {
            return Err(Refusal::new(RefusalCode::TopicFull));
        }
        draft.keep_from = keep;
        Ok(())
    }

    /// With `retention_ttl = 0`, what every subscription has committed need not be kept (R2).
    fn trim_committed(&mut self) {
        if self.settings.is_live_only() {
            let lowest = self.cursors.lowest().unwrap_or_else(|| self.log.end());
            self.log.raise_first(lowest);
        }
    }

    fn drop_oldest(&mut self, at: u64) {
        if self.is_latest() {
            // The dead do not count: tombstones may die at once, and others under a new window.
            self.log.mark_all_dead(at);
        }
        let first = self.log.first_within(self.settings.max_messages, self.settings.max_bytes);
        if first > self.log.first().offset {
            self.log.raise_first(first);
            self.limit_end = self.limit_end.max(first);
        }
    }

    /// Whether nobody will ever read what is accepted now (R2).
    fn is_unread(&self) -> bool {
        self.settings.is_live_only() && self.cursors.is_empty()
    }
}

/// Compaction in `latest` mode (semantics C6 to C8). None of it is inlined, so that other topics do not pay for it.
impl Topic {
    fn is_latest(&self) -> bool {
        self.settings.compaction == CompactionMode::Latest
    }

    /// Looks for the key of a record, or for room for it.
    #[inline(never)]
    fn plan_latest(
        &mut self,
        at: u64,
        key: &[u8],
        is_tombstone: bool,
        hash_key: u128,
    ) -> Result<(), Refusal> {
        let (liveness, max_keys) = (self.liveness(at), self.settings.max_keys);
        let newest = self.newest.get_or_insert_with(|| Box::new(LatestKeys::new(hash_key)));
        if newest.check(key, is_tombstone, liveness, max_keys) {
            return Ok(());
        }
        Err(Refusal::with_value(RefusalCode::KeysFull, max_keys))
    }

    /// A record was appended; with a key it supersedes the older one of that key.
    #[inline(never)]
    fn supersede(&mut self, info: RecordInfo, has_key: bool, at: u64) {
        self.log.track(info);
        if has_key && let Some(older) = self.newest.as_mut().and_then(|newest| newest.append(info)) {
            self.log.supersede(older, at);
        }
    }

    #[inline(never)]
    fn housekeep_latest(&mut self, at: u64, retired: &mut Retired) {
        if self.log.mark_dead(at, FREE_PER_STEP) {
            return;
        }
        self.log.reclaim(at, retired);
        let liveness = self.liveness(at);
        if let Some(newest) = &mut self.newest {
            newest.forget(liveness, FREE_PER_STEP);
            newest.shrink();
            if newest.is_empty() {
                self.newest = None;
            }
        }
    }

    const fn liveness(&self, now: u64) -> Liveness {
        let tombstone_ttl = self.settings.tombstone_ttl_micros;
        Liveness { now, first: self.log.first().offset, tombstone_ttl }
    }
}

/// The window and the time to live of tombstones, if newer records supersede older ones.
fn latest_times(settings: &TopicSettings) -> Option<(u64, u64)> {
    let times = (settings.compaction_window_micros, settings.tombstone_ttl_micros);
    (settings.compaction == CompactionMode::Latest).then_some(times)
}

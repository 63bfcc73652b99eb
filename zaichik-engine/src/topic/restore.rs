//! A topic that is built from its rows.

use std::sync::Arc;

use bytes::Bytes;
use zaichik_proto::{Overflow, Timestamp};

use super::amount::Amount;
use super::keys::Keys;
use super::latest::LatestKeys;
use super::{Retired, Topic};
use crate::planted::{Defect, is_planted};
use crate::ring::Node;
use crate::store::{Era, Mark, MarkedRun, RecordsHead, RecordsRow, RememberedKey, TopicRow};

/// What is known of a topic besides its records.
#[derive(Debug)]
pub(crate) struct TopicParts {
    /// The topic's own row.
    pub(crate) row: TopicRow,
    /// What became of its records.
    pub(crate) marks: Vec<MarkedRun>,
    /// Keys of records that have no row.
    pub(crate) keys: Vec<RememberedKey>,
    /// Where the last chunk began whose memory may have been freed.
    pub(crate) evicted_to: u64,
}

/// Why the rows of a topic contradict each other.
type Contradiction = &'static str;

impl Topic {
    /// A topic without the records that its rows hold.
    pub(crate) fn restored(row: &TopicRow, waiting: Node) -> Self {
        let mut topic = Self::new(Arc::from(&*row.name), row.settings, waiting, row.rows_from);
        topic.explicit = row.explicit;
        (topic.hidden_below, topic.limit_end) = (row.hidden_below, row.limit_end);
        if is_planted(Defect::LimitForgotten) {
            topic.limit_end = 0;
        }
        topic.log.restore_changed_at(row.changed_at.as_micros());
        topic
    }

    /// Appends a row's records; `false` if it does not continue those before.
    pub(crate) fn restore_records(&mut self, row: RecordsRow, retired: &mut Retired) -> bool {
        self.log.restore_records(row, retired)
    }

    /// Whether the records of a row may stay in the store; the last commit was at `stored_at`.
    ///
    /// They may if they could have been [evicted](Self::evict), the first record of the topic is not one behind the first of
    /// them, and none of their keys is remembered.
    pub(crate) fn may_restore_cold(&self, row: &TopicRow, head: &RecordsHead, stored_at: Timestamp) -> bool {
        let is_divided = head.start < row.first && row.first < head.end();
        let is_remembered = |era: &Era| head.last_timestamp.plus_micros(era.window_micros) > stored_at;
        let has_keys = head.has_keys && row.eras.iter().any(is_remembered);
        let has_keys = has_keys && !is_planted(Defect::HeadsForgetKeys);
        let is_exact = self.settings.overflow == Overflow::Reject || self.is_latest();
        !is_exact && !self.log.has_deaths() && !is_divided && !has_keys
    }

    /// Appends such a row without its records; `false` if it does not continue those before.
    pub(crate) fn restore_cold(&mut self, row: &TopicRow, head: &RecordsHead, retired: &mut Retired) -> bool {
        self.log.restore_cold(head, row.first, retired)
    }

    /// All records are appended and all cursors are known: what died since the last commit, which was at the first of these
    /// times, is removed.
    pub(crate) fn restore_parts(
        &mut self,
        (stored_at, now): (Timestamp, Timestamp),
        parts: &TopicParts,
        hash_key: u128,
        retired: &mut Retired,
    ) -> Result<(), Contradiction> {
        if !self.log.restore_first(parts.row.first) {
            return Err("its first offset is above its end");
        }
        let owed = Amount { records: parts.row.dropped_records, bytes: parts.row.dropped_bytes };
        if !self.log.restore_owed(owed) {
            return Err("its limits removed more records than it had");
        }
        if self.hidden_below > self.end() || self.limit_end > self.end() {
            return Err("its end is below an offset that it had");
        }
        if self.is_latest() {
            if !(parts.keys.is_empty() && parts.row.eras.is_empty()) {
                return Err("it has latest compaction, and keys of first compaction");
            }
            self.restore_latest(now.as_micros(), &parts.marks, hash_key)?;
        } else {
            if !parts.marks.is_empty() {
                return Err("it has first compaction, and superseded records");
            }
            self.restore_keys(now.as_micros(), parts, hash_key)?;
        }
        self.continue_storing(&parts.row, &parts.keys);
        // Limits that were to be enforced then are, whatever has died since.
        self.age(stored_at.as_micros());
        self.drop_owed();
        self.enforce(stored_at.as_micros());
        self.remove_dead(now, retired);
        Ok(())
    }

    fn restore_keys(&mut self, now: u64, parts: &TopicParts, hash_key: u128) -> Result<(), Contradiction> {
        let mut gone = parts.keys.iter().peekable();
        let mut keys = Vec::new();
        let take = |one: &'_ RememberedKey| (one.offset, one.accepted.as_micros(), one.key.clone());
        let from = parts.row.eras.first().map_or(u64::MAX, |era| era.from);
        for record in self.log.restored(from) {
            let Some(key) = record.key else { continue };
            while let Some(one) = gone.next_if(|one| one.offset < record.info.offset) {
                keys.push(take(one));
            }
            // Keys that are certainly forgotten need no copy.
            if from <= record.info.offset {
                keys.push((record.info.offset, record.info.timestamp, Bytes::copy_from_slice(key)));
            }
        }
        keys.extend(gone.map(take));
        if keys.iter().any(|(offset, _, _)| *offset >= self.log.end()) {
            return Err("it remembers a key of a record beyond its end");
        }
        if !keys.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("a key and its record have a row each");
        }
        let keys = keys.iter().map(|(offset, accepted, key)| (*offset, *accepted, &key[..]));
        let restored = Keys::restore(hash_key, &parts.row.eras, keys, now);
        self.keys = restored.map_err(|_| "two records with one key are within its window")?;
        Ok(())
    }

    fn restore_latest(&mut self, now: u64, marks: &[MarkedRun], hash_key: u128) -> Result<(), Contradiction> {
        let (first, liveness) = (self.log.first().offset, self.liveness(now));
        let (mut marks, mut marked) = (marks.iter().peekable(), Vec::new());
        let mut tombstones = Vec::new();
        let mut newest = LatestKeys::new(hash_key);
        let all = marks.clone().fold(0, |sum: u64, run| sum.saturating_add(run.to.saturating_sub(run.from)));
        let mut found = 0u64;
        for record in self.log.restored(0) {
            let info = record.info;
            let is_over = |run: &&MarkedRun| run.to <= info.offset;
            while marks.next_if(is_over).is_some() {}
            let mark = marks.peek().filter(|run| run.from <= info.offset).map(|run| run.mark);
            found = found.saturating_add(u64::from(mark.is_some()));
            if info.offset < first {
                continue;
            }
            if info.is_tombstone && mark != Some(Mark::Dead) {
                tombstones.push(info);
            }
            match (mark, record.key) {
                (Some(mark), _) => marked.push((info, mark)),
                (None, Some(key)) if !liveness.is_dead(&info) => {
                    let is_new = newest.check(key, info.is_tombstone, liveness, u64::MAX);
                    if !is_new || newest.append(info).is_some() {
                        return Err("two records with one key are not superseded");
                    }
                }
                (None, _) => {}
            }
        }
        if found != all {
            return Err("a record that is marked has no row");
        }
        for info in tombstones {
            self.log.track_tombstone(info);
        }
        for (info, mark) in marked {
            self.log.restore_mark(info, mark);
        }
        self.newest = (!newest.is_empty()).then(|| Box::new(newest));
        Ok(())
    }

    fn enforce(&mut self, at: u64) {
        self.log.settle(at, usize::MAX);
        self.age(at);
        self.drop_oldest(at);
    }

    /// Applies times to live, limits and commits, as if housekeeping had caught up.
    fn remove_dead(&mut self, now: Timestamp, retired: &mut Retired) {
        let at = now.as_micros();
        self.enforce(at);
        while self.log.forget_removed(super::FREE_PER_STEP) {}
        while self.log.free(super::FREE_PER_STEP, retired) {}
        let liveness = self.liveness(at);
        if let Some(newest) = &mut self.newest {
            let _ = newest.forget(liveness, usize::MAX);
        }
        self.newest = self.newest.take().filter(|newest| !newest.is_empty());
    }
}

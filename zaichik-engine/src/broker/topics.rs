//! All topics: found by name, created on first use, never deleted (chapter T).

mod new;
mod settings;
mod storing;

use core::hash::Hasher;
use core::ops::{Index, IndexMut};
use std::collections::VecDeque;
use std::sync::Arc;

use siphasher::sip::SipHasher13;
use zaichik_proto::{Refusal, RefusalCode, Timestamp, TopicName};

pub(super) use self::new::check_new_name;
use super::changes::Changes;
use super::deadlines::Deadlines;
use super::fetching::Fetching;
use super::memory::{Account, Memory};
use super::patterns::NewTopic;
use super::readiness::Readiness;
use crate::arena::Arena;
use crate::config::{BrokerConfig, Seed, TopicSettings};
use crate::id::TopicId;
use crate::planted::{Defect, is_planted};
use crate::steps::STEPS_PER_EXCHANGE;
use crate::store::TopicRow;
use crate::table::Table;
use crate::topic::Topic;

/// Bytes of a topic's entries in tables: its hash entry, its ring head and the counts of its shared name.
const TABLES: usize = 8 + 12 + 16;

/// When a refused client tries again that found the store without space, in microseconds.
const FULL_RETRY_MICROS: u64 = 1_000_000;

/// The table of topics. An id is valid for the broker's lifetime: topics are never deleted, and no one keeps the id of
/// a topic that [`remove_last`](Self::remove_last) takes back.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) entries: Arena<Topic>,
    names: Table<TopicId>,
    /// When housekeeping is due.
    deadlines: Deadlines<TopicId>,
    hash_key: u128,
    /// Maximum number of topics.
    limit: u32,
    defaults: TopicSettings,
    /// Offset of each topic's first record.
    first_offset: u64,
    /// Work done since the broker was created, in steps.
    steps: u64,
    /// Those that changed since they were staged last, if there is a store.
    changes: Option<Changes<TopicId>>,
    /// Bytes of records that were not staged.
    unstaged: usize,
    /// Those that are in the commit under way.
    pub(super) staged: Vec<TopicId>,
    /// What is only in the store, and who needs it.
    pub(super) fetching: Fetching,
    /// Whether those that are created are to be noted below, because there are patterns.
    keeps_new: bool,
    /// Those whose patterns are to be searched, oldest first.
    new: VecDeque<NewTopic>,
    /// Whether the store has no space, so that nothing is added (rule B9).
    pub(super) is_full: bool,
}

impl Index<TopicId> for Topics {
    type Output = Topic;

    #[expect(clippy::expect_used, reason = "ids come from this table, whose entries are never removed")]
    fn index(&self, id: TopicId) -> &Topic {
        self.entries.get(id.0).expect("a topic exists for ever")
    }
}

impl IndexMut<TopicId> for Topics {
    #[expect(clippy::expect_used, reason = "as above")]
    fn index_mut(&mut self, id: TopicId) -> &mut Topic {
        self.entries.get_mut(id.0).expect("a topic exists for ever")
    }
}

impl Topics {
    pub(super) fn new(config: &BrokerConfig, seed: Seed) -> Self {
        Self {
            entries: Arena::new(),
            names: Table::new(),
            deadlines: Deadlines::default(),
            hash_key: seed.hash_key,
            limit: config.max_topics,
            defaults: config.topic_defaults,
            first_offset: config.first_offset,
            steps: 0,
            changes: None,
            unstaged: 0,
            staged: Vec::new(),
            fetching: Fetching::default(),
            keeps_new: false,
            new: VecDeque::new(),
            is_full: false,
        }
    }

    /// Whether the store has space for records, topics, durable subscriptions and producers that are new (rule B9).
    pub(super) fn check_space(&self) -> Result<(), Refusal> {
        if self.is_full {
            return Err(Refusal::with_value(RefusalCode::StorageFull, FULL_RETRY_MICROS));
        }
        Ok(())
    }

    /// The key for hashing topic names and record keys.
    pub(super) const fn hash_key(&self) -> u128 {
        self.hash_key
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The topic with this number.
    pub(super) fn with_number(&self, id: TopicId) -> Option<&Topic> {
        self.entries.get(id.0)
    }

    pub(super) fn with_number_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.entries.get_mut(id.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.entries.iter()
    }

    /// The id of the topic with this number, in the order of their creation; `None` beyond the last one.
    pub(super) fn nth(&self, number: u32) -> Option<TopicId> {
        ((number as usize) < self.entries.len()).then_some(TopicId(number))
    }

    pub(super) fn find(&self, name: TopicName<'_>) -> Option<TopicId> {
        let name = name.as_str();
        self.names.find(self.hash(name), |id| &*self[*id].name == name)
    }

    /// The topic that a request names.
    ///
    /// # Errors
    /// `InvalidTopic` or `UnknownTopic`.
    pub(super) fn known(&self, name: &[u8]) -> Result<TopicId, Refusal> {
        self.find(topic_name(name)?).ok_or(Refusal::new(RefusalCode::UnknownTopic))
    }

    #[inline]
    pub(super) fn is_named(&self, id: TopicId, name: &[u8]) -> bool {
        self[id].name.as_bytes() == name
    }

    /// The topic with this name, created if missing (rule T1), and whether it was created.
    pub(super) fn find_or_add(
        &mut self,
        name: &[u8],
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> Result<(TopicId, bool), Refusal> {
        let name = topic_name(name)?;
        match self.find(name) {
            Some(id) => Ok((id, false)),
            None => Ok((self.add(name, self.defaults, memory, readiness)?, true)),
        }
    }

    /// Adds a topic, whose name must not exist yet, and must not look like a pattern (rule W1).
    pub(super) fn add(
        &mut self,
        name: TopicName<'_>,
        settings: TopicSettings,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> Result<TopicId, Refusal> {
        check_new_name(name)?;
        let id = TopicId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        if id.0 >= self.limit {
            return Err(Refusal::with_value(RefusalCode::TopicsFull, u64::from(self.limit)));
        }
        self.check_space()?;
        let name = name.as_str();
        memory.check(name.len().saturating_add(size_of::<Topic>()))?;
        // Topics are only added, and the last one may be taken back, so their numbers follow each other.
        let mut topic = Topic::new(Arc::from(name), settings, readiness.insert_ring(), self.first_offset);
        if self.changes.is_some() {
            topic.begin_storing();
        }
        let number = self.entries.insert(topic);
        debug_assert_eq!(number, id.0, "in the order of their creation");
        self.make_known(id);
        self.note_new(id);
        self.settle(id, memory);
        Ok(id)
    }

    /// Adds a topic that was stored, even above the limit; `None` if there is one with its name.
    pub(super) fn restore(&mut self, row: &TopicRow, readiness: &mut Readiness) -> Option<TopicId> {
        let id = TopicId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        if self.find(topic_name(row.name.as_bytes()).ok()?).is_some() {
            return None;
        }
        let number = self.entries.insert(Topic::restored(row, readiness.insert_ring()));
        debug_assert_eq!(number, id.0, "in the order of their creation");
        self.make_known(id);
        Some(id)
    }

    /// Takes back the last topic created, because the request that created it was refused.
    pub(super) fn remove_last(&mut self, memory: &mut Memory, readiness: &mut Readiness) {
        let last = TopicId(u32::try_from(self.entries.len().saturating_sub(1)).unwrap_or(u32::MAX));
        let Some(mut topic) = self.entries.remove(last.0) else {
            return;
        };
        self.names.remove(hash_of(self.hash_key, &topic.name), |id| *id == last);
        self.forget_new(last);
        self.deadlines.schedule(last, topic.due, Timestamp::MAX);
        readiness.remove(topic.waiting);
        memory.recharge(Account::Topics, &mut topic.charged, 0);
    }

    /// Work done since the broker was created, in steps (rule S14).
    #[inline]
    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// What was looked at since the last call of the broker was looked at by an observer, and is no work of a call.
    pub(super) fn forget_steps(&self) {
        for topic in self.iter() {
            let _ = topic.take_steps();
        }
    }

    /// Counts work on requests and subscriptions; that in topics is counted when they are [settled](Self::settle).
    #[inline]
    pub(super) const fn spend(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
    }

    /// Charges the memory that a topic holds, counts the work done in it, and schedules its housekeeping.
    pub(super) fn settle(&mut self, id: TopicId, memory: &mut Memory) {
        self.settle_charge(id, memory);
        if self.changes.is_some() {
            self.changed(id);
        }
    }

    /// The same for a change that does not concern a store.
    pub(super) fn settle_charge(&mut self, id: TopicId, memory: &mut Memory) {
        let topic = &mut self[id];
        let steps = topic.take_steps();
        let footprint = footprint(topic);
        memory.recharge(Account::Topics, &mut topic.charged, footprint);
        let due = topic.due_at();
        if due < topic.due {
            let before = core::mem::replace(&mut topic.due, due);
            self.deadlines.schedule(id, before, due);
        }
        self.spend(steps);
    }

    /// A cursor of a topic was raised or removed: frees some of the records that no subscription needs any more.
    pub(super) fn release_committed(&mut self, id: TopicId, memory: &mut Memory) {
        self[id].release_committed(memory.retired());
        if is_planted(Defect::UnmarkedRemoval) {
            return self.settle_charge(id, memory);
        }
        self.settle_read(id, memory);
    }

    /// Settles a topic that was read. It concerns a store only if that removed something: or else each delivery would wait for
    /// a commit.
    pub(super) fn settle_read(&mut self, id: TopicId, memory: &mut Memory) {
        self.settle_charge(id, memory);
        if self.changes.is_some() && !self[id].has_only_been_read() {
            self.changed(id);
        }
    }

    /// If memory is short, frees the records that a topic's subscriptions have committed now rather than later.
    #[inline]
    pub(super) fn reclaim_if_pressed(&mut self, now: Timestamp, id: TopicId, memory: &mut Memory) {
        if memory.is_pressed() {
            self.reclaim(now, id, memory);
        }
    }

    #[cold]
    fn reclaim(&mut self, now: Timestamp, id: TopicId, memory: &mut Memory) {
        self[id].housekeep(now, memory.retired());
        self.settle(id, memory);
    }

    /// Frees dead records in up to `count` topics that are due, for about as many steps as an exchange takes.
    pub(super) fn housekeep(&mut self, now: Timestamp, count: usize, memory: &mut Memory) {
        let last_step = self.steps.saturating_add(STEPS_PER_EXCHANGE);
        for _ in 0..count {
            if self.steps >= last_step {
                return;
            }
            let Some(id) = self.deadlines.pop_due(now) else {
                return;
            };
            let topic = &mut self[id];
            topic.due = Timestamp::MAX;
            topic.housekeep(now, memory.retired());
            self.settle(id, memory);
        }
    }

    /// When housekeeping is due next, or `Timestamp::MAX`.
    #[inline]
    pub(super) const fn next_housekeeping(&self) -> Timestamp {
        self.deadlines.first()
    }

    /// Whether housekeeping of some topic is due; if none is, the deaths of all are settled.
    #[inline]
    pub(super) fn has_due(&self, now: Timestamp) -> bool {
        self.deadlines.is_due(now)
    }

    /// Makes a topic known by its name.
    fn make_known(&mut self, id: TopicId) {
        let (hash, hash_key, entries) = (self.hash(&self[id].name), self.hash_key, &self.entries);
        self.names.insert(hash, id, |id| entries.get(id.0).map_or(0, |topic| hash_of(hash_key, &topic.name)));
    }

    fn hash(&self, name: &str) -> u64 {
        hash_of(self.hash_key, name)
    }
}

/// Bytes of a topic, including its name and its entries in tables.
pub(super) fn footprint(topic: &Topic) -> usize {
    let own = size_of::<Topic>().saturating_add(topic.name.len()).saturating_add(TABLES);
    topic.footprint().saturating_add(own)
}

/// The name of a topic as a request gives it.
///
/// # Errors
/// `InvalidTopic`.
pub(super) fn topic_name(name: &[u8]) -> Result<TopicName<'_>, Refusal> {
    TopicName::parse(name).map_err(|_| Refusal::new(RefusalCode::InvalidTopic))
}

fn hash_of(hash_key: u128, name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&hash_key.to_le_bytes());
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> TopicName<'_> {
        topic_name(name.as_bytes()).expect("a valid name")
    }

    #[test]
    fn a_topic_that_is_taken_back_leaves_nothing_behind() {
        let config = BrokerConfig { max_topics: 2, ..BrokerConfig::default() };
        let (mut memory, mut readiness) = (Memory::new(&BrokerConfig::default()), Readiness::new());
        let mut topics = Topics::new(&config, Seed::new(1, 2));
        let (kept, _) = topics.find_or_add(b"kept", &mut memory, &mut readiness).expect("there is room");
        let before = memory.ledger();
        let (_, created) = topics.find_or_add(b"gone", &mut memory, &mut readiness).expect("there is room");
        assert!(created && memory.ledger().total() > before.total());
        topics.remove_last(&mut memory, &mut readiness);
        assert_eq!((topics.find(name("gone")), topics.len()), (None, 1));
        assert_eq!((topics.find(name("kept")), memory.ledger()), (Some(kept), before));
        let (again, created) =
            topics.find_or_add(b"new", &mut memory, &mut readiness).expect("there is room");
        assert!(created && topics.is_named(again, b"new"));
        let full = topics.find_or_add(b"third", &mut memory, &mut readiness).expect_err("two at most");
        assert_eq!((full.code, full.value), (RefusalCode::TopicsFull, 2));
    }
}

//! Producers whose retries are answered from memory (rule P3).

mod history;
mod rows;
mod staging;

use core::ops::Range;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use zaichik_proto::{Producer, Refusal, RefusalCode};

use self::history::{History, MAX_GROWTH, Standing};
pub(super) use self::history::{Outcome, Stored};
pub(super) use self::rows::RestoredProducer;
use self::staging::Changed;
use super::answer_lists::AnswerLists;
use super::changes::Changes;
use super::memory::Memory;
use crate::arena::Arena;
use crate::config::{BrokerConfig, Seed};
use crate::ring::{Node, Rings};
use crate::table::Table;
use zaichik_proto::Timestamp;

/// All producers that the broker remembers, in the order in which they were last heard. No operation scans them.
#[derive(Debug)]
pub(super) struct Producers {
    /// Finds a producer by its id.
    table: Table<u32>,
    /// Each one is a separate allocation, so that its memory is freed when it is forgotten.
    entries: Arena<Box<ProducerEntry>>,
    rings: Rings,
    /// Head of the ring of all producers; the one that has been silent longest comes first.
    silent: Node,
    /// The one that was heard last, which is usually the next one as well.
    recent: u32,
    hash_key: u128,
    /// Maximum number of producers.
    limit: u32,
    /// Idle time after which a producer is forgotten, in microseconds.
    ttl: u64,
    /// Bytes of the producers themselves.
    own: usize,
    /// Those that changed since they were staged last, if there is a store.
    changes: Option<Changes<Changed>>,
    /// Those that were left out when the broker was restored, until there is a store.
    left_out: Vec<Changed>,
    scratch: Vec<u8>,
}

/// One producer.
#[derive(Debug)]
struct ProducerEntry {
    id: u128,
    epoch: u32,
    node: Node,
    heard: Timestamp,
    history: History,
    /// The numbers of the answers that were staged.
    staged: Range<u64>,
    /// Whether those belong to an earlier epoch.
    is_reset: bool,
    /// Whether it is listed as changed.
    is_changed: bool,
}

/// How the broker classifies a producer's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// A new one. Handle it, then [remember](Producers::remember) the outcome.
    Fresh,
    /// One that was answered before.
    Repeat(Stored),
}

impl Producers {
    pub(super) fn new(config: &BrokerConfig, seed: Seed) -> Self {
        let mut rings = Rings::default();
        Self {
            table: Table::new(),
            entries: Arena::new(),
            silent: rings.insert(0),
            rings,
            recent: 0,
            hash_key: seed.hash_key,
            limit: config.max_producers,
            ttl: zaichik_proto::micros(config.producer_ttl),
            own: 0,
            changes: None,
            left_out: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Classifies a request by its producer and sequence. The lists of a stored answer are read into `lists`.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        producer: &Producer,
        lists: &mut AnswerLists,
        memory: &mut Memory,
    ) -> Result<Admission, Refusal> {
        let admission = self.admission(now, producer, lists);
        memory.charge_producers(self.footprint());
        admission
    }

    /// Whether a producer is remembered.
    pub(super) fn knows(&mut self, now: Timestamp, id: u128) -> bool {
        self.find(now, id).is_some()
    }

    /// Remembers the outcome of a request that was [admitted](Self::admit) as fresh. After a retryable refusal its
    /// sequence is still the expected one.
    pub(super) fn remember(
        &mut self,
        now: Timestamp,
        producer: &Producer,
        outcome: Result<Outcome<'_>, Refusal>,
        memory: &mut Memory,
    ) {
        let outcome = match outcome {
            Ok(outcome) => Some(outcome),
            Err(refusal) if refusal.code.is_retryable() => None,
            Err(refusal) => Some(Outcome::Refused(refusal)),
        };
        let index = self.find(now, producer.id).unwrap_or_else(|| self.insert(now, producer));
        if let Some(outcome) = outcome {
            let entry = entry_at(&mut self.entries, index);
            let before = entry.history.footprint();
            entry.history.push(outcome, &mut self.scratch);
            self.own = self.own.saturating_sub(before).saturating_add(entry.history.footprint());
        }
        self.changed(index);
        memory.charge_producers(self.footprint());
    }

    /// When the next one will have been silent for too long, or `Timestamp::MAX`.
    #[inline]
    pub(super) fn next_forget(&self) -> Timestamp {
        if self.entries.is_empty() {
            return Timestamp::MAX;
        }
        let first = self.rings.members(self.silent).next().and_then(|first| self.entries.get(first));
        first.map_or(Timestamp::MAX, |first| first.heard.plus_micros(self.ttl))
    }

    /// Forgets up to `count` producers that have been silent for long enough; returns how many, in steps.
    pub(super) fn forget_silent(&mut self, now: Timestamp, count: usize, memory: &mut Memory) -> u64 {
        let before = self.entries.len();
        self.forget(now, count);
        memory.charge_producers(self.footprint());
        before.saturating_sub(self.entries.len()) as u64
    }

    /// Bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        self.own.saturating_add(self.tables())
    }

    /// Bytes allocated, recounted; `None` if the parts contradict each other.
    pub(super) fn recount(&self) -> Option<usize> {
        let mut heard = Timestamp::ZERO;
        let (mut count, mut own) = (0usize, 0usize);
        for index in self.rings.members(self.silent) {
            let entry = self.entries.get(index)?;
            let found = self.table.find(self.hash(entry.id), |other| *other == index);
            if entry.heard < heard || found.is_none() || !entry.history.is_consistent() {
                return None;
            }
            heard = entry.heard;
            count = count.saturating_add(1);
            own = own.saturating_add(size_of::<ProducerEntry>()).saturating_add(entry.history.footprint());
        }
        let agree = count == self.entries.len() && count == self.table.len() && count <= self.limit as usize;
        agree.then(|| own.saturating_add(self.tables()))
    }

    /// Maximum bytes that remembering one more answer may cost.
    pub(super) fn room(&self) -> usize {
        let is_full = self.entries.spare() == 0 || self.table.is_full() || self.rings.is_full();
        // A table that grows keeps the former one while its values move.
        let tables =
            if is_full { self.tables().saturating_mul(2).saturating_add(SMALLEST_TABLES) } else { 0 };
        tables.saturating_add(size_of::<ProducerEntry>()).saturating_add(MAX_GROWTH)
    }

    fn admission(
        &mut self,
        now: Timestamp,
        producer: &Producer,
        lists: &mut AnswerLists,
    ) -> Result<Admission, Refusal> {
        let Some(index) = self.find(now, producer.id) else {
            return self.make_room(now).map(|()| Admission::Fresh);
        };
        let entry = entry_at(&mut self.entries, index);
        if producer.epoch < entry.epoch {
            return Err(Refusal::with_value(RefusalCode::ProducerFenced, u64::from(entry.epoch)));
        }
        entry.heard = now;
        self.rings.push(self.silent, entry.node);
        if producer.epoch > entry.epoch {
            // Another owner, to which none of the stored answers belong.
            self.own = self.own.saturating_sub(entry.history.footprint());
            entry.epoch = producer.epoch;
            entry.history = History::starting_at(producer.sequence);
            entry.is_reset = true;
            self.changed(index);
        }
        let entry = entry_at(&mut self.entries, index);
        match entry.history.standing(producer.sequence) {
            Standing::Next => Ok(Admission::Fresh),
            Standing::Remembered(place) => {
                Ok(Admission::Repeat(entry.history.read(producer.sequence, place, lists)))
            }
            Standing::Forgotten => Err(Refusal::new(RefusalCode::SequenceTooOld)),
            Standing::Gap { expected } => Err(Refusal::with_value(RefusalCode::SequenceGap, expected)),
        }
    }

    fn forget(&mut self, now: Timestamp, steps: usize) {
        for _ in 0..steps {
            let due = self.next_forget();
            if due > now || due == Timestamp::MAX {
                return;
            }
            if let Some(first) = self.rings.pop(self.silent) {
                self.remove(first);
            }
        }
    }

    fn find(&mut self, now: Timestamp, id: u128) -> Option<u32> {
        // The last one may have been removed meanwhile.
        let is_it = |index: u32| self.entries.get(index).is_some_and(|entry| entry.id == id);
        let index = if is_it(self.recent) {
            self.recent
        } else {
            self.table.find(self.hash(id), |index| is_it(*index))?
        };
        if entry_at(&mut self.entries, index).heard.plus_micros(self.ttl) <= now {
            self.remove(index);
            return None;
        }
        self.recent = index;
        Some(index)
    }

    /// Makes room for one more.
    fn make_room(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if self.entries.len() >= self.limit as usize {
            self.forget(now, 1);
        }
        if self.entries.len() >= self.limit as usize {
            return Err(Refusal::with_value(RefusalCode::ProducersFull, u64::from(self.limit)));
        }
        Ok(())
    }

    fn insert(&mut self, now: Timestamp, producer: &Producer) -> u32 {
        let index = self.entries.next_number();
        let node = self.rings.insert(index);
        self.rings.push(self.silent, node);
        let history = History::starting_at(producer.sequence);
        self.entries.insert(Box::new(ProducerEntry {
            id: producer.id,
            epoch: producer.epoch,
            node,
            heard: now,
            history,
            staged: 0..0,
            is_reset: false,
            is_changed: false,
        }));
        self.own = self.own.saturating_add(size_of::<ProducerEntry>());
        let (hash, hash_key, entries) = (self.hash(producer.id), self.hash_key, &self.entries);
        self.table
            .insert(hash, index, |index| entries.get(*index).map_or(0, |entry| hash_of(hash_key, entry.id)));
        self.recent = index;
        index
    }

    fn remove(&mut self, index: u32) {
        let Some(entry) = self.entries.remove(index) else { return };
        if let Some(changes) = &mut self.changes {
            changes.add_removed(Changed::Gone { producer: entry.id, answers: entry.staged.clone() });
        }
        self.rings.remove(entry.node);
        self.table.remove(self.hash(entry.id), |other| *other == index);
        let footprint = size_of::<ProducerEntry>().saturating_add(entry.history.footprint());
        self.own = self.own.saturating_sub(footprint);
        if self.entries.is_empty() {
            (self.table, self.rings) = (Table::new(), Rings::default());
            self.silent = self.rings.insert(0);
        }
    }

    /// Bytes of the tables that find and order the producers.
    fn tables(&self) -> usize {
        let lists = self.entries.footprint().saturating_add(self.rings.footprint());
        self.table.allocation_size().saturating_add(lists)
    }

    fn hash(&self, id: u128) -> u64 {
        hash_of(self.hash_key, id)
    }
}

/// The producer at an index of the table or of a ring, which hold only indices of existing producers.
#[expect(clippy::expect_used, reason = "the table and the rings hold only indices of existing producers")]
fn entry_at(entries: &mut Arena<Box<ProducerEntry>>, index: u32) -> &mut ProducerEntry {
    entries.get_mut(index).expect("a producer that exists")
}

/// Maximum bytes of the tables for the first producer.
const SMALLEST_TABLES: usize = 512;

fn hash_of(hash_key: u128, id: u128) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&hash_key.to_le_bytes());
    hasher.write(&id.to_le_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i10_one_more_answer_never_costs_more_than_its_room() {
        let config =
            BrokerConfig { max_producers: u32::MAX, memory: u64::MAX / 2, ..BrokerConfig::default() };
        let mut producers = Producers::new(&config, Seed::new(1, 2));
        let (mut memory, mut lists) = (Memory::new(&config), AnswerLists::default());
        let now = Timestamp::from_micros(1);
        // Each table doubles at another number, and from 8,192 on that costs more than the answers of a producer may.
        for id in 1..40_000 {
            let producer = Producer { id, epoch: 0, sequence: 0 };
            producers.admit(now, &producer, &mut lists, &mut memory).expect("a new producer");
            let (before, room) = (producers.footprint(), producers.room());
            let refusal = Refusal::new(RefusalCode::TooLarge);
            producers.remember(now, &producer, Err(refusal), &mut memory);
            let cost = producers.footprint().saturating_sub(before);
            assert!(cost <= room, "producer {id} costs {cost}, and room was {room}");
        }
    }
}

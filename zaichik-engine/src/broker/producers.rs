//! Producers whose retries are answered from memory (semantics P3).

mod history;

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;
use zaichik_proto::{Producer, Refusal, RefusalCode};

use self::history::{History, MAX_GROWTH, Standing};
pub(super) use self::history::{Lists, Outcome, Stored};
use crate::config::{BrokerConfig, Seed};
use crate::planted::{Defect, is_planted};
use crate::ring::{Node, Rings};
use zaichik_proto::Timestamp;

/// All producers that the broker remembers, and in which order they fell silent. Nothing is ever scanned.
#[derive(Debug)]
pub(super) struct Producers {
    /// Finds a producer by its id.
    table: HashTable<u32>,
    /// Each one is an allocation of its own, so that its memory comes back when it is forgotten.
    known: Slab<Box<Known>>,
    rings: Rings,
    /// Head of the ring of all producers; the one that has been silent longest comes first.
    silent: Node,
    /// The one that asked last: it is most often the next one.
    recent: u32,
    hash_key: u128,
    /// Most of them.
    limit: u32,
    /// Silence after which one is forgotten, in microseconds.
    ttl: u64,
    /// Bytes of the producers themselves.
    own: usize,
    scratch: Vec<u8>,
}

/// One producer.
#[derive(Debug)]
struct Known {
    id: u128,
    epoch: u32,
    node: Node,
    heard: Timestamp,
    history: History,
}

/// What a producer's request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// A new one, to be handled; what becomes of it is to be [remembered](Producers::remember).
    Fresh,
    /// One that was answered before.
    Repeat(Stored),
}

impl Producers {
    pub(super) fn new(config: &BrokerConfig, seed: Seed) -> Self {
        let mut rings = Rings::default();
        Self {
            table: HashTable::new(),
            known: Slab::new(),
            silent: rings.insert(0),
            rings,
            recent: 0,
            hash_key: seed.hash_key,
            limit: config.max_producers,
            ttl: zaichik_proto::micros(config.producer_ttl),
            own: 0,
            scratch: Vec::new(),
        }
    }

    /// Looks at a request's producer and sequence. A stored answer's lists are read into `lists`.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        producer: &Producer,
        lists: Lists<'_>,
    ) -> Result<Admission, Refusal> {
        let Some(index) = self.find(now, producer.id) else {
            return self.make_room(now).map(|()| Admission::Fresh);
        };
        let Some(known) = self.known.get_mut(index as usize) else {
            return Ok(Admission::Fresh);
        };
        if producer.epoch < known.epoch {
            return Err(Refusal::with_value(RefusalCode::ProducerFenced, u64::from(known.epoch)));
        }
        known.heard = now;
        self.rings.push(self.silent, known.node);
        if producer.epoch > known.epoch {
            // Another owner, who knows nothing of what the last one was answered.
            self.own = self.own.saturating_sub(known.history.footprint());
            known.epoch = producer.epoch;
            known.history = History::starting_at(producer.sequence);
        }
        match known.history.standing(producer.sequence) {
            Standing::Next => Ok(Admission::Fresh),
            Standing::Remembered(_) if is_planted(Defect::RetryTwice) => Ok(Admission::Fresh),
            Standing::Gap { .. } if is_planted(Defect::HoleAccepted) => Ok(Admission::Fresh),
            Standing::Remembered(place) => {
                Ok(Admission::Repeat(known.history.read(producer.sequence, place, lists)))
            }
            Standing::Forgotten => Err(Refusal::new(RefusalCode::SequenceTooOld)),
            Standing::Gap { expected } => Err(Refusal::with_value(RefusalCode::SequenceGap, expected)),
        }
    }

    /// A request that was [admitted](Self::admit) as fresh has this outcome; `None` if it was refused for now: its
    /// sequence is still the one expected.
    pub(super) fn remember(&mut self, now: Timestamp, producer: &Producer, outcome: Option<Outcome<'_>>) {
        let index = self.find(now, producer.id).unwrap_or_else(|| self.insert(now, producer));
        if let (Some(known), Some(outcome)) = (self.known.get_mut(index as usize), outcome) {
            let before = known.history.footprint();
            known.history.push(outcome, &mut self.scratch);
            self.own = self.own.saturating_sub(before).saturating_add(known.history.footprint());
        }
    }

    /// When the next one is to be forgotten.
    pub(super) fn next_forget(&self) -> Option<Timestamp> {
        let first = self.rings.members(self.silent).next()?;
        let due = self.known.get(first as usize)?.heard.plus_micros(self.ttl);
        (due < Timestamp::MAX).then_some(due)
    }

    /// Forgets up to `budget` producers that have been silent for long enough.
    pub(super) fn forget_silent(&mut self, now: Timestamp, budget: usize) {
        for _ in 0..budget {
            if self.next_forget().is_none_or(|due| due > now) {
                return;
            }
            if let Some(first) = self.rings.pop(self.silent) {
                self.remove(first);
            }
        }
    }

    /// Bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        self.own.saturating_add(self.tables())
    }

    /// The same, counted again; `None` if the parts contradict each other.
    pub(super) fn recount(&self) -> Option<usize> {
        let mut heard = Timestamp::ZERO;
        let (mut count, mut own) = (0usize, 0usize);
        for index in self.rings.members(self.silent) {
            let known = self.known.get(index as usize)?;
            let found = self.table.find(self.hash(known.id), |other| *other == index);
            if known.heard < heard || found.is_none() || !known.history.is_consistent() {
                return None;
            }
            heard = known.heard;
            count = count.saturating_add(1);
            own = own.saturating_add(size_of::<Known>()).saturating_add(known.history.footprint());
        }
        let agree = count == self.known.len() && count == self.table.len() && count <= self.limit as usize;
        agree.then(|| own.saturating_add(self.tables()))
    }

    /// Bytes that remembering one answer more may cost at most.
    pub(super) fn room(&self) -> usize {
        let is_full = self.known.len() == self.known.capacity() || self.table.len() == self.table.capacity();
        let tables = if is_full { self.tables().saturating_add(SMALLEST_TABLES) } else { 0 };
        tables.saturating_add(size_of::<Known>()).saturating_add(MAX_GROWTH)
    }

    fn find(&mut self, now: Timestamp, id: u128) -> Option<u32> {
        let is_it = |index: u32| self.known.get(index as usize).is_some_and(|known| known.id == id);
        let index = if is_it(self.recent) {
            self.recent
        } else {
            *self.table.find(self.hash(id), |index| is_it(*index))?
        };
        if self.known.get(index as usize)?.heard.plus_micros(self.ttl) <= now {
            self.remove(index);
            return None;
        }
        self.recent = index;
        Some(index)
    }

    /// Makes sure that there is a place for one more.
    fn make_room(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if self.known.len() >= self.limit as usize {
            self.forget_silent(now, 1);
        }
        if self.known.len() >= self.limit as usize {
            return Err(Refusal::with_value(RefusalCode::ProducersFull, u64::from(self.limit)));
        }
        Ok(())
    }

    fn insert(&mut self, now: Timestamp, producer: &Producer) -> u32 {
        let entry = self.known.vacant_entry();
        let index = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let node = self.rings.insert(index);
        self.rings.push(self.silent, node);
        let history = History::starting_at(producer.sequence);
        entry.insert(Box::new(Known { id: producer.id, epoch: producer.epoch, node, heard: now, history }));
        self.own = self.own.saturating_add(size_of::<Known>());
        let (hash, hash_key, known) = (self.hash(producer.id), self.hash_key, &self.known);
        self.table.insert_unique(hash, index, |index| {
            known.get(*index as usize).map_or(0, |known| hash_of(hash_key, known.id))
        });
        self.recent = index;
        index
    }

    fn remove(&mut self, index: u32) {
        let Some(known) = self.known.try_remove(index as usize) else {
            return;
        };
        self.rings.remove(known.node);
        if let Ok(found) = self.table.find_entry(self.hash(known.id), |other| *other == index) {
            found.remove();
        }
        let footprint = size_of::<Known>().saturating_add(known.history.footprint());
        self.own = self.own.saturating_sub(footprint);
        if self.known.is_empty() {
            (self.table, self.known, self.rings) = (HashTable::new(), Slab::new(), Rings::default());
            self.silent = self.rings.insert(0);
        }
    }

    /// Bytes of the tables that find and order the producers.
    fn tables(&self) -> usize {
        let known = self.known.capacity().saturating_mul(SLAB_ENTRY);
        self.table.allocation_size().saturating_add(known).saturating_add(self.rings.footprint())
    }

    fn hash(&self, id: u128) -> u64 {
        hash_of(self.hash_key, id)
    }
}

/// Bytes of a place in the slab: the pointer, and whether there is one.
const SLAB_ENTRY: usize = 16;

/// Bytes of the tables when the first producer comes, at most.
const SMALLEST_TABLES: usize = 512;

fn hash_of(hash_key: u128, id: u128) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&hash_key.to_le_bytes());
    hasher.write(&id.to_le_bytes());
    hasher.finish()
}

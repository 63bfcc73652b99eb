//! Patterns of topics to which connections have subscribed (chapter W).

mod ending;
mod introducing;
mod matching;
mod searching;
mod subscribing;

use std::collections::{BTreeSet, VecDeque};

use zaichik_proto::{Refusal, RefusalCode, Start, TopicPattern};

pub(super) use self::matching::Matching;
use super::memory::{Account, Memory};
use super::readiness::Readiness;
use crate::arena::Arena;
use crate::config::BrokerConfig;
use crate::id::{PatternKey, SessionId, TopicId};
use crate::pattern::{Trie, Walk};
use crate::ring::Node;
use crate::subscription::Terms;
use crate::topic::{CursorId, Want};

/// Maximum topics of a pattern that wait to be reported because they were not taken; others are counted.
const MAX_REPORTS: usize = 64;

/// Bytes of a topic's entry in its pattern.
const PER_TOPIC: usize = 16;

/// A pattern to which a session has subscribed.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) session: SessionId,
    /// The number by which the client names it.
    pub(super) number: u32,
    text: Box<str>,
    /// A number that no other pattern of this broker ever has.
    serial: u64,
    /// The request whose answer it owes until all topics that existed were examined; `None` after that.
    request: Option<u32>,
    start: Start,
    /// Those of its subscriptions, except the number.
    terms: Terms,
    /// The next topic to examine of those that existed.
    examined: TopicId,
    /// Topics from here on are found when they are created.
    existed: TopicId,
    /// Its node in the rings of patterns of its session.
    node: Node,
    /// Head of the ring of its session's ready subscriptions.
    ready: Node,
    /// Head of the ring of its subscriptions that found the window full.
    full: Node,
    /// Records delivered by its subscriptions and not committed, and their bytes.
    records: u64,
    bytes: u64,
    /// The numbers of its subscriptions.
    aliases: BTreeSet<u32>,
    /// Topics that it could not take, to be reported.
    reports: VecDeque<(TopicId, Refusal)>,
    /// How many more there are.
    others: u32,
    /// Whether it is being ended: nothing is matched any more.
    is_ending: bool,
    charged: usize,
}

/// The topic whose patterns are being searched.
#[derive(Debug)]
struct Search {
    topic: TopicId,
    walk: Walk,
}

/// A topic whose patterns are to be searched: until then it keeps every record.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewTopic {
    pub(super) id: TopicId,
    /// The cursor, which belongs to no subscription, and its offset.
    pub(super) cursor_id: CursorId,
    pub(super) start: u64,
}

/// What the window of a pattern leaves to one of its subscriptions (rule W5).
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Head of the ring in which the subscription waits if it is not enough.
    pub(super) full: Node,
    window: u32,
    window_bytes: u32,
    /// Records that the others hold, and their bytes.
    others: (u64, u64),
}

impl Share {
    /// How much the subscription may get that holds `held` and wants so much; `None` if the window is full.
    pub(super) fn admits(&self, held: (u64, u64), want: Want) -> Option<Want> {
        if self.window == 0 {
            return Some(want);
        }
        let records = self.others.0.saturating_add(held.0);
        let room = u64::from(self.window).saturating_sub(records);
        let room = u32::try_from(room).ok().filter(|room| *room > 0)?;
        let left = u64::from(self.window_bytes).saturating_sub(self.others.1).saturating_sub(held.1);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        // A record larger than the whole window is still delivered, alone.
        let single = if records == 0 { usize::MAX } else { left };
        Some(Want {
            records: want.records.min(room),
            bytes: want.bytes.min(left),
            single: want.single.min(single),
        })
    }
}

/// All patterns of a broker.
#[derive(Debug)]
pub(super) struct Patterns {
    entries: Arena<Pattern>,
    trie: Trie<PatternKey>,
    next_serial: u64,
    search: Option<Search>,
    /// Maximum number of patterns.
    limit: u32,
    /// Maximum subscriptions of a session.
    max_subscriptions: u32,
}

impl Patterns {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        Self {
            entries: Arena::new(),
            trie: Trie::new(),
            next_serial: 0,
            search: None,
            limit: config.max_patterns,
            max_subscriptions: config.wire.max_subscriptions,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.entries.iter()
    }

    pub(super) fn get(&self, key: PatternKey) -> Option<&Pattern> {
        self.entries.get(key.0)
    }

    pub(super) fn get_mut(&mut self, key: PatternKey) -> Option<&mut Pattern> {
        self.entries.get_mut(key.0)
    }

    /// Bytes of free places.
    pub(super) const fn spare(&self) -> usize {
        self.entries.spare().saturating_mul(size_of::<Pattern>()).saturating_add(self.trie.spare())
    }

    /// Whether there is room for one more.
    fn check_full(&self) -> Result<(), Refusal> {
        if self.entries.len() >= self.limit as usize {
            return Err(Refusal::with_value(RefusalCode::PatternsFull, u64::from(self.limit)));
        }
        Ok(())
    }

    /// Removes a pattern that has no subscriptions any more.
    pub(super) fn remove(&mut self, key: PatternKey, memory: &mut Memory, readiness: &mut Readiness) {
        let Some(mut pattern) = self.entries.remove(key.0) else { return };
        debug_assert!(pattern.aliases.is_empty(), "its subscriptions end before it");
        if let Ok(text) = TopicPattern::parse(pattern.text.as_bytes()) {
            self.trie.remove(text, pattern.serial);
        }
        readiness.remove(pattern.node);
        readiness.remove(pattern.full);
        memory.recharge(Account::Subscriptions, &mut pattern.charged, 0);
    }

    /// Charges the memory that a pattern holds.
    pub(super) fn settle(&mut self, key: PatternKey, memory: &mut Memory) {
        if let Some(pattern) = self.get_mut(key) {
            let footprint = pattern.footprint();
            memory.recharge(Account::Subscriptions, &mut pattern.charged, footprint);
        }
    }
}

impl Pattern {
    /// Bytes allocated, including its nodes and its entries in tables and rings.
    pub(super) fn footprint(&self) -> usize {
        const OWN: usize = size_of::<Pattern>() + 64;
        let text = TopicPattern::parse(self.text.as_bytes()).map_or(0, Trie::<PatternKey>::cost);
        let topics = self.aliases.len().saturating_mul(PER_TOPIC);
        let reports = self.reports.capacity().saturating_mul(size_of::<(TopicId, Refusal)>());
        let own = OWN.saturating_add(self.text.len()).saturating_add(text);
        own.saturating_add(topics).saturating_add(reports)
    }

    /// What the window leaves to one of its subscriptions, for which it counts `counted`.
    pub(super) const fn share_besides(&self, counted: (u64, u64)) -> Share {
        Share {
            full: self.full,
            window: self.terms.window,
            window_bytes: self.terms.window_bytes,
            others: (self.records.saturating_sub(counted.0), self.bytes.saturating_sub(counted.1)),
        }
    }

    /// What its subscriptions hold changed from one number of records and bytes to another.
    pub(super) const fn recount(&mut self, before: (u64, u64), now: (u64, u64)) {
        self.records = self.records.saturating_sub(before.0).saturating_add(now.0);
        self.bytes = self.bytes.saturating_sub(before.1).saturating_add(now.1);
    }

    /// Head of the ring of those that found the window full.
    pub(super) const fn full(&self) -> Node {
        self.full
    }

    /// If its window has room, the ring of ready subscriptions, to which the first of the others may go.
    pub(super) const fn next_ready(&self) -> Option<Node> {
        let has_room = self.terms.window == 0
            || self.records == 0
            || (self.records < self.terms.window as u64 && self.bytes < self.terms.window_bytes as u64);
        if has_room { Some(self.ready) } else { None }
    }

    /// What its subscriptions hold, and their numbers.
    pub(super) const fn held(&self) -> (u64, u64, &BTreeSet<u32>) {
        (self.records, self.bytes, &self.aliases)
    }

    /// One of its subscriptions has ended.
    pub(super) fn lose(&mut self, alias: u32, held: (u64, u64)) {
        self.aliases.remove(&alias);
        self.recount(held, (0, 0));
    }
}

//! What both brokers of a pair get: requests that build on what the one before has, and on what it answers; ends of
//! connections; and time.

use std::collections::BTreeMap;
use std::fmt;

use bytes::BytesMut;
use zaichik_engine::store::Row;
use zaichik_proto::{
    AlterTopic, ClientDecoder, ClientFrame, Commit, CompactionMode, CreateTopic, Describe, Durable, Limits,
    Nack, OnConflict, Overflow, Producer, RemoveDurable, Seek, SeekTarget, Start, Subject, Subscribe,
    TopicOptions, TrimTopic, Unsubscribe, Version,
};

use super::seen::{News, Seen};
use crate::sim::random::Rng;
use crate::sim::{MILLI, SECOND};

/// Connections to each broker.
pub(super) const PEERS: usize = 3;

/// One input of both brokers.
pub(super) enum Input {
    /// A connection sends requests.
    Send { peer: usize, bytes: BytesMut },
    /// A connection ends, and another one takes its place.
    Reconnect(usize),
    /// The time, from now on.
    Time(u64),
}

/// Draws inputs.
pub(super) struct Inputs {
    pub(super) rng: Rng,
    topics: Vec<Topic>,
    durables: Vec<DurableName>,
    /// Each with its next sequence.
    pub(super) producers: Vec<Producer>,
    /// The subscriptions of each connection, by their numbers.
    subscriptions: [BTreeMap<u32, Subscription>; PEERS],
    pub(super) request: u32,
    /// The number of records of each publish, by its request.
    pub(super) published: BTreeMap<u32, u32>,
    /// Whether ends of connections with dead letters are left out.
    may_be_cold: bool,
    /// The time stays below this one.
    until: u64,
}

struct Topic {
    name: String,
    /// An offset near its end.
    end: u64,
}

#[derive(Clone)]
struct DurableName {
    topic: String,
    name: String,
    epoch: u32,
}

#[derive(Debug, Clone, Copy)]
struct Subscription {
    /// The index of its name, if it is durable.
    durable: Option<usize>,
    rewind: u32,
    /// The offset after the last one that it received.
    next: u64,
}

impl Inputs {
    pub(super) fn new<'a>(
        rng: Rng,
        rows: impl Iterator<Item = &'a Row>,
        may_be_cold: bool,
        until: u64,
    ) -> Self {
        let mut inputs = Self {
            rng,
            topics: Vec::new(),
            durables: Vec::new(),
            producers: Vec::new(),
            subscriptions: Default::default(),
            request: 0,
            published: BTreeMap::new(),
            may_be_cold,
            until,
        };
        rows.for_each(|row| inputs.knows(row));
        // One that neither broker has.
        inputs.topics.push(Topic { name: "new".to_owned(), end: 0 });
        inputs.producers.push(Producer { id: 99, epoch: 1, sequence: 1 });
        inputs
    }

    fn knows(&mut self, row: &Row) {
        match row {
            Row::Topic(row) => {
                self.topics.push(Topic { name: row.name.to_string(), end: row.rows_from });
            }
            Row::Records(row) => {
                let count: u64 = row.runs.iter().map(|run| run.count).sum();
                if let Some(topic) = self.topics.get_mut(row.topic as usize) {
                    topic.end = row.start.saturating_add(count);
                }
            }
            Row::Cursor(row) => {
                let Some(topic) = self.topics.get(row.topic as usize) else { return };
                let (topic, name, epoch) = (topic.name.clone(), row.name.to_string(), row.epoch);
                self.durables.push(DurableName { topic, name, epoch });
            }
            Row::Producer(row) => {
                let sequence = row.oldest.saturating_add(row.count.into());
                self.producers.push(Producer { id: row.producer, epoch: row.epoch, sequence });
            }
            Row::Meta(_) | Row::Answer(_) | Row::Marks(_) | Row::Keys(_) | Row::Group(_) => {}
        }
    }

    /// The next input at this time.
    pub(super) fn draw(&mut self, now: u64) -> Input {
        match self.rng.below(16) {
            0 => {
                let by =
                    self.rng.pick(&[1, MILLI, 100 * MILLI, SECOND, 10 * SECOND, 60 * SECOND, 600 * SECOND]);
                Input::Time(now.saturating_add(by).min(self.until.saturating_sub(1)).max(now))
            }
            1 => {
                let peer = self.rng.index(PEERS);
                // A record that is only in the store is no dead letter yet.
                let is_left_out = self.may_be_cold && !self.subscriptions[peer].is_empty();
                if is_left_out {
                    return self.requests(now);
                }
                self.subscriptions[peer].clear();
                Input::Reconnect(peer)
            }
            _ => self.requests(now),
        }
    }

    /// The number of records of a publish.
    pub(super) fn records_of(&self, request: u32) -> u64 {
        self.published.get(&request).copied().unwrap_or_default().into()
    }

    /// What a connection received.
    pub(super) fn sees(&mut self, peer: usize, seen: &Seen) {
        for news in &seen.news {
            match *news {
                News::Subscribed { number, epoch } => {
                    let durable = self.subscriptions[peer].get(&number).and_then(|one| one.durable);
                    if let Some(durable) = durable.and_then(|at| self.durables.get_mut(at)) {
                        durable.epoch = epoch;
                    }
                }
                News::Delivered { number, rewind, offset } => {
                    if let Some(one) = self.subscriptions[peer].get_mut(&number) {
                        (one.rewind, one.next) = (rewind, offset.saturating_add(1));
                    }
                }
                News::Ended { number } => drop(self.subscriptions[peer].remove(&number)),
            }
        }
    }

    fn requests(&mut self, now: u64) -> Input {
        let peer = self.rng.index(PEERS);
        let mut bytes = BytesMut::new();
        if self.rng.once_in(4) {
            // How much a subscription receives between two other requests is that of parts of the log.
            for _ in 0..self.rng.between(1, 4) {
                self.request += 1;
                let topic = self.rng.index(self.topics.len());
                let topic = self.topics[topic].name.clone();
                self.publish(&topic, &mut bytes);
            }
        } else {
            self.request += 1;
            self.request_of(peer, now, &mut bytes);
        }
        Input::Send { peer, bytes }
    }

    fn request_of(&mut self, peer: usize, now: u64, out: &mut BytesMut) {
        let request = self.request;
        let number = self.number(peer);
        let held = self.subscriptions[peer].get(&number).copied();
        let other = self.rng.index(self.topics.len());
        let (near, other_end) = (held.map_or(0, |one| one.next), self.topics[other].end);
        let other_name = self.topics[other].name.clone();
        let offset = near.saturating_sub(self.rng.pick(&[1, 1, 1, 2, 0]));
        let rewind = (version(peer) > Version::One)
            .then(|| held.map_or(0, |one| one.rewind).saturating_sub(u32::from(self.rng.once_in(8))));
        match self.rng.below(24) {
            0..=4 => self.subscribe(peer, now, out),
            5..=8 => {
                ClientFrame::Commit(Commit { request, subscription: number, offset, rewind, quiet: false })
                    .encode(out);
            }
            9 => {
                let delay_micros = self.rng.pick(&[0, 0, SECOND]);
                ClientFrame::Nack(Nack { request, subscription: number, offset, delay_micros }).encode(out);
            }
            10 => {
                let (target, to) = (SeekTarget::Subscription(number), self.start(near, now));
                ClientFrame::Seek(Seek { request, target, to }).encode(out);
            }
            11 => {
                let Some(durable) = self.durable() else { return };
                let target = SeekTarget::Durable { topic: durable.topic.as_bytes(), name: &durable.name };
                let to = self.start(other_end, now);
                ClientFrame::Seek(Seek { request, target, to }).encode(out);
            }
            12 => {
                ClientFrame::Unsubscribe(Unsubscribe { request, subscription: number }).encode(out);
            }
            13..=17 => self.batch(&other_name, (number, offset, rewind), out),
            18 => {
                let subject = Subject::Topic { topic: other_name.as_bytes() };
                ClientFrame::Describe(Describe { request, subject }).encode(out);
            }
            19 => {
                let Some(durable) = self.durable() else { return };
                let subject = Subject::Durable { topic: durable.topic.as_bytes(), name: &durable.name };
                ClientFrame::Describe(Describe { request, subject }).encode(out);
            }
            20 => {
                let options = self.options();
                ClientFrame::AlterTopic(AlterTopic { request, topic: other_name.as_bytes(), options })
                    .encode(out);
            }
            21 => {
                let options = self.options();
                ClientFrame::CreateTopic(CreateTopic { request, topic: other_name.as_bytes(), options })
                    .encode(out);
            }
            22 if version(peer) > Version::One => {
                let before = self.start(other_end, now);
                ClientFrame::TrimTopic(TrimTopic { request, topic: other_name.as_bytes(), before })
                    .encode(out);
            }
            _ => {
                let Some(durable) = self.durable().filter(|_| self.rng.once_in(4)) else { return };
                let (topic, name) = (durable.topic.as_bytes(), &durable.name[..]);
                ClientFrame::RemoveDurable(RemoveDurable { request, topic, name }).encode(out);
            }
        }
    }

    /// A number under which the connection has a subscription, or may have one.
    fn number(&mut self, peer: usize) -> u32 {
        let held: Vec<_> = self.subscriptions[peer].keys().copied().collect();
        if held.is_empty() || self.rng.once_in(16) { 9 } else { self.rng.pick(&held) }
    }

    fn durable(&mut self) -> Option<DurableName> {
        let at = self.rng.index(self.durables.len());
        self.durables.get(at).cloned()
    }

    fn start(&mut self, near: u64, now: u64) -> Start {
        let offset = near.saturating_sub(self.rng.below(8)).saturating_add(self.rng.below(4));
        let time = now.saturating_sub(self.rng.pick(&[0, MILLI, SECOND, 20 * SECOND]));
        self.rng.pick(&[Start::Earliest, Start::Latest, Start::Offset(offset), Start::Time(time)])
    }

    fn subscribe(&mut self, peer: usize, now: u64, out: &mut BytesMut) {
        let number = u32::try_from(self.rng.below(3)).unwrap_or(0);
        let known = (!self.durables.is_empty()).then(|| self.rng.index(self.durables.len()));
        let known = known.filter(|_| !self.rng.once_in(4));
        let mut topic = self.rng.index(self.topics.len());
        let durable = match known {
            Some(at) => {
                let name = &self.durables[at].topic;
                topic = self.topics.iter().position(|one| one.name == *name).unwrap_or(topic);
                Some(at)
            }
            None if self.rng.once_in(3) => {
                let (topic, name) = (self.topics[topic].name.clone(), format!("n{}", self.durables.len()));
                self.durables.push(DurableName { topic, name, epoch: 0 });
                Some(self.durables.len() - 1)
            }
            None => None,
        };
        let end = self.topics[topic].end;
        let start = self.start(end, now);
        let epochs = durable.map_or(0, |at| self.durables[at].epoch);
        let epoch = self.rng.pick(&[0, 0, epochs, epochs.saturating_sub(1)]);
        let on_conflict = self.rng.pick(&[OnConflict::TakeOver, OnConflict::TakeOver, OnConflict::Reject]);
        let name = durable.map(|at| self.durables[at].name.clone()).unwrap_or_default();
        let window = self.rng.pick(&[0, 1, 1, 3, 64]);
        let has_dead_letter = window > 0 && self.rng.once_in(3);
        let dead = self.rng.index(self.topics.len());
        let dead_letter = if has_dead_letter { self.topics[dead].name.clone() } else { String::new() };
        let subscribe = Subscribe {
            request: self.request,
            subscription: number,
            topic: self.topics[topic].name.as_bytes(),
            start,
            window,
            window_bytes: self.rng.pick(&[0, 0, 64]),
            max_attempts: if has_dead_letter { self.rng.pick(&[1, 2]) } else { 0 },
            dead_letter: dead_letter.as_bytes(),
            durable: durable.map(|_| Durable { name: &name, on_conflict, epoch, inactive_ttl_micros: 0 }),
        };
        ClientFrame::Subscribe(subscribe).encode(out);
        let next = end;
        self.subscriptions[peer].entry(number).or_insert(Subscription { durable, rewind: 0, next });
    }

    /// One or two settings.
    fn options(&mut self) -> TopicOptions {
        let mut options = TopicOptions::new();
        for _ in 0..self.rng.between(0, 2) {
            match self.rng.below(7) {
                0 => options.retention_ttl_micros = Some(self.rng.pick(&[0, SECOND, 60 * SECOND, u64::MAX])),
                1 => options.compaction_window_micros = Some(self.rng.pick(&[0, SECOND, 600 * SECOND])),
                2 => {
                    options.compaction =
                        Some(self.rng.pick(&[CompactionMode::First, CompactionMode::Latest]));
                }
                3 => options.max_messages = Some(self.rng.pick(&[2, 20, u64::MAX])),
                4 => options.max_bytes = Some(self.rng.pick(&[200, u64::MAX])),
                5 => options.overflow = Some(self.rng.pick(&[Overflow::DropOldest, Overflow::Reject])),
                _ => options.tombstone_ttl_micros = Some(self.rng.pick(&[MILLI, SECOND, 600 * SECOND])),
            }
        }
        options
    }
}

/// The version that a connection speaks.
pub(super) const fn version(peer: usize) -> Version {
    if peer.is_multiple_of(2) { Version::Two } else { Version::One }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reconnect(peer) => write!(f, "{peer} reconnects"),
            Self::Time(now) => write!(f, "it is {now}"),
            Self::Send { peer, bytes } => {
                let mut decoder = ClientDecoder::speaking(version(*peer), &Limits::default());
                let (mut rest, mut list) = (&bytes[..], f.debug_list());
                while let Ok(Some((frame, len))) = decoder.decode(rest) {
                    list.entry(&(peer, &frame));
                    rest = &rest[len..];
                }
                list.finish()
            }
        }
    }
}

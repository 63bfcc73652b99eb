//! The checker compares the broker's actions, step by step, with the model.
//!
//! It reads the bytes of every connection at the point where the broker receives and produces them. So it knows which
//! requests each step applied, their answers and the deliveries, in the order in which all of it took effect. The rules
//! of the broker are the [model's](crate::model); the checker's own are about clients ([`apps`]).

mod apps;
mod replies;
mod reveal;
mod step;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BytesMut};
use zaichik_engine::BrokerConfig;
use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Version};

pub(crate) use self::apps::{Outcome, Sent, hash, numbered};
pub(crate) use self::step::Step;
pub(crate) use crate::broken::{Broken, Verdict};
use crate::model::topic::Topic;
use crate::model::{Model, decode};
use crate::sim::SECOND;

/// The checker's knowledge about the broker, its connections and the applications.
#[derive(Debug)]
pub(crate) struct Checker {
    /// The instance of the broker that is checked; data that clients still have from an earlier one is not.
    pub(crate) instance: u128,
    model: Model,
    limits: Limits,
    taps: BTreeMap<u64, Tap>,
    pub(crate) apps: apps::Apps,
    /// Durable subscriptions that existed, by topic and name.
    known: BTreeSet<(u32, u32)>,
    /// Durable subscriptions that were moved, or that began again after they were forgotten.
    replayed: BTreeSet<(u32, u32)>,
    /// When a producer's request was last refused with a retryable error.
    pub(crate) refused_at: u64,
    pub(crate) requests: u64,
    pub(crate) deliveries: u64,
    /// Of each topic, the offset after the last one that an application knows of.
    told: BTreeMap<String, u64>,
}

/// What the checker knew when a commit was made: what a broker is that is restored from it.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    model: Model,
    known: BTreeSet<(u32, u32)>,
    replayed: BTreeSet<(u32, u32)>,
}

/// The broker's end of a connection.
#[derive(Debug)]
struct Tap {
    decoder: ClientDecoder,
    version: Version,
    waiting: BytesMut,
    is_open: bool,
    is_over: bool,
    /// Refused publishes without acknowledgement that were not reported.
    refused_silently: i64,
}

impl Checker {
    pub(crate) fn new(config: &BrokerConfig, instance: u128) -> Self {
        Self {
            instance,
            model: Model::new(decode::settings(&config.topic_defaults), decode::bounds(config)),
            limits: config.wire,
            taps: BTreeMap::new(),
            apps: apps::Apps::default(),
            known: BTreeSet::new(),
            replayed: BTreeSet::new(),
            refused_at: 0,
            requests: 0,
            deliveries: 0,
            told: BTreeMap::new(),
        }
    }

    /// Another broker replaces the old one, without its state.
    pub(crate) fn restart(&mut self, config: &BrokerConfig, instance: u128) {
        self.apps.restart();
        let apps = std::mem::take(&mut self.apps);
        let (refused_at, requests, deliveries) = (self.refused_at, self.requests, self.deliveries);
        *self = Self { apps, refused_at, requests, deliveries, ..Self::new(config, instance) };
    }

    /// The broker has a store.
    pub(crate) fn stores(&mut self) {
        self.model.is_storing = true;
    }

    /// The store has no space, or has some again.
    pub(crate) fn store_full(&mut self, now: u64, is_full: bool) {
        self.model.tick(now);
        self.model.is_full = is_full;
    }

    /// What a broker is that is restored from a commit that is made now.
    pub(crate) fn committed(&self) -> Committed {
        Committed { model: self.model.clone(), known: self.known.clone(), replayed: self.replayed.clone() }
    }

    /// The broker ended without a word, and is restored from what it was when its last commit was made (rules B1, B6):
    /// nothing that an application knows is lost.
    pub(crate) fn recovered(&mut self, committed: Committed, now: u64) -> Verdict {
        let Committed { model, known, replayed } = committed;
        (self.model, self.known, self.replayed) = (model, known, replayed);
        self.taps.clear();
        self.model.recover(now);
        let model = &self.model;
        self.apps.recovered(|topic| model.topic(topic).map_or(0, Topic::end))?;
        for (topic, told) in &self.told {
            let end = self.end_of(topic);
            if end < *told {
                let text = format!("{topic} ends at {end}, and a client received what is before {told}");
                return Broken::because("B6", text);
            }
        }
        Ok(())
    }

    /// The machine ended, and with it the last commits: another instance is restored from what was left (rule B7). Only what
    /// was published as durable is still there.
    pub(crate) fn lost(&mut self, committed: Committed, now: u64, instance: u128) -> Verdict {
        let Committed { model, known, replayed } = committed;
        (self.model, self.known, self.replayed) = (model, known, replayed);
        self.taps.clear();
        self.told.clear();
        self.model.recover(now);
        self.model.become_another();
        self.instance = instance;
        let model = &self.model;
        self.apps.lost(|topic| model.topic(topic).map_or(0, Topic::end))
    }

    /// An application knows of the offsets below this one.
    pub(crate) fn tells(&mut self, topic: &str, to: u64) {
        let told = self.told.entry(topic.to_owned()).or_default();
        *told = to.max(*told);
    }

    pub(crate) fn accepted(&mut self, link: u64) {
        let decoder = ClientDecoder::handshake(&self.limits);
        let waiting = BytesMut::new();
        let version = Version::One;
        let tap = Tap { decoder, version, waiting, is_open: false, is_over: false, refused_silently: 0 };
        self.taps.insert(link, tap);
    }

    /// The broker's end of a connection received bytes.
    pub(crate) fn received(&mut self, link: u64, bytes: &[u8]) {
        if let Some(tap) = self.taps.get_mut(&link) {
            tap.waiting.extend_from_slice(bytes);
        }
    }

    /// The session took `taken` of them without the broker: the handshake.
    pub(crate) fn handshake_read(&mut self, link: u64, taken: usize) {
        let limits = self.limits;
        if let Some(tap) = self.taps.get_mut(&link).filter(|tap| !tap.is_open && taken > 0) {
            let hello = tap.decoder.decode(&tap.waiting);
            if let Ok(Some((ClientFrame::Hello(hello), len))) = hello
                && len == taken
                && let Some(version) = Version::negotiate(hello.version)
            {
                (tap.is_open, tap.version) = (true, version);
                tap.decoder.open(version, &limits);
                if version > Version::One {
                    self.model.newer.insert(link);
                }
            }
            tap.waiting.advance(taken);
        }
    }

    /// The broker was passed a time.
    pub(crate) fn tick(&mut self, now: u64) {
        self.model.tick(now);
    }

    /// It was reported to the broker that it did not run for a time.
    pub(crate) fn resumed(&mut self, pause: u64) {
        self.model.resumed(pause);
    }

    /// The broker ran its housekeeping.
    ///
    /// `left` is what it may have been unable to copy to a dead-letter topic, as in [`Step`].
    pub(crate) fn housekept(&mut self, now: u64, left: &[(String, String, u64)]) {
        self.model.tick(now);
        self.left(left);
        self.model.dead_letter_room = None;
        self.model.housekeep();
        self.model.left_at_end.clear();
    }

    /// Bytes of live records: the broker must charge at least as much memory.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.model.live_bytes()
    }

    /// The records that the subscriptions of a connection have not received or not committed.
    pub(crate) fn behind(&self, link: u64) -> Vec<String> {
        let mut model = self.model.clone();
        let mut behind = Vec::new();
        for index in 0..model.subscriptions.len() {
            let one = &model.subscriptions[index];
            let Some((_, number)) = one.holder.filter(|(holder, _)| *holder == link) else { continue };
            let uncommitted = one.uncommitted.len();
            let due = model.due(index).len();
            if uncommitted + due > 0 {
                behind
                    .push(format!("subscription {number}: {due} events are due, {uncommitted} uncommitted"));
            }
        }
        behind.extend(model.unfinished_of(link));
        behind
    }

    /// Whether a durable subscription may be detached for longer than a day.
    pub(crate) fn keeps_over_a_day(&self) -> bool {
        let durables = self.model.subscriptions.iter().filter(|one| one.name.is_some());
        let shared = self.model.groups.iter().map(|one| one.terms.inactive_ttl);
        durables.map(|one| one.terms.inactive_ttl).chain(shared).any(|ttl| ttl > 24 * 3_600 * SECOND)
    }

    /// Whether a durable subscription may redeliver committed records.
    pub(crate) fn is_replayed(&self, topic: &str, name: &str) -> bool {
        self.model.names.find(topic, name).is_some_and(|found| self.replayed.contains(&found))
    }

    pub(crate) fn topic_names(&self) -> Vec<String> {
        self.model.topics.keys().map(|id| self.model.names.topic(*id)).collect()
    }

    /// The end of a topic; 0 if it does not exist.
    pub(crate) fn end_of(&self, topic: &str) -> u64 {
        let names = &self.model.names;
        names.find_topic(topic).and_then(|id| self.model.topic(id)).map_or(0, Topic::end)
    }

    /// Rules I1, I3: a message that an application received equals the record in the log.
    pub(crate) fn check_received(
        &mut self,
        topic: &str,
        offset: u64,
        body: &[u8],
        timestamp: u64,
    ) -> Verdict {
        self.tells(topic, offset + 1);
        let log = self.model.names.find_topic(topic).and_then(|id| self.model.topic(id));
        let Some((entry, _)) = log.and_then(|log| log.entry(offset, self.model.now)) else {
            return Broken::because("I3", format!("{topic} has no offset {offset}, which a client received"));
        };
        if entry.record.body != body || entry.timestamp != timestamp {
            return Broken::because(
                "I1",
                format!("{topic}: a client received something else at offset {offset}"),
            );
        }
        Ok(())
    }

    /// Whether a client's subscription may skip offsets silently.
    pub(crate) fn may_skip(&self, topic: &str, durable: Option<&str>, from: u64, to: u64) -> bool {
        let names = &self.model.names;
        let Some((id, log)) = names.find_topic(topic).and_then(|id| Some((id, self.model.topic(id)?))) else {
            return false;
        };
        let name = durable.and_then(|name| names.find(topic, name)).map(|(_, name)| name);
        let is_silent = |offset| {
            let is_dead_letter = self.model.dead_letters.contains(&(id, offset, name));
            is_dead_letter || log.may_be_silent(offset, self.model.now)
        };
        to.saturating_sub(from) < 1_000_000 && (from..to).all(is_silent)
    }
}

//! The checker: what the broker did, step by step, held against what the rules allow.
//!
//! It sees the bytes of every connection where the broker takes and makes them, and so knows which requests each step
//! applied, what was answered, and what was delivered, in the one order in which all of it took effect. It shares no code
//! with the engine.

mod apps;
mod attach;
mod log;
mod producers;
mod publish;
mod replies;
mod step;
mod sub;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::{Buf, BytesMut};
use zaichik_engine::BrokerConfig;
use zaichik_proto::{ClientDecoder, ClientFrame, Limits, RecordRef};

pub(crate) use self::apps::{Fate, Sent};
pub(crate) use self::log::hash;
use self::log::{Settings, Topic};
use self::producers::Producers;
use self::sub::Sub;

/// A rule that does not hold.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The rule's letter and number.
    pub rule: &'static str,
    /// What was seen.
    pub text: String,
}

impl Broken {
    pub(crate) fn because<T>(rule: &'static str, text: String) -> Result<T, Self> {
        Err(Self { rule, text })
    }

    fn at(mut self, place: impl fmt::Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.rule, self.text)
    }
}

pub(crate) type Verdict = Result<(), Broken>;

/// One exchange of a connection with the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) link: u64,
    /// Bytes of requests that it took; `None` if the connection ended in it.
    pub(crate) taken: Option<usize>,
    pub(crate) control: &'a [u8],
    pub(crate) stream: &'a [u8],
    /// What the broker was told as the time.
    pub(crate) told: u64,
}

/// Everything that is known.
#[derive(Debug)]
pub(crate) struct Checker {
    /// The broker that is followed; what clients still have of an earlier one is not looked at.
    pub(crate) instance: u128,
    limits: Limits,
    defaults: Settings,
    first_offset: u64,
    inactive_ttl: u64,
    topics: BTreeMap<Vec<u8>, Topic>,
    durables: BTreeMap<(Vec<u8>, String), Durable>,
    /// Those that began a second time, because they had been forgotten or somebody had moved them.
    replayed: BTreeSet<(Vec<u8>, String)>,
    /// Subscriptions that are not durable.
    own: BTreeMap<u64, Sub>,
    next_own: u64,
    taps: BTreeMap<u64, Tap>,
    producers: Producers,
    pub(crate) apps: apps::Apps,
    /// The latest time that the broker was told.
    pub(crate) now: u64,
    /// Records that were left out because a dead-letter topic has them: topic, offset, durable name.
    left_out: BTreeSet<(Vec<u8>, u64, String)>,
    /// Records that failed too often and were delivered again: the same, and when they failed.
    stayed: BTreeSet<(Vec<u8>, u64, String, u64)>,
    /// When a producer's request was last refused for the moment.
    pub(crate) refused_at: u64,
    pub(crate) requests: u64,
    pub(crate) deliveries: u64,
}

/// A durable subscription, attached or not.
#[derive(Debug)]
struct Durable {
    sub: Sub,
    holder: Option<(u64, u32)>,
    /// The epoch with which its holder came; those since are the holder's own.
    held_since: u32,
    inactive: u64,
    detached_at: u64,
}

/// The broker's end of a connection.
#[derive(Debug)]
struct Tap {
    decoder: ClientDecoder,
    waiting: BytesMut,
    is_open: bool,
    is_over: bool,
    subs: BTreeMap<u32, Attached>,
    fenced: BTreeMap<u32, u32>,
    /// The latest time that the session was told.
    now: u64,
}

/// What a number of a connection stands for.
#[derive(Debug)]
enum Attached {
    Own(u64),
    Durable(Vec<u8>, String),
}

impl Checker {
    pub(crate) fn new(config: &BrokerConfig, instance: u128) -> Self {
        let defaults = &config.topic_defaults;
        let defaults = Settings {
            ttl: defaults.retention_ttl_micros,
            window: defaults.compaction_window_micros,
            is_latest: false,
            max_messages: defaults.max_messages,
            max_bytes: defaults.max_bytes,
            rejects: false,
            max_keys: defaults.max_keys,
            tombstone_ttl: defaults.tombstone_ttl_micros,
        };
        Self {
            limits: config.wire,
            defaults,
            first_offset: config.first_offset,
            inactive_ttl: zaichik_proto::micros(config.inactive_ttl),
            topics: BTreeMap::new(),
            durables: BTreeMap::new(),
            replayed: BTreeSet::new(),
            instance,
            own: BTreeMap::new(),
            next_own: 0,
            taps: BTreeMap::new(),
            producers: Producers::new(zaichik_proto::micros(config.producer_ttl)),
            apps: apps::Apps::default(),
            now: 0,
            left_out: BTreeSet::new(),
            stayed: BTreeSet::new(),
            refused_at: 0,
            requests: 0,
            deliveries: 0,
        }
    }

    /// The broker is another one: nothing of the old one holds.
    /// Another broker is there, of which nothing is known.
    pub(crate) fn restart(&mut self, instance: u128) {
        self.instance = instance;
        self.topics.clear();
        self.durables.clear();
        self.replayed.clear();
        self.own.clear();
        self.taps.clear();
        self.left_out.clear();
        self.stayed.clear();
        self.producers.clear();
        self.apps.restart();
        self.now = 0;
    }

    pub(crate) fn accepted(&mut self, link: u64) {
        let tap = Tap {
            decoder: ClientDecoder::handshake(&self.limits),
            waiting: BytesMut::new(),
            is_open: false,
            is_over: false,
            subs: BTreeMap::new(),
            fenced: BTreeMap::new(),
            now: 0,
        };
        self.taps.insert(link, tap);
    }

    /// The broker's end was given bytes at `told`.
    pub(crate) fn received(&mut self, link: u64, bytes: &[u8]) {
        if let Some(tap) = self.taps.get_mut(&link) {
            tap.waiting.extend_from_slice(bytes);
        }
    }

    /// The session took `taken` of them by itself: the handshake.
    pub(crate) fn shook_hands(&mut self, link: u64, taken: usize) {
        let limits = self.limits;
        if let Some(tap) = self.taps.get_mut(&link).filter(|tap| !tap.is_open && taken > 0) {
            let hello = tap.decoder.decode(&tap.waiting);
            if matches!(hello, Ok(Some((ClientFrame::Hello(_), len))) if len == taken) {
                tap.is_open = true;
                tap.decoder.open(&limits);
            }
            tap.waiting.advance(taken);
        }
    }

    /// A session, not the broker, was told the time.
    pub(crate) fn session_told(&mut self, link: u64, told: u64) {
        if let Some(tap) = self.taps.get_mut(&link) {
            tap.now = tap.now.max(told);
        }
    }

    /// The broker was told the time.
    pub(crate) fn broker_told(&mut self, told: u64) {
        self.now = self.now.max(told);
    }

    /// What the checker has counted of records, at least that much memory must be charged: bytes surely retained.
    pub(crate) fn retained_bytes(&self) -> u64 {
        let of = |topic: &Topic| -> u64 {
            let settings = topic.settings();
            if settings.ttl == 0 || settings.is_latest || !topic.has_all_bytes() {
                return 0;
            }
            let live = topic.records.iter().filter(|(offset, _)| topic.is_surely_live(**offset, self.now));
            // With `reject` the front may have made room.
            let live = live.filter(|_| !settings.rejects);
            live.map(|(_, rec)| rec.len).sum()
        };
        self.topics.values().map(of).sum()
    }

    /// With nothing wrong any more: attached subscriptions that have something to get and do not get it.
    pub(crate) fn behind(&self, link: u64) -> Vec<String> {
        let Some(tap) = self.taps.get(&link) else {
            return Vec::new();
        };
        let subs = tap.subs.iter().filter_map(|(number, attached)| {
            let sub = self.sub(attached)?;
            let topic = self.topics.get(&sub.topic)?;
            let next = sub.next?;
            // Silence at the end may be records that newer ones superseded.
            let is_behind = (next..topic.end).any(|offset| !sub.may_skip(offset, topic));
            let is_uncommitted = !sub.out.is_empty();
            (is_behind || is_uncommitted).then(|| {
                format!(
                    "subscription {number} stands at {next} of {}, {} uncommitted",
                    topic.end,
                    sub.out.len()
                )
            })
        });
        subs.collect()
    }

    /// At the end: whatever was left out is in the dead-letter topic.
    pub(crate) fn check_dead_letters(&self) -> Verdict {
        let Some(dead) = self.topics.get(DEAD) else {
            return match self.left_out.first() {
                None => Ok(()),
                Some(lost) => {
                    Broken::because("A6", format!("{lost:?} was left out, and there is no dead-letter topic"))
                }
            };
        };
        let copies = self.apps.copies();
        if dead.was_altered || !dead.settings().rejects || dead.settings().ttl != u64::MAX {
            return Ok(());
        }
        if let Some(stayed) = self.stayed.iter().find(|stayed| self.apps.was_copied(stayed)) {
            return Broken::because(
                "A6",
                format!("{stayed:?} was delivered again, and the dead-letter topic has it too"),
            );
        }
        match self.left_out.iter().find(|lost| !copies.contains_key(lost)) {
            Some(lost) => Broken::because("A6", format!("{lost:?} was left out, and no copy of it is there")),
            None => Ok(()),
        }
    }

    /// Whether somebody asked for a durable subscription to be kept longer than a day.
    pub(crate) fn keeps_for_ages(&self) -> bool {
        self.durables.values().any(|durable| durable.inactive > 24 * 3_600 * crate::sim::SECOND)
    }

    /// Whether what a durable subscription delivered may come again, though it was committed.
    pub(crate) fn is_replayed(&self, topic: &str, name: &str) -> bool {
        self.replayed.contains(&(topic.as_bytes().to_vec(), name.to_owned()))
    }

    pub(crate) fn topic_names(&self) -> Vec<Vec<u8>> {
        self.topics.keys().cloned().collect()
    }

    fn sub(&self, attached: &Attached) -> Option<&Sub> {
        match attached {
            Attached::Own(key) => self.own.get(key),
            Attached::Durable(topic, name) => {
                self.durables.get(&(topic.clone(), name.clone())).map(|durable| &durable.sub)
            }
        }
    }
}

/// The dead-letter topic of honest clients.
const DEAD: &[u8] = b"dead";

/// Marks the bodies of records that applications number.
const MARK: &[u8] = b"ZS";

/// The body of a numbered record, padded to a length.
pub(crate) fn numbered(id: u64, pad: usize) -> Vec<u8> {
    let mut body = MARK.to_vec();
    body.extend(id.to_be_bytes());
    body.resize(body.len() + pad, u8::try_from(id & 0x7f).unwrap_or(0));
    body
}

fn record_id(body: &[u8]) -> Option<u64> {
    let id = body.strip_prefix(MARK)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*id))
}

/// Whether a record says that it is a dead letter.
fn is_copy(record: &RecordRef<'_>) -> bool {
    record.headers().iter().next().is_some_and(|(name, _)| name == "zaichik-topic")
}

impl Checker {
    /// What an application was given is what is in the log there.
    pub(crate) fn given(&self, topic: &str, offset: u64, body: &[u8], at: u64) -> Verdict {
        let Some(rec) = self.topics.get(topic.as_bytes()).and_then(|topic| topic.records.get(&offset)) else {
            return Broken::because(
                "I3",
                format!("{topic} has no offset {offset}, and a client was given it"),
            );
        };
        if rec.body != hash(body) || rec.at != at {
            return Broken::because(
                "I1",
                format!("{topic}: a client was given something else at offset {offset}"),
            );
        }
        Ok(())
    }

    /// Whether a client's subscription may go from one offset to another without a word.
    pub(crate) fn may_pass(&self, topic: &str, durable: Option<&str>, from: u64, to: u64) -> bool {
        let name = durable.unwrap_or_default();
        let Some(log) = self.topics.get(topic.as_bytes()) else {
            return false;
        };
        to.saturating_sub(from) < 1_000_000
            && (from..to).all(|offset| {
                log.may_be_silent(offset)
                    || self.left_out.contains(&(topic.as_bytes().to_vec(), offset, name.to_owned()))
            })
    }
}

//! What each topic holds, as the answers to publishes say: every record ever accepted, for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use zaichik_proto::{CompactionMode, Overflow, RecordRef, TopicOptions};

use crate::sim::random::Trail;

/// A topic's settings as far as the checker needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) ttl: u64,
    pub(crate) window: u64,
    pub(crate) is_latest: bool,
    pub(crate) max_messages: u64,
    pub(crate) max_bytes: u64,
    pub(crate) rejects: bool,
    pub(crate) max_keys: u64,
    pub(crate) tombstone_ttl: u64,
}

/// One record that was accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rec {
    pub(crate) content: u64,
    pub(crate) body: u64,
    pub(crate) key: Option<u64>,
    pub(crate) len: u64,
    pub(crate) at: u64,
    pub(crate) own_ttl: u64,
    pub(crate) is_tombstone: bool,
    /// Bytes of the topic before it, if all are known.
    pub(crate) base: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Topic {
    pub(crate) settings: Option<Settings>,
    pub(crate) is_explicit: bool,
    /// Settings changed while there were records: what is live is not known exactly any more.
    pub(crate) was_altered: bool,
    pub(crate) records: BTreeMap<u64, Rec>,
    pub(crate) end: u64,
    /// Records that may have been appended behind the end: nobody was told.
    pub(crate) loose: u64,
    /// Contents that such a record can have.
    pub(crate) candidates: BTreeSet<u64>,
    /// Bytes up to the end, if all are known.
    bytes: Option<u64>,
    /// By key: the offset and time of its last record that counted.
    pub(crate) keys: HashMap<u64, (u64, u64)>,
    /// Keys that a record may have taken of which nobody was told.
    pub(crate) loose_keys: BTreeSet<u64>,
    last_at: u64,
}

impl Settings {
    pub(crate) fn with(mut self, options: &TopicOptions) -> Self {
        self.ttl = options.retention_ttl_micros.unwrap_or(self.ttl);
        self.window = options.compaction_window_micros.unwrap_or(self.window);
        self.is_latest = options.compaction.map_or(self.is_latest, |mode| mode == CompactionMode::Latest);
        self.max_messages = options.max_messages.unwrap_or(self.max_messages);
        self.max_bytes = options.max_bytes.unwrap_or(self.max_bytes);
        self.rejects = options.overflow.map_or(self.rejects, |overflow| overflow == Overflow::Reject);
        self.max_keys = options.max_keys.unwrap_or(self.max_keys);
        self.tombstone_ttl = options.tombstone_ttl_micros.unwrap_or(self.tombstone_ttl);
        self
    }
}

impl Topic {
    pub(crate) fn new(settings: Settings, first: u64) -> Self {
        Self { settings: Some(settings), end: first, bytes: Some(0), ..Self::default() }
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.expect("a topic has settings")
    }

    /// Appends a record that was acknowledged, or that a delivery showed.
    pub(crate) fn append(&mut self, record: &RecordRef<'_>, now: u64) -> u64 {
        let at = self.last_at.max(now);
        let offset = self.end;
        self.insert(offset, record, at);
        offset
    }

    /// A record turned up of which nobody was told.
    pub(crate) fn insert(&mut self, offset: u64, record: &RecordRef<'_>, at: u64) {
        let len = record.as_bytes().len() as u64;
        let rec = Rec {
            content: content(record),
            body: hash(record.body()),
            key: record.key().map(hash),
            len,
            at,
            own_ttl: record.ttl_micros().unwrap_or(u64::MAX),
            is_tombstone: record.is_tombstone(),
            base: self.bytes.unwrap_or(0),
        };
        if offset >= self.end {
            if offset > self.end {
                self.bytes = None;
            }
            self.bytes = self.bytes.map(|bytes| bytes + len);
            self.end = offset + 1;
        }
        self.last_at = self.last_at.max(at);
        self.records.insert(offset, rec);
    }

    /// The topic ends at `end`, somebody was told: what is between was appended without an answer.
    pub(crate) fn end_is(&mut self, end: u64) -> bool {
        if end < self.end || end - self.end > self.loose {
            return false;
        }
        if end > self.end {
            self.bytes = None;
        }
        self.end = end;
        self.loose = 0;
        true
    }

    /// Whether a subscription that existed before must still get the record.
    pub(crate) fn is_surely_live(&self, offset: u64, now: u64) -> bool {
        let Some(rec) = self.records.get(&offset).filter(|_| !self.was_altered) else {
            return false;
        };
        let settings = self.settings();
        if self.is_expired(rec, now) {
            return false;
        }
        if settings.is_latest {
            let is_superseded =
                rec.key.is_some() && self.keys.get(&rec.key.unwrap_or(0)).is_none_or(|last| last.0 != offset);
            let is_buried = rec.is_tombstone && rec.at.saturating_add(settings.tombstone_ttl) <= now;
            if is_superseded || is_buried || !self.loose_keys.is_empty() {
                return false;
            }
        }
        if settings.rejects {
            return true;
        }
        let end = self.end + self.loose;
        let is_counted = end - offset <= settings.max_messages;
        let after = self.bytes.map(|bytes| bytes - rec.base);
        let is_weighed = settings.max_bytes == u64::MAX
            || (self.loose == 0 && after.is_some_and(|bytes| bytes <= settings.max_bytes));
        is_counted && is_weighed
    }

    /// Whether nobody may get the record any more.
    pub(crate) fn is_expired(&self, rec: &Rec, now: u64) -> bool {
        let ttl = match self.settings().ttl {
            0 => u64::MAX,
            ttl => ttl,
        };
        // What a change of settings means is left to the rules' own tests.
        let ttl = if self.was_altered { u64::MAX } else { ttl };
        let ttl = ttl.min(rec.own_ttl);
        ttl < u64::MAX && rec.at.saturating_add(ttl) <= now
    }

    /// Whether a newer record of its key came, so that it may be left out silently.
    pub(crate) fn may_be_silent(&self, offset: u64) -> bool {
        if !self.settings().is_latest {
            return false;
        }
        match self.records.get(&offset) {
            None => true,
            Some(rec) => {
                let key = rec.key.unwrap_or(0);
                let is_superseded =
                    self.keys.get(&key).is_some_and(|last| last.0 > offset) || self.loose_keys.contains(&key);
                rec.key.is_some() && (is_superseded || rec.is_tombstone)
            }
        }
    }

    pub(crate) fn has_all_bytes(&self) -> bool {
        self.bytes.is_some() && self.loose == 0
    }
}

/// A hash of everything in a record but its timestamp.
pub(crate) fn content(record: &RecordRef<'_>) -> u64 {
    let bytes = record.as_bytes();
    let mut trail = Trail::new();
    trail.bytes(&bytes[..8]);
    trail.bytes(&bytes[16..]);
    trail.value()
}

pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut trail = Trail::new();
    trail.bytes(bytes);
    trail.value()
}

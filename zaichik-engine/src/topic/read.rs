//! Reading a topic: what a reader receives, where it starts, and where a seek leads (rules R3, D6).

use bytes::Bytes;
use zaichik_proto::{GapReason, Start, Timestamp};

use super::amount::Amount;
use super::{Position, Pull, Topic, Want};

/// What a topic holds at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The first offset that may be live.
    pub(crate) start: u64,
    /// Live records from there on.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Remembered keys.
    pub(crate) keys: u64,
}

/// A record that was looked for.
#[derive(Debug)]
pub(crate) enum Lookup {
    Found(Bytes),
    /// It is no longer live.
    Gone,
    /// It is only in the store.
    Cold,
}

impl Topic {
    /// The record at an offset, while it is live.
    pub(crate) fn record(&mut self, now: Timestamp, offset: u64) -> Lookup {
        if !self.log.is_live(offset, now.as_micros()) {
            return Lookup::Gone;
        }
        let want = Want { records: 1, bytes: 0, single: usize::MAX };
        match self.pull(now, Position::at(offset), want) {
            Pull::Records { data, .. } => Lookup::Found(data),
            Pull::Cold { .. } => Lookup::Cold,
            Pull::Gap { .. } | Pull::Skip { .. } | Pull::NoRoom | Pull::End => Lookup::Gone,
        }
    }

    /// The bytes of the record at an offset, if it is in memory.
    pub(crate) fn len_of(&self, offset: u64) -> Option<u32> {
        self.log.len_of(offset)
    }

    /// What a subscription at `from` receives next.
    pub(crate) fn pull(&mut self, now: Timestamp, from: Position, want: Want) -> Pull {
        self.log.expire(now.as_micros(), self.settings.retention_ttl_micros);
        // How far a Gap reaches is known when the first record is.
        if from.offset < self.log.first().offset
            && let Some((from, to)) = self.owed_front(now)
        {
            return Pull::Cold { from, to };
        }
        self.log.pull(from, want, now.as_micros())
    }

    /// Why the offsets from `from` on are missing (rule R9).
    pub(crate) const fn gap_reason(&self, from: u64) -> GapReason {
        if from < self.limit_end { GapReason::Limit } else { GapReason::Expired }
    }

    /// Where a new subscription begins (rule R3).
    pub(crate) fn start(&mut self, now: Timestamp, start: Start) -> u64 {
        let at = now.as_micros();
        self.log.expire(at, self.settings.retention_ttl_micros);
        let end = self.log.end();
        let asked = match start {
            Start::Earliest => 0,
            Start::Latest => end,
            Start::Offset(offset) => offset,
            Start::Time(time) => self.log.first_since(time),
        };
        if asked >= end || self.settings.is_live_only() {
            return asked.max(end);
        }
        self.log.first_live(Position::at(asked.max(self.hidden_below)), at).offset.min(end)
    }

    /// Where a subscription with this cursor continues after a seek (rule D6): as if it started there. A live-only
    /// topic has only the records that it keeps for the subscription, from its cursor on.
    pub(crate) fn seek(&mut self, now: Timestamp, to: Start, cursor: u64) -> u64 {
        if !self.settings.is_live_only() {
            return self.start(now, to);
        }
        let end = self.log.end();
        let asked = match to {
            Start::Earliest => cursor,
            Start::Latest => end,
            Start::Offset(offset) => offset.max(cursor),
            Start::Time(time) => self.log.first_since(time).max(cursor),
        };
        if asked >= end {
            return asked;
        }
        self.log.first_live(Position::at(asked), now.as_micros()).offset.min(end)
    }

    /// The topic's current contents.
    pub(crate) fn contents(&mut self, now: Timestamp) -> Contents {
        self.age(now.as_micros());
        let Amount { records: messages, bytes } = self.log.amount_alive();
        let keys = self.keys.as_ref().map_or(0, |keys| keys.remembered(now.as_micros()));
        let newest = self.newest.as_ref().map_or(0, |newest| newest.live());
        let start = if messages == 0 { self.end() } else { self.log.first().offset };
        Contents { start, messages, bytes, keys: keys.saturating_add(newest) }
    }
}

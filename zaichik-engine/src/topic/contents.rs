//! What a topic has at the death, for whoever asks (docs/protocol.md §7.17).

use super::Topic;
use zaichik_proto::Timestamp;

/// What a topic has at the death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The first offset that may be live.
    pub(crate) start: u64,
    /// Records from there on, dead ones not counted.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Keys that are remembered.
    pub(crate) keys: u64,
}

impl Topic {
    /// What is there now.
    pub(crate) fn contents(&mut self, now: Timestamp) -> Contents {
        self.age(now.as_micros());
        let (messages, bytes) = self.log.alive_amount();
        let keys = self.keys.as_ref().map_or(0, |keys| keys.remembered(now.as_micros()));
        let newest = self.newest.as_ref().map_or(0, |newest| newest.live());
        let start = if messages == 0 { self.end() } else { self.log.first().offset };
        Contents { start, messages, bytes, keys: keys.saturating_add(newest) }
    }
}

//! Which records may leave memory, which are being read back, and who waits for them (rule B8).

use std::collections::{BTreeSet, VecDeque};

use crate::id::{SessionId, TopicId};
use crate::store::Fetch;

/// Fetches that the store has not finished. Readers of further chunks wait until one is.
pub(super) const MAX_FETCHES: usize = 64;

/// Which chunks may be made cold, and which are being read back.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// Chunks in the order in which they became durable or were read back: their topics, and their first offsets. One takes
    /// 16 bytes.
    pub(super) evictable: VecDeque<(TopicId, u64)>,
    /// Fetches that the store has not taken.
    pub(super) asked: VecDeque<Fetch>,
    /// Chunks that are being read back, also those that were asked for.
    pub(super) open: BTreeSet<(u32, u64)>,
    /// Sessions whose next request waits for a chunk.
    pub(super) sessions: BTreeSet<SessionId>,
    /// Topics with readers that found no place in `open`.
    pub(super) turned_away: BTreeSet<TopicId>,
    /// Whether a chunk was ever cold.
    pub(super) has_evicted: bool,
}

impl Fetching {
    /// Some chunks are cold from the beginning.
    pub(super) const fn note_evicted(&mut self, has_evicted: bool) {
        self.has_evicted |= has_evicted;
    }
}

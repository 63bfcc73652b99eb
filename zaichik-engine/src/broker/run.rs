//! Runs of publishes, whose consequences are handled once for the whole run (docs/adr/0005-runs-of-publishes.md).

use super::memory::Memory;
use crate::id::TopicId;

/// Memory that a publish may cost beyond its records, in bytes: the tail of the log may double.
pub(super) const APPEND_ROOM: usize = 64 << 10;

/// Maximum bytes of publishes in a run, all of which may be stored before they are charged.
const RUN_BYTES: usize = 64 << 10;

/// Consecutive publishes of one session to one topic that have been appended and not settled.
///
/// Between its first publish and [`take`](Self::take) the topic must not be read. The topic that the session last
/// published to is remembered for longer, because the next publish usually names it again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PublishRun {
    topic: Option<TopicId>,
    /// Records that are not settled.
    records: u64,
    /// Their bytes.
    bytes: usize,
    /// The number of bytes that memory is available for.
    room: usize,
}

impl PublishRun {
    /// The last topic published to.
    pub(crate) const fn topic(&self) -> Option<TopicId> {
        self.topic
    }

    /// The session published to a topic outside this run.
    pub(crate) const fn turn_to(&mut self, topic: Option<TopicId>) {
        self.topic = topic;
    }

    /// Bytes that are stored and not charged yet.
    pub(super) const fn uncharged(&self) -> usize {
        self.bytes
    }

    /// How many more bytes may be appended without being charged; none while every publish is refused.
    #[inline]
    pub(super) fn room(&mut self, memory: &Memory, is_refusing: bool) -> usize {
        if self.records == 0 {
            let room = memory.room().saturating_sub(APPEND_ROOM as u64);
            let room = usize::try_from(room).unwrap_or(RUN_BYTES).min(RUN_BYTES);
            self.room = if is_refusing { 0 } else { room };
        }
        self.room.saturating_sub(self.bytes)
    }

    /// Records were appended to the topic.
    #[inline]
    pub(super) fn extend(&mut self, records: u32, bytes: usize) {
        self.records = self.records.saturating_add(u64::from(records));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Ends the run: the topic, and the records and bytes to settle; `None` if there are none.
    pub(super) fn take(&mut self) -> Option<(TopicId, u64, usize)> {
        let (records, bytes) = (core::mem::take(&mut self.records), core::mem::take(&mut self.bytes));
        let topic = self.topic.filter(|_| records > 0)?;
        Some((topic, records, bytes))
    }
}

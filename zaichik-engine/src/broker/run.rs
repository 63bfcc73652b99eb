//! Runs of publishes: what follows from a publish is done once for all of them (docs/adr/0005-runs-of-publishes.md).
//!
//! This is the short way of a publish. It takes what cannot be refused and has no effect but to append records; everything
//! else goes the long way, [`Publishing::publish`]. A property test compares both.

use zaichik_proto::{AckLevel, PlainPublishes, Publish};

use super::publishing::{APPEND_ROOM, Publishing};
use crate::id::TopicId;
use crate::topic::Appended;

/// Maximum bytes of publishes in a run: as much may be stored without being charged yet.
const RUN_BYTES: usize = 64 << 10;

/// Consecutive publishes of one session to one topic that have been appended and not settled.
///
/// Between its first publish and [`Publishing::settle_run`] nobody may read the topic. The topic that the session published
/// to last is remembered beyond that, because the next publish most often names it again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PublishRun {
    topic: Option<TopicId>,
    /// Records that are not settled.
    records: u64,
    /// Their bytes.
    bytes: usize,
    /// How many bytes there is memory for.
    room: usize,
}

impl PublishRun {
    /// The topic that was published to last.
    pub(crate) const fn topic(&self) -> Option<TopicId> {
        self.topic
    }

    /// The session published to another topic, other than in this run.
    pub(crate) const fn turn_to(&mut self, topic: Option<TopicId>) {
        self.topic = topic;
    }

    /// Bytes that are stored and not charged yet.
    pub(super) const fn uncharged(&self) -> usize {
        self.bytes
    }
}

impl Publishing<'_> {
    /// Appends a publish to the topic of the run if nothing about it is special: the offset of its first record. `room` is
    /// what remembering its answer may cost, in bytes.
    #[inline]
    pub(super) fn extend_run(
        &mut self,
        run: &mut PublishRun,
        publish: &Publish<'_>,
        room: usize,
    ) -> Option<u64> {
        let id = self.topic_of_run(run, publish)?;
        let bytes = run.bytes.saturating_add(publish.records.as_bytes().len());
        if bytes.saturating_add(room) > self.room_of(run) {
            return None;
        }
        let (max_message, retired) = (self.config.wire.max_message, self.memory.retired());
        let first = self.topics[id].append_plain(self.now, publish.records, max_message, retired)?;
        run.records = run.records.saturating_add(u64::from(publish.records.len()));
        run.bytes = bytes;
        self.answer.duplicates.clear();
        Some(first)
    }

    /// Appends the publishes that follow `like` and differ from it in request and record only, as far as nothing about them
    /// is special; `None` if that is none of them.
    #[inline]
    pub(super) fn extend_run_alike(
        &mut self,
        run: &mut PublishRun,
        like: &Publish<'_>,
        alike: &mut PlainPublishes<'_, '_>,
    ) -> Option<Appended> {
        let id = self.topic_of_run(run, like)?;
        let room = self.room_of(run).saturating_sub(run.bytes);
        let (max_message, retired) = (self.config.wire.max_message, self.memory.retired());
        let appended = self.topics[id].append_alike(self.now, alike, room, max_message, retired)?;
        run.records = run.records.saturating_add(u64::from(appended.count));
        run.bytes = run.bytes.saturating_add(appended.bytes);
        Some(appended)
    }

    /// Does what the publishes of a run have left to do, before anybody reads their topic.
    pub(super) fn settle_run(&mut self, run: &mut PublishRun) {
        let (count, bytes) = (core::mem::take(&mut run.records), core::mem::take(&mut run.bytes));
        let Some(id) = run.topic.filter(|_| count > 0) else {
            return;
        };
        self.topics[id].appended(self.now, self.memory.retired());
        self.appended(id, count, bytes);
        self.topics.settle(id, self.memory);
    }

    /// The topic of the run, if a publish names it and may be appended the short way.
    #[inline]
    fn topic_of_run(&self, run: &PublishRun, publish: &Publish<'_>) -> Option<TopicId> {
        let id = run.topic.filter(|id| self.topics.is_named(*id, publish.topic))?;
        (publish.ack != AckLevel::Durable).then_some(id)
    }

    /// How many bytes a run may have; none while the broker is stopping.
    #[inline]
    fn room_of(&self, run: &mut PublishRun) -> usize {
        if run.records == 0 {
            let room = self.memory.room().saturating_sub(APPEND_ROOM as u64);
            let room = usize::try_from(room).unwrap_or(RUN_BYTES).min(RUN_BYTES);
            run.room = if self.is_stopping { 0 } else { room };
        }
        run.room
    }
}

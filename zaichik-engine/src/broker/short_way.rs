//! The short way of a publish: it takes what cannot be refused and has no effect but to append records; everything else goes
//! the long way, [`Publishing::publish`]. A property test compares both (tests/rules/runs.rs).

use zaichik_proto::{AckLevel, PlainPublishes, Publish};

use super::publishing::Publishing;
use super::run::PublishRun;
use crate::id::TopicId;
use crate::topic::AppendedRun;

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
        let bytes = publish.records.as_bytes().len();
        if bytes.saturating_add(room) > run.room(self.memory, self.is_stopping) {
            return None;
        }
        let (max_message, retired) = (self.config.wire.max_message, self.memory.retired());
        let first = self.topics[id].append_plain(self.now, publish.records, max_message, retired)?;
        run.extend(publish.records.len(), bytes);
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
    ) -> Option<AppendedRun> {
        let id = self.topic_of_run(run, like)?;
        let room = run.room(self.memory, self.is_stopping);
        let (max_message, retired) = (self.config.wire.max_message, self.memory.retired());
        let appended = self.topics[id].append_alike(self.now, alike, room, max_message, retired)?;
        run.extend(appended.count, appended.bytes);
        Some(appended)
    }

    /// Does what the publishes of a run have left to do, before their topic is read.
    pub(super) fn settle_run(&mut self, run: &mut PublishRun) {
        let Some((id, count, bytes)) = run.take() else {
            return;
        };
        self.topics[id].appended(self.now, self.memory.retired());
        self.appended(id, count, bytes);
        self.topics.settle(id, self.memory);
    }

    /// The topic of the run, if a publish names it and may be appended the short way.
    #[inline]
    fn topic_of_run(&self, run: &PublishRun, publish: &Publish<'_>) -> Option<TopicId> {
        let id = run.topic().filter(|id| self.topics.is_named(*id, publish.topic))?;
        (publish.ack != AckLevel::Durable).then_some(id)
    }
}

//! The fast path of a publish: for publishes that cannot be refused and only append records. All others take the slow
//! path, [`Publishing::publish`]. A property test compares both (tests/rules/runs.rs).

use zaichik_proto::{AckLevel, PlainPublishes, Publish};

use super::publishing::Publishing;
use super::run::PublishRun;
use crate::id::TopicId;
use crate::topic::AppendedRun;

impl Publishing<'_> {
    /// Appends a plain publish to the topic of the run, and returns the offset of its first record. `room` is the
    /// maximum cost of remembering its answer, in bytes.
    #[inline]
    pub(super) fn extend_run(
        &mut self,
        run: &mut PublishRun,
        publish: &Publish<'_>,
        room: usize,
    ) -> Option<u64> {
        let id = self.topic_of_run(run, publish)?;
        let bytes = publish.records.as_bytes().len();
        if bytes.saturating_add(room) > run.room(self.memory, self.is_refusing()) {
            return None;
        }
        let (max_message, retired) = (self.config.wire.max_message, self.memory.retired());
        let first = self.topics[id].append_plain(self.now, publish.records, max_message, retired)?;
        run.extend(publish.records.len(), bytes);
        self.answer.duplicates.clear();
        Some(first)
    }

    /// Appends the publishes that follow `like` and differ from it only in request and record, up to the first one that
    /// is not plain; `None` if there are none.
    #[inline]
    pub(super) fn extend_run_alike(
        &mut self,
        run: &mut PublishRun,
        like: &Publish<'_>,
        alike: &mut PlainPublishes<'_, '_>,
    ) -> Option<AppendedRun> {
        let id = self.topic_of_run(run, like)?;
        let room = run.room(self.memory, self.is_refusing());
        let (max_message, retired) = (self.config.wire.max_message, self.memory.retired());
        let appended = self.topics[id].append_alike(self.now, alike, room, max_message, retired)?;
        run.extend(appended.count, appended.bytes);
        Some(appended)
    }

    /// Completes the publishes of a run before their topic is read.
    pub(super) fn settle_run(&mut self, run: &mut PublishRun) {
        let Some((id, count, bytes)) = run.take() else {
            return;
        };
        self.topics[id].appended(self.now, self.memory.retired());
        self.appended(id, count, bytes);
        self.topics.settle(id, self.memory);
    }

    /// Whether every publish is refused, so that none may take the fast path.
    #[inline]
    const fn is_refusing(&self) -> bool {
        self.is_stopping || self.topics.is_full
    }

    /// The topic of the run, if a publish names it and may take the fast path.
    #[inline]
    fn topic_of_run(&self, run: &PublishRun, publish: &Publish<'_>) -> Option<TopicId> {
        let id = run.topic().filter(|id| self.topics.is_named(*id, publish.topic))?;
        (publish.ack != AckLevel::Durable || self.is_storing).then_some(id)
    }
}

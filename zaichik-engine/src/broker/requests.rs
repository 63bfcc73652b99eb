//! The calls that sessions make for their requests, one for each kind.

use std::sync::Arc;

use zaichik_proto::{
    Ack, Batch, Commit, Extend, Nack, NackShared, PlainPublishes, Publish, Refusal, Seek, Start, Subject,
    Subscribe, SubscribePattern, SubscribeShared, Subscribed, Timestamp, TopicOptions, TopicStatus,
    Unsubscribe, Unsubscribed, Version,
};

use super::describing::{Describing, Description};
use super::readers::Readers;
use super::topics::topic_name;
use super::{BatchAnswer, Broker, Outcome, PublishRun, Published, Rejection};
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, TopicId};
use crate::topic::AppendedRun;

/// Each call returns the answer or the reason for refusing it.
impl Broker {
    pub(crate) fn create_topic(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: &[u8],
        options: &TopicOptions,
        effects: &mut Effects,
    ) -> Result<TopicStatus, Refusal> {
        let name = topic_name(name)?;
        let status = self.topics.create(now, name, options, &mut self.memory, &mut self.readiness)?;
        let event = NoteEvent::TopicReady(status);
        effects.note(|| Note { session, topic: Some(Arc::from(name.as_str())), event });
        Ok(status)
    }

    pub(crate) fn alter_topic(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: &[u8],
        options: &TopicOptions,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let id = self.topics.known(name)?;
        self.topics.alter(now, id, options, &mut self.memory, &mut self.readiness)?;
        let name = &self.topics[id].name;
        effects.note(|| Note { session, topic: Some(Arc::clone(name)), event: NoteEvent::TopicAltered });
        Ok(())
    }

    /// The answer is the offset of the first record that is left, and how many live ones were removed.
    pub(crate) fn trim_topic(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: &[u8],
        before: Start,
        effects: &mut Effects,
    ) -> Result<(u64, u64), Refusal> {
        let id = self.topics.known(name)?;
        let (start, removed) = self.topics.trim(now, id, before, &mut self.memory, &mut self.readiness);
        let (name, event) = (&self.topics[id].name, NoteEvent::TopicTrimmed { start, removed });
        effects.note(|| Note { session, topic: Some(Arc::clone(name)), event });
        Ok((start, removed))
    }

    /// Accepts all records of a publish in one step, or refuses it without effect. Work that can wait is left to
    /// [`settle_run`](Self::settle_run).
    #[inline]
    pub(crate) fn publish(
        &mut self,
        now: Timestamp,
        session: SessionId,
        run: &mut PublishRun,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) -> Result<Published<'_>, Rejection> {
        self.publishing(now).publish(session, run, publish, effects)
    }

    /// Accepts the publishes that follow `like` and differ from it only in request and record, up to the first one that
    /// is not plain; `None` if there are none.
    #[inline]
    pub(crate) fn publish_alike(
        &mut self,
        now: Timestamp,
        run: &mut PublishRun,
        like: &Publish<'_>,
        alike: &mut PlainPublishes<'_, '_>,
    ) -> Option<AppendedRun> {
        self.publishing(now).extend_run_alike(run, like, alike)
    }

    /// Completes a run of publishes before its topic is read.
    pub(crate) fn settle_run(&mut self, now: Timestamp, run: &mut PublishRun) {
        self.publishing(now).settle_run(run);
    }

    /// Applies all operations of a batch in one step, or refuses it without effect. `recent` is the topic that the
    /// session last published to.
    pub(crate) fn batch(
        &mut self,
        now: Timestamp,
        session: SessionId,
        recent: &mut Option<TopicId>,
        batch: &Batch<'_>,
        effects: &mut Effects,
    ) -> Result<BatchAnswer<'_>, Rejection> {
        self.batching(now).batch(session, recent, batch, effects)
    }

    pub(crate) fn subscribe(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Subscribed, Refusal> {
        self.subscribing(now).subscribe(session, request, effects)
    }

    pub(crate) fn subscribe_shared(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &SubscribeShared<'_>,
        effects: &mut Effects,
    ) -> Result<Subscribed, Refusal> {
        self.subscribing(now).subscribe_shared(session, request, effects)
    }

    /// The answer follows when the topics that exist were examined.
    pub(crate) fn subscribe_pattern(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &SubscribePattern<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.subscribing(now).subscribe_pattern(session, request, effects)
    }

    pub(crate) fn ack(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Ack<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        self.subscribing(now).ack(session, request, effects)
    }

    pub(crate) fn nack_shared(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &NackShared<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        self.subscribing(now).nack_shared(session, request, effects)
    }

    pub(crate) fn extend(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Extend<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        self.subscribing(now).extend(session, request, effects)
    }

    pub(crate) fn unsubscribe(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: Unsubscribe,
        effects: &mut Effects,
    ) -> Result<Unsubscribed, Refusal> {
        self.subscribing(now).unsubscribe(session, request, effects)
    }

    /// The answer is the cursor.
    pub(crate) fn commit(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Commit,
    ) -> Result<u64, Refusal> {
        self.subscribing(now).commit(session, request)
    }

    /// The answer is the rewind number; it depends on the version of the connection.
    pub(crate) fn nack(
        &mut self,
        now: Timestamp,
        session: SessionId,
        version: Version,
        request: Nack,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        self.subscribing(now).nack(session, version, request, effects)
    }

    /// The answer is the rewind number.
    pub(crate) fn seek(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Seek<'_>,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        self.subscribing(now).seek(session, request, effects)
    }

    pub(crate) fn remove_durable(&mut self, now: Timestamp, topic: &[u8], name: &str) -> Result<(), Refusal> {
        self.subscribing(now).remove_durable(topic, name)
    }

    /// Describes a subject into `bytes`, one page at most.
    pub(crate) fn describe<'a>(
        &mut self,
        now: Timestamp,
        subject: &Subject<'_>,
        bytes: &'a mut Vec<u8>,
    ) -> Result<Description<'a>, Refusal> {
        let gauges = self.gauges();
        let Self { topics, subscriptions, memory, readiness, counters, .. } = self;
        let readers = Readers { now, topics, subscriptions, memory, readiness };
        Describing { readers, counters, gauges }.describe(subject, bytes)
    }
}

//! The calls that sessions make: the beginning and end of an exchange, and one call for each kind of request.

use std::sync::Arc;

use zaichik_proto::{
    Batch, ClientFrame, Commit, Nack, PlainPublishes, Publish, Refusal, RefusalCode, Seek, Start, Subject,
    Subscribe, Subscribed, Timestamp, TopicOptions, TopicStatus, Unsubscribe, Unsubscribed, Version,
};

use super::delivery::{Delivered, Delivery};
use super::describing::{Describing, Description};
use super::preparing::Prepared;
use super::readers::{Readers, STEPS_PER_END};
use super::sessions::Ended;
use super::topics::topic_name;
use super::{BatchAnswer, Broker, ExchangeReport, PublishRun, Published, Rejection, bump, wakes};
use crate::effects::{Effects, Note, NoteEvent, Turn};
use crate::error::CloseReason;
use crate::id::{SessionId, TopicId};
use crate::outbound::Outbound;
use crate::session_config::SessionConfig;
use crate::steps::STEPS_PER_EXCHANGE;
use crate::store::Progress;
use crate::topic::AppendedRun;

/// Maximum subscriptions of a session that one exchange examines while the broker stops.
const OWES_PER_CALL: u64 = 1_024;

/// A connection that the broker was asked to accept.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) id: SessionId,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) now: Timestamp,
    /// Why it is refused, if it is.
    pub(crate) refused: Option<CloseReason>,
    /// Whether its output waits for a store.
    pub(crate) holds: bool,
}

/// What the broker wants from a session when an exchange begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeStart {
    /// To close, and why.
    pub(crate) close: Option<CloseReason>,
    /// To stop by then.
    pub(crate) stops_at: Option<Timestamp>,
    /// How far the store is, if there is one.
    pub(crate) stored: Option<Progress>,
    /// Bytes that its buffers may hold until the next exchange.
    pub(crate) allowance: usize,
    /// Whether other sessions need memory, so that it should keep none for later.
    pub(crate) is_scarce: bool,
}

/// Whether a session of a stopping broker must remain for what was delivered to it, or is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owes {
    Nothing,
    Something,
    /// Some of its subscriptions are still to be examined.
    Unknown,
}

/// What a session needs to know when an exchange ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeEnd {
    /// It is not to be read until it is woken.
    pub(crate) throttled: bool,
    /// More sessions that waited for memory are to be woken at once.
    pub(crate) more: bool,
}

/// The course of an exchange.
impl Broker {
    /// A new connection; above the limits, or while the broker is stopping, it is refused.
    pub(crate) fn admit(&mut self, now: Timestamp, effects: &mut Effects) -> Admitted {
        let now = self.tick(now);
        let accepts = self.stops_at.is_none() && !self.has_failed();
        let parts = (&mut self.memory, &mut self.readiness);
        let (id, accepted) = self.sessions.insert(now, accepts, parts, effects);
        self.spend(self.sessions.take_steps());
        if accepted.is_ok() {
            bump(&mut self.counters.stats.connections, 1);
            self.charge_tables();
        }
        let (config, holds) = (Arc::clone(&self.session_config), self.is_storing());
        Admitted { id, config, now, refused: accepted.err(), holds }
    }

    /// Ends durable subscriptions that were detached for too long, so that no request finds them (rule D5). Returns
    /// whether some may remain: then call again before the next request.
    #[inline]
    pub(crate) fn end_expired(&mut self, now: Timestamp) -> bool {
        if !self.subscriptions.has_expired(now) {
            return false;
        }
        let more = self.subscribing(now).readers.end_expired();
        self.charge_tables();
        more
    }

    pub(crate) fn begin_exchange(&mut self, id: SessionId) -> ExchangeStart {
        let stops_at = self.stops_at;
        let is_scarce = self.memory.is_scarce() || self.readiness.has_waiting();
        let (allowance, close) = match self.sessions.get_mut(id) {
            Some(entry) => {
                entry.woken = false;
                (entry.allowance(&self.memory, &self.readiness), entry.evicted)
            }
            None => (0, Some(CloseReason::Internal)),
        };
        let close = if self.has_failed() { Some(CloseReason::Internal) } else { close };
        ExchangeStart { close, stops_at, stored: self.stored(), allowance, is_scarce }
    }

    /// A session is over: its subscriptions end, or wait for another session, a bounded number of them in each call.
    /// Until it is detached it is charged for the `held` bytes that wait to be sent.
    pub(crate) fn close_session(
        &mut self,
        now: Timestamp,
        id: SessionId,
        held: usize,
        effects: &mut Effects,
    ) -> Turn {
        let now = self.tick(now);
        self.sessions.close(id, held, &mut self.memory, &mut self.readiness);
        let turn = self.end_subscriptions(now, id);
        // This may have been the session that was to hand out the wakes.
        if self.hand_out_wakes(id, effects) || self.release_waiting(effects) {
            effects.rearm();
        }
        self.rearm(effects);
        turn
    }

    /// Ends subscriptions of a session that is over, for about as many steps as an exchange takes (rule S14).
    pub(super) fn end_subscriptions(&mut self, now: Timestamp, id: SessionId) -> Turn {
        let last_step = self.steps().saturating_add(STEPS_PER_EXCHANGE);
        let mut turn = Turn::More;
        while turn == Turn::More && self.steps() < last_step {
            match self.sessions.end_one(id) {
                Some(Ended::Subscription(key)) => {
                    self.spend(STEPS_PER_END);
                    self.subscribing(now).lose_session(key);
                }
                Some(Ended::Fence) => self.spend(1),
                None => turn = Turn::Done,
            }
        }
        self.sessions.settle(id, &mut self.memory);
        turn
    }

    /// A session's handshake is done; `name` is its client's name.
    pub(crate) fn open(&mut self, id: SessionId, name: Box<str>, effects: &mut Effects) {
        self.sessions.opened(id);
        effects.note(|| Note { session: id, topic: None, event: NoteEvent::Opened { name } });
    }

    /// Whether a request may be applied now. If not, it stays in its place, and the session asks again in its next exchange
    /// (rules S14, B8). At `last_step` the exchange has used its share.
    pub(crate) fn prepare(
        &mut self,
        (now, last_step): (Timestamp, u64),
        session: SessionId,
        run: &mut PublishRun,
        frame: &ClientFrame<'_>,
    ) -> Prepared {
        if self.topics.has_due(now) {
            self.settle_run(now, run);
            if !self.preparing(now, last_step).prepare(session, frame) {
                return Prepared::InPart;
            }
        }
        if self.awaits_fetch(now, session, frame) { Prepared::Awaited } else { Prepared::Ready }
    }

    /// The same for a plain publish to a topic.
    #[inline]
    pub(crate) fn prepare_publish(
        &mut self,
        (now, last_step): (Timestamp, u64),
        run: &mut PublishRun,
        topic: &[u8],
    ) -> bool {
        if !self.topics.has_due(now) {
            return true;
        }
        self.settle_run(now, run);
        self.preparing(now, last_step).settle_named(topic)
    }

    /// Counts work on a request, in steps.
    #[inline]
    pub(crate) const fn spend(&mut self, steps: u64) {
        self.topics.spend(steps);
    }

    /// Counts a request that was refused.
    pub(crate) fn count_refusal(&mut self, code: RefusalCode) {
        self.counters.refused(code);
    }

    /// Moves due records into the stream lane of a session that [is ready](Self::is_ready), as long as the lanes allocate at
    /// most `room` bytes.
    pub(crate) fn deliver(
        &mut self,
        now: Timestamp,
        session: SessionId,
        room: usize,
        out: &mut Outbound,
    ) -> Delivered {
        let output_buffer = self.config.output_buffer;
        let Self { sessions, topics, subscriptions, memory, readiness, counters, .. } = self;
        let mut delivery = Delivery {
            now,
            output_buffer,
            room,
            sessions,
            topics,
            subscriptions,
            memory,
            readiness,
            counters,
        };
        delivery.deliver(session, out)
    }

    /// Hands a bounded number of woken subscriptions to their sessions; returns whether some remain. The calling
    /// session is not woken, because it delivers next.
    #[inline]
    pub(crate) fn hand_out_wakes(&mut self, asking: SessionId, effects: &mut Effects) -> bool {
        if !self.readiness.has_woken() {
            return false;
        }
        let Self { sessions, subscriptions, readiness, .. } = self;
        let (handed, more) = wakes::hand_out_wakes(asking, sessions, subscriptions, readiness, effects);
        self.spend(handed);
        more
    }

    /// Whether a session has something in hand to deliver, which is not among the woken subscriptions.
    #[inline]
    pub(crate) fn is_ready(&self, id: SessionId) -> bool {
        let entry = self.sessions.get(id);
        entry.is_some_and(|entry| self.readiness.has_ready(entry.ready) || entry.has_unsent_fence())
    }

    /// Whether a session has records to deliver, or has delivered some that are not committed; examines a bounded number of
    /// its subscriptions (rule S14).
    pub(crate) fn owes(&mut self, id: SessionId) -> Owes {
        // Some of its own may be among those that were woken and not yet handed out.
        if self.is_ready(id) || self.readiness.has_woken() {
            return Owes::Something;
        }
        let Some(entry) = self.sessions.get_mut(id) else {
            return Owes::Nothing;
        };
        let mut examined = 0;
        let mut subscriptions = entry.subscriptions.range(entry.committed_below..);
        let owes = loop {
            let Some((number, key)) = subscriptions.next() else { break Owes::Nothing };
            if examined >= OWES_PER_CALL {
                break Owes::Unknown;
            }
            examined = examined.saturating_add(1);
            // It is the first one to examine next time.
            entry.committed_below = *number;
            if self.subscriptions[*key].has_uncommitted() {
                break Owes::Something;
            }
        };
        self.spend(examined);
        owes
    }

    /// Charges the memory that a session holds after an exchange, and wakes sessions for which memory was freed.
    pub(crate) fn end_exchange(
        &mut self,
        id: SessionId,
        report: ExchangeReport,
        effects: &mut Effects,
    ) -> ExchangeEnd {
        let throttled = self.sessions.exchanged(self.now, id, report, &mut self.memory, &mut self.readiness);
        self.memory.retired().sweep();
        self.topics.evict(self.now, &mut self.memory);
        self.notice_fetches(effects);
        let more = self.release_waiting(effects);
        self.notice_changes(effects);
        self.rearm(effects);
        ExchangeEnd { throttled, more }
    }
}

/// Requests; each call returns the answer or the reason for refusing it.
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

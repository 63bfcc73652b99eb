//! The course of an exchange: what a session calls before, between and after its requests.

use std::sync::Arc;

use zaichik_proto::{ClientFrame, Publish, RefusalCode, Timestamp};

use super::dead_letters::Failure;
use super::delivery::{Delivered, Delivery};
use super::preparing::Prepared;
use super::readers::STEPS_PER_END;
use super::sessions::Ended;
use super::turns::Turns;
use super::{Broker, ExchangeReport, PublishRun, bump, wakes};
use crate::effects::{Effects, Note, NoteEvent, Turn};
use crate::error::CloseReason;
use crate::id::SessionId;
use crate::outbound::Outbound;
use crate::session_config::SessionConfig;
use crate::steps::STEPS_PER_EXCHANGE;

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
                if let Some(patterns) = &entry.patterns {
                    self.readiness.move_all(patterns.awaiting, patterns.busy);
                }
                (entry.allowance(&self.memory, &self.readiness), entry.evicted)
            }
            None => (0, Some(CloseReason::Internal)),
        };
        ExchangeStart { close, stops_at, allowance, is_scarce }
    }

    /// A session is over: its subscriptions end, or wait for another session, a bounded number of them in each call.
    /// Until it is detached it is charged for the `held` bytes that wait to be sent.
    pub(crate) fn close_session(
        &mut self,
        now: Timestamp,
        id: SessionId,
        held: usize,
        reason: CloseReason,
        effects: &mut Effects,
    ) -> Turn {
        let now = self.tick(now);
        self.sessions.close(id, held, &mut self.memory, &mut self.readiness);
        if let Some(entry) = self.sessions.get_mut(id) {
            entry.is_orderly |=
                matches!(reason, CloseReason::Requested | CloseReason::Stopped | CloseReason::Internal);
        }
        let turn = self.end_subscriptions(now, id, effects);
        // This may have been the session that was to hand out the wakes.
        if self.hand_out_wakes(id, effects) || self.release_waiting(effects) {
            effects.rearm();
        }
        self.rearm(effects);
        turn
    }

    /// Ends subscriptions of a session that is over, for about as many steps as an exchange takes (rule S14).
    pub(super) fn end_subscriptions(&mut self, now: Timestamp, id: SessionId, effects: &mut Effects) -> Turn {
        let is_orderly =
            self.stops_at.is_some() || self.sessions.get(id).is_some_and(|entry| entry.is_orderly);
        let failure = (!is_orderly).then_some(Failure::Disconnected);
        let last_step = self.steps().saturating_add(STEPS_PER_EXCHANGE);
        let mut turn = Turn::More;
        while turn == Turn::More && self.steps() < last_step {
            match self.sessions.end_one(id) {
                Some(Ended::Subscription(key)) => {
                    self.spend(STEPS_PER_END);
                    self.subscribing(now).lose_session(key, failure);
                }
                Some(Ended::Member(number, key)) => {
                    self.spend(STEPS_PER_END);
                    if !self.subscribing(now).lose_member(key, failure, id, effects) {
                        self.sessions.keep_member(id, number, key);
                    }
                }
                Some(Ended::Pattern(key)) => {
                    self.spend(STEPS_PER_END);
                    self.remove_pattern(key);
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
        self.sessions.opened(id, &name);
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
        if let ClientFrame::Unsubscribe(unsubscribe) = frame
            && self.pattern_of(session, unsubscribe.subscription).is_some()
        {
            self.settle_run(now, run);
            if !self.end_matches((now, last_step), session, unsubscribe.subscription) {
                return Prepared::InPart;
            }
        }
        if self.topics.has_due(now) {
            self.settle_run(now, run);
            if !self.preparing(now, last_step).prepare(session, frame) {
                return Prepared::InPart;
            }
        }
        if self.awaits_fetch(now, session, run, frame) { Prepared::Awaited } else { Prepared::Ready }
    }

    /// The same for a plain publish to a topic.
    #[inline]
    pub(crate) fn prepare_publish(
        &mut self,
        (now, last_step): (Timestamp, u64),
        session: SessionId,
        run: &mut PublishRun,
        publish: &Publish<'_>,
    ) -> Prepared {
        if self.topics.has_due(now) {
            self.settle_run(now, run);
            if !self.preparing(now, last_step).settle_named(publish.topic) {
                return Prepared::InPart;
            }
        }
        if self.awaits_room(now, session, publish) { Prepared::Awaited } else { Prepared::Ready }
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
        effects: &mut Effects,
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
        delivery.deliver(session, out, effects)
    }

    /// Hands a bounded number of woken subscriptions to their sessions; returns whether some remain. The calling
    /// session is not woken, because it delivers next.
    #[inline]
    pub(crate) fn hand_out_wakes(&mut self, asking: SessionId, effects: &mut Effects) -> bool {
        let is_searching = self.search_patterns(asking, effects);
        if !self.readiness.has_woken() {
            return is_searching;
        }
        let Self { topics, sessions, subscriptions, readiness, .. } = self;
        let turns = Turns { topics, subscriptions, sessions, readiness, asking };
        let (handed, more) = wakes::hand_out_wakes(turns, effects);
        self.spend(handed);
        more || is_searching
    }

    /// Whether a session has something in hand to deliver, which is not among the woken subscriptions.
    #[inline]
    pub(crate) fn is_ready(&self, id: SessionId) -> bool {
        let entry = self.sessions.get(id);
        entry.is_some_and(|entry| {
            let has_turn = || entry.shared.as_ref().is_some_and(|one| self.readiness.has_ready(one.ready));
            let is_busy = || entry.patterns.as_ref().is_some_and(|one| self.readiness.has_ready(one.busy));
            self.readiness.has_ready(entry.ready) || entry.has_unsent_fence() || has_turn() || is_busy()
        })
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
        let members = entry.shared.iter().flat_map(|shared| shared.numbers.values());
        for key in members {
            if examined >= OWES_PER_CALL {
                break;
            }
            examined = examined.saturating_add(1);
            let held = self.subscriptions.members.get(*key).and_then(|member| {
                let shared = self.subscriptions[member.group].shared.as_ref()?;
                Some(member.records_of(&shared.group))
            });
            if held.is_some_and(|held| held > 0) {
                return Owes::Something;
            }
        }
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
        if self.is_storing() {
            self.keep_store_busy(effects);
        }
        let more = self.release_waiting(effects);
        self.rearm(effects);
        ExchangeEnd { throttled, more }
    }
}

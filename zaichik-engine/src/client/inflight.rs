//! Requests between the application's call and the answer to it, bounded in number and bytes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;
use zaichik_proto::{Limits, Refusal};

use super::answer::{Answer, RequestId, SubscriptionId};
use super::backoff::Backoff;
use super::error::RequestError;
use crate::time::Timestamp;

/// How many low bits of a request's id on the wire name its slot, counted from 1; the others tell a slot's uses apart.
const SLOT_BITS: u32 = 20;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// The id on the wire of commits that want no answer; slots never get as far as to use it.
pub(super) const QUIET: u32 = u32::MAX;

/// Most subscriptions, so that they and [`ClientConfig::MAX_IN_FLIGHT`](super::ClientConfig::MAX_IN_FLIGHT) fit the slots.
pub(super) const MAX_SUBSCRIPTIONS: u32 = 1 << 18;

/// A request whose answer is not known yet.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) wire: u32,
    /// The application's name for it; `None` when it asks nothing of it any more, or never did.
    pub(super) id: Option<RequestId>,
    /// In which order requests were made.
    order: u64,
    pub(super) topic: Arc<str>,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    /// The whole frame, kept until it can't be sent any more.
    frame: Bytes,
    /// When the request is to be looked at; [`Timestamp::MAX`] for never.
    timer: Timestamp,
    /// When the application stops waiting.
    pub(super) deadline: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    CreateTopic,
    AlterTopic,
    Publish(PublishState),
    /// A publish that wants no answer; it is forgotten when it is written.
    PublishQuiet(Size),
    Subscribe(SubscriptionId),
    /// After a reconnect, for a subscription that was active.
    Resubscribe(SubscriptionId, Backoff),
    Unsubscribe(SubscriptionId),
    Commit(SubscriptionId, u64),
    Ping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PublishState {
    pub(super) size: Size,
    pub(super) backoff: Backoff,
    /// Why the broker refused it last.
    pub(super) refusal: Option<Refusal>,
}

/// What the broker's limits bound in a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) records: u32,
    /// Bytes of the largest message.
    pub(super) message: usize,
    /// Bytes of the frame's body.
    pub(super) frame: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the connection.
    Unsent,
    /// Written to the output; the frame's last byte is the one before `end` of all bytes ever sent.
    Sent { end: u64 },
    /// Refused for the moment: waits for its timer.
    Retry,
}

#[derive(Debug, Default)]
pub(super) struct Inflight {
    slots: Slab<Request>,
    uses: u32,
    made: u64,
    /// In the order to send; may name requests that are gone.
    unsent: VecDeque<u32>,
    unsent_count: usize,
    unsent_bytes: usize,
    /// Acknowledged publishes in the order sent, which is the order of their answers (semantics P1).
    publishes: VecDeque<u32>,
    timers: BTreeSet<(Timestamp, u32)>,
    kept_bytes: usize,
    /// Requests whose answer the application waits for.
    awaited: usize,
    /// Requests that the application did not make.
    internal: usize,
    answers: VecDeque<(RequestId, Result<Answer, RequestError>)>,
}

impl Size {
    pub(super) const fn check(&self, limits: &Limits) -> Result<(), RequestError> {
        if self.records > limits.max_records {
            return Err(RequestError::TooManyRecords {
                limit: limits.max_records,
                got: self.records as usize,
            });
        }
        if self.message > limits.max_message as usize {
            return Err(RequestError::TooLarge { limit: limits.max_message as usize, got: self.message });
        }
        if self.frame > limits.max_frame as usize {
            return Err(RequestError::TooLarge { limit: limits.max_frame as usize, got: self.frame });
        }
        Ok(())
    }
}

impl Inflight {
    /// Queues a request; `encode` gets its id on the wire and makes the frame.
    pub(super) fn insert(
        &mut self,
        topic: Arc<str>,
        kind: Kind,
        deadline: Timestamp,
        encode: impl FnOnce(u32) -> Bytes,
    ) -> (u32, RequestId) {
        let slot = u32::try_from(self.slots.vacant_key()).unwrap_or(SLOT_MASK);
        self.uses = self.uses.wrapping_add(1);
        let wire = (self.uses << SLOT_BITS) | (slot.saturating_add(1) & SLOT_MASK);
        let frame = encode(wire);
        self.made = self.made.saturating_add(1);
        let id = RequestId(self.made);
        let is_awaited = !matches!(kind, Kind::Resubscribe(..) | Kind::PublishQuiet(_));
        self.awaited = self.awaited.saturating_add(usize::from(is_awaited));
        let is_internal = matches!(kind, Kind::Resubscribe(..));
        self.internal = self.internal.saturating_add(usize::from(is_internal));
        self.kept_bytes = self.kept_bytes.saturating_add(frame.len());
        self.slots.insert(Request {
            wire,
            id: is_awaited.then_some(id),
            order: self.made,
            topic,
            kind,
            phase: Phase::Retry,
            frame,
            timer: Timestamp::MAX,
            deadline,
        });
        if matches!(kind, Kind::PublishQuiet(_)) {
            self.answers.push_back((id, Ok(Answer::Queued)));
        }
        self.set_timer(wire, deadline);
        self.requeue(wire);
        (wire, id)
    }

    /// Answers a request that needs nothing of the broker.
    pub(super) fn answer_at_once(&mut self, result: Result<Answer, RequestError>) -> RequestId {
        self.made = self.made.saturating_add(1);
        let id = RequestId(self.made);
        self.answers.push_back((id, result));
        id
    }

    pub(super) fn get(&self, wire: u32) -> Option<&Request> {
        let request = self.slots.get(slot(wire)?)?;
        (request.wire == wire).then_some(request)
    }

    /// Whether a request is on its way or with the broker.
    pub(super) fn is_sent(&self, wire: u32) -> bool {
        let request = self.get(wire);
        request.is_some_and(|request| matches!(request.phase, Phase::Sent { .. }))
    }

    pub(super) fn kind_mut(&mut self, wire: u32) -> Option<&mut Kind> {
        self.get_mut(wire).map(|request| &mut request.kind)
    }

    /// Gives the application its answer and forgets the request.
    pub(super) fn answer(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        if let Some(id) = self.get(wire).and_then(|request| request.id) {
            self.answers.push_back((id, result));
        }
        self.remove(wire);
    }

    /// Gives the application its answer, but remembers that the broker's is still to come.
    pub(super) fn answer_early(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        self.set_timer(wire, Timestamp::MAX);
        let Some(request) = self.get_mut(wire) else {
            return;
        };
        let frame = core::mem::take(&mut request.frame);
        if let Some(id) = request.id.take() {
            self.awaited = self.awaited.saturating_sub(1);
            self.answers.push_back((id, result));
        }
        self.kept_bytes = self.kept_bytes.saturating_sub(frame.len());
    }

    pub(super) fn remove(&mut self, wire: u32) {
        self.leave_unsent(wire);
        self.set_timer(wire, Timestamp::MAX);
        let Some(slot) = slot(wire).filter(|_| self.get(wire).is_some()) else {
            return;
        };
        if let Some(request) = self.slots.try_remove(slot) {
            self.kept_bytes = self.kept_bytes.saturating_sub(request.frame.len());
            self.awaited = self.awaited.saturating_sub(usize::from(request.id.is_some()));
            let is_internal = matches!(request.kind, Kind::Resubscribe(..));
            self.internal = self.internal.saturating_sub(usize::from(is_internal));
        }
    }

    /// Puts a request behind all others that wait for the connection.
    pub(super) fn requeue(&mut self, wire: u32) {
        let Some(request) = self.get_mut(wire) else {
            return;
        };
        if request.phase == Phase::Unsent {
            return;
        }
        request.phase = Phase::Unsent;
        let len = request.frame.len();
        self.unsent_count = self.unsent_count.saturating_add(1);
        self.unsent_bytes = self.unsent_bytes.saturating_add(len);
        self.unsent.push_back(wire);
    }

    /// Puts requests before all others that wait for the connection.
    pub(super) fn send_first(&mut self, wires: &[u32]) {
        for wire in wires.iter().rev() {
            self.unsent.push_front(*wire);
        }
        // Each of them stands further back too, where it will be skipped: its phase is no longer Unsent then.
    }

    /// The request to send next.
    pub(super) fn first_unsent(&mut self) -> Option<&Request> {
        while let Some(wire) = self.unsent.front().copied() {
            if self.get(wire).is_some_and(|request| request.phase == Phase::Unsent) {
                return self.get(wire);
            }
            self.unsent.pop_front();
        }
        None
    }

    /// The request was written, up to byte `end` of all bytes ever sent.
    pub(super) fn sent(&mut self, wire: u32, end: u64) {
        self.leave_unsent(wire);
        let Some(request) = self.get_mut(wire) else {
            return;
        };
        request.phase = Phase::Sent { end };
        match request.kind {
            Kind::Publish(_) => self.publishes.push_back(wire),
            Kind::PublishQuiet(_) => self.remove(wire),
            Kind::CreateTopic
            | Kind::AlterTopic
            | Kind::Subscribe(_)
            | Kind::Resubscribe(..)
            | Kind::Unsubscribe(_)
            | Kind::Commit(..)
            | Kind::Ping => {}
        }
    }

    /// The publish whose answer must come next.
    pub(super) fn first_publish(&self) -> Option<u32> {
        self.publishes.front().copied()
    }

    pub(super) fn pop_publish(&mut self) {
        self.publishes.pop_front();
    }

    /// Waits until `at` before sending again.
    pub(super) fn retry_at(&mut self, wire: u32, at: Timestamp) {
        if let Some(request) = self.get_mut(wire) {
            request.phase = Phase::Retry;
            self.set_timer(wire, at);
        }
    }

    /// The first request whose timer has run out; the timer is off then.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let (at, wire) = self.timers.first().copied()?;
        if at > now {
            return None;
        }
        self.set_timer(wire, Timestamp::MAX);
        Some(wire)
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn set_timer(&mut self, wire: u32, at: Timestamp) {
        let Some(request) = self.get_mut(wire) else {
            return;
        };
        let before = core::mem::replace(&mut request.timer, at);
        if before < Timestamp::MAX {
            self.timers.remove(&(before, wire));
        }
        if at < Timestamp::MAX {
            self.timers.insert((at, wire));
        }
    }

    /// The connection is gone: takes every request out of the queues, and returns them in the order made with
    /// the phase that each was in. Each is then to be answered, removed, queued again or left to its timer.
    pub(super) fn link_lost(&mut self) -> Vec<(u32, Phase)> {
        self.publishes.clear();
        self.unsent.clear();
        (self.unsent_count, self.unsent_bytes) = (0, 0);
        let mut all: Vec<_> = self
            .slots
            .iter_mut()
            .map(|(_, request)| {
                let phase = core::mem::replace(&mut request.phase, Phase::Retry);
                (request.order, request.wire, phase)
            })
            .collect();
        all.sort_unstable_by_key(|(order, ..)| *order);
        all.into_iter().map(|(_, wire, phase)| (wire, phase)).collect()
    }

    pub(super) fn pop_answer(&mut self) -> Option<(RequestId, Result<Answer, RequestError>)> {
        self.answers.pop_front()
    }

    /// The application's requests that are unanswered, and answers not polled.
    pub(super) fn len(&self) -> usize {
        let requests = self.slots.len().saturating_sub(self.internal);
        requests.saturating_add(self.answers.len())
    }

    /// Requests whose answer the application waits for.
    pub(super) const fn awaited(&self) -> usize {
        self.awaited
    }

    /// The same, with those that want no answer and were not sent.
    pub(super) fn owed(&self) -> usize {
        let is_quiet = |request: &&Request| matches!(request.kind, Kind::PublishQuiet(_));
        let quiet = self.slots.iter().map(|(_, request)| request).filter(is_quiet);
        self.awaited.saturating_add(quiet.count())
    }

    pub(super) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    pub(super) const fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    pub(super) const fn has_unsent(&self) -> bool {
        self.unsent_count > 0
    }

    fn get_mut(&mut self, wire: u32) -> Option<&mut Request> {
        let request = self.slots.get_mut(slot(wire)?)?;
        (request.wire == wire).then_some(request)
    }

    fn leave_unsent(&mut self, wire: u32) {
        let Some(request) = self.get(wire).filter(|request| request.phase == Phase::Unsent) else {
            return;
        };
        let len = request.frame.len();
        self.unsent_count = self.unsent_count.saturating_sub(1);
        self.unsent_bytes = self.unsent_bytes.saturating_sub(len);
        // What was removed while it waited stays named in the queue; the names may not outnumber the requests.
        if self.unsent.len() > self.unsent_count.saturating_mul(2).saturating_add(64) {
            let slots = &self.slots;
            self.unsent.retain(|wire| {
                let request = slot(*wire).and_then(|slot| slots.get(slot));
                request.is_some_and(|request| request.wire == *wire && request.phase == Phase::Unsent)
            });
        }
    }
}

impl Request {
    pub(super) const fn frame(&self) -> &Bytes {
        &self.frame
    }
}

/// The slot that an id on the wire names.
fn slot(wire: u32) -> Option<usize> {
    (wire & SLOT_MASK).checked_sub(1).map(|slot| slot as usize)
}

#[cfg(test)]
impl Inflight {
    /// Counts everything again.
    pub(super) fn check_invariants(&self) {
        let all = || self.slots.iter().map(|(_, request)| request);
        let unsent = || all().filter(|request| request.phase == Phase::Unsent);
        assert_eq!(self.awaited, all().filter(|request| request.id.is_some()).count());
        assert_eq!(self.kept_bytes, all().map(|request| request.frame.len()).sum());
        assert_eq!(self.unsent_count, unsent().count());
        assert_eq!(self.unsent_bytes, unsent().map(|request| request.frame.len()).sum());
        assert!(unsent().all(|request| self.unsent.contains(&request.wire)));
        assert!(self.unsent.len() <= self.unsent_count.saturating_mul(2).saturating_add(64));
        let timers = all().filter(|request| request.timer < Timestamp::MAX);
        let timers: BTreeSet<_> = timers.map(|request| (request.timer, request.wire)).collect();
        assert_eq!(self.timers, timers);
        let is_internal = |request: &&Request| matches!(request.kind, Kind::Resubscribe(..));
        assert_eq!(self.internal, all().filter(is_internal).count());
        let is_sent = |request: &&Request| {
            matches!((request.kind, request.phase), (Kind::Publish(_), Phase::Sent { .. }))
        };
        assert_eq!(self.publishes.len(), all().filter(is_sent).count());
    }
}

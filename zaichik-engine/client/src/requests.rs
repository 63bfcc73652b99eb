//! Requests between the application's call and the answer to it, bounded in number and bytes.

pub(crate) mod producer;
pub(crate) mod request;

use core::mem;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;

use crate::answer::{Answer, RequestId};
use crate::client::batch::Entry;
use crate::error::RequestError;
use crate::requests::producer::Producer;
use crate::requests::request::{Kind, Phase, Request};
use zaichik_proto::Timestamp;

/// How many low bits of a request's id on the wire name its slot, counted from 1; the others tell a slot's uses apart.
const SLOT_BITS: u32 = 20;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// The id on the wire of commits that want no answer; slots never get as far as to use it.
pub(crate) const QUIET: u32 = u32::MAX;

/// Most subscriptions, so that they and [`ClientConfig::MAX_IN_FLIGHT`](crate::ClientConfig::MAX_IN_FLIGHT) fit the slots.
pub(crate) const MAX_SUBSCRIPTIONS: u32 = 1 << 18;

/// The place of requests that go out before all others.
const FIRST: u64 = 0;
/// The place of numbered requests that go out again: before all that were never sent.
const AGAIN: u64 = 1;

#[derive(Debug)]
pub(crate) struct Inflight {
    slots: Slab<Request>,
    uses: u32,
    made: u64,
    /// Places given out to those that wait for the connection.
    places: u64,
    /// Requests without a number, in the order to send; may name requests that are gone.
    unsent: VecDeque<u32>,
    /// The same for numbered requests that were never sent.
    unnumbered: VecDeque<u32>,
    unsent_count: usize,
    unsent_bytes: usize,
    /// Unsent ones that nobody waits for, and that are kept for their number's sake.
    abandoned: usize,
    /// Requests that may have been applied on a connection that is gone.
    uncertain: usize,
    /// Where the last of them that was written again ends, as in [`Phase::Sent`].
    resent_end: u64,
    pub(crate) producer: Producer,
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

impl Inflight {
    pub(crate) fn new(producer: Producer) -> Self {
        Self {
            slots: Slab::new(),
            uses: 0,
            made: 0,
            places: AGAIN,
            unsent: VecDeque::new(),
            unnumbered: VecDeque::new(),
            unsent_count: 0,
            unsent_bytes: 0,
            abandoned: 0,
            uncertain: 0,
            resent_end: 0,
            producer,
            publishes: VecDeque::new(),
            timers: BTreeSet::new(),
            kept_bytes: 0,
            awaited: 0,
            internal: 0,
            answers: VecDeque::new(),
        }
    }

    /// Queues a request; `encode` gets its id on the wire and makes the frame.
    pub(crate) fn insert(
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
            place: FIRST,
            topic,
            kind,
            phase: Phase::Retry,
            frame,
            sequence: None,
            may_be_applied: false,
            entries: None,
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
    pub(crate) fn answer_at_once(&mut self, result: Result<Answer, RequestError>) -> RequestId {
        self.made = self.made.saturating_add(1);
        let id = RequestId(self.made);
        self.answers.push_back((id, result));
        id
    }

    pub(crate) fn get(&self, wire: u32) -> Option<&Request> {
        get(&self.slots, wire)
    }

    /// Whether a request is on its way or with the broker.
    pub(crate) fn is_sent(&self, wire: u32) -> bool {
        let request = self.get(wire);
        request.is_some_and(|request| matches!(request.phase, Phase::Sent { .. }))
    }

    pub(crate) fn kind_mut(&mut self, wire: u32) -> Option<&mut Kind> {
        self.get_mut(wire).map(|request| &mut request.kind)
    }

    /// Gives the application its answer and forgets the request.
    pub(crate) fn answer(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        if let Some(id) = self.get(wire).and_then(|request| request.id) {
            self.answers.push_back((id, result));
        }
        self.remove(wire);
    }

    /// Gives the application its answer, but remembers that the broker's is still to come; a request that may have to
    /// be sent again keeps its frame for that.
    pub(crate) fn answer_early(&mut self, wire: u32, result: Result<Answer, RequestError>) {
        self.set_timer(wire, Timestamp::MAX);
        let is_numbered = self.is_numbered(wire);
        let Some(request) = self.get_mut(wire) else {
            return;
        };
        let is_unsent = request.phase == Phase::Unsent;
        let dropped = if is_numbered { Bytes::new() } else { mem::take(&mut request.frame) };
        if let Some(id) = request.id.take() {
            self.awaited = self.awaited.saturating_sub(1);
            self.abandoned = self.abandoned.saturating_add(usize::from(is_unsent));
            self.answers.push_back((id, result));
        }
        self.kept_bytes = self.kept_bytes.saturating_sub(dropped.len());
    }

    pub(crate) fn remove(&mut self, wire: u32) {
        self.leave_unsent(wire);
        self.set_timer(wire, Timestamp::MAX);
        let Some(slot) = slot(wire).filter(|_| self.get(wire).is_some()) else {
            return;
        };
        if let Some(request) = self.slots.try_remove(slot) {
            self.kept_bytes = self.kept_bytes.saturating_sub(request.frame.len());
            self.awaited = self.awaited.saturating_sub(usize::from(request.id.is_some()));
            self.uncertain = self.uncertain.saturating_sub(usize::from(request.may_be_applied));
            let is_internal = matches!(request.kind, Kind::Resubscribe(..));
            self.internal = self.internal.saturating_sub(usize::from(is_internal));
        }
    }

    /// Puts a request behind all others that wait for the connection.
    pub(crate) fn requeue(&mut self, wire: u32) {
        let is_numbered = self.is_numbered(wire);
        let place = self.places.saturating_add(1);
        if self.wait(wire, place).is_some() {
            self.places = place;
            let queue = if is_numbered { &mut self.unnumbered } else { &mut self.unsent };
            queue.push_back(wire);
        }
    }

    /// Puts a numbered request that was sent before among those that go out again, in the order made.
    pub(crate) fn put_back(&mut self, wire: u32) {
        if let Some(order) = self.wait(wire, AGAIN) {
            self.producer.put_back(order, wire);
        }
    }

    /// Puts requests before all others that wait for the connection.
    pub(crate) fn send_first(&mut self, wires: &[u32]) {
        for wire in wires.iter().rev() {
            if let Some(request) = self.get_mut(*wire) {
                request.place = FIRST;
                self.unsent.push_front(*wire);
            }
        }
        // Each of them stands further back too, where it will be skipped: its phase is no longer Unsent then.
    }

    /// The request to send next.
    pub(crate) fn first_unsent(&mut self, now: Timestamp) -> Option<&Request> {
        let slots = &self.slots;
        let is_waiting = |wire: &u32| get(slots, *wire).is_some_and(|request| request.phase == Phase::Unsent);
        for queue in [&mut self.unsent, &mut self.unnumbered] {
            while queue.front().is_some_and(|wire| !is_waiting(wire)) {
                queue.pop_front();
            }
        }
        let numbered = self.producer.first_returned().or_else(|| self.unnumbered.front().copied());
        let numbered = numbered.filter(|_| self.producer.may_send(now));
        let place = |wire: &u32| self.get(*wire).map(|request| request.place);
        let first = self.unsent.front().copied().into_iter().chain(numbered).min_by_key(place)?;
        self.get(first)
    }

    /// Gives a request that is about to be written its number, if it is to have one.
    pub(crate) fn assign(&mut self, wire: u32) -> Result<(), RequestError> {
        let needs_one =
            self.is_numbered(wire) && self.get(wire).is_some_and(|request| request.sequence.is_none());
        if needs_one {
            let sequence = self.producer.assign().ok_or(RequestError::SequencesExhausted)?;
            if let Some(request) = self.get_mut(wire) {
                request.sequence = Some(sequence);
            }
        }
        Ok(())
    }

    /// The request was written, up to byte `end` of all bytes ever sent.
    pub(crate) fn sent(&mut self, wire: u32, end: u64, now: Timestamp) {
        self.leave_unsent(wire);
        let is_numbered = self.is_numbered(wire);
        let Some(request) = self.get_mut(wire) else {
            return;
        };
        request.phase = Phase::Sent { end };
        let kind = request.kind;
        if request.may_be_applied {
            self.resent_end = end;
        }
        if is_numbered {
            self.producer.sent(wire, now);
        }
        match kind {
            Kind::Publish(_) => self.publishes.push_back(wire),
            Kind::PublishQuiet(_) => self.remove(wire),
            Kind::CreateTopic
            | Kind::AlterTopic
            | Kind::Batch(_)
            | Kind::Subscribe(_)
            | Kind::Resubscribe(..)
            | Kind::Unsubscribe(_)
            | Kind::Commit(..)
            | Kind::Nack(..)
            | Kind::Seek(..)
            | Kind::SeekDurable
            | Kind::RemoveDurable
            | Kind::Describe(_)
            | Kind::Ping => {}
        }
    }

    /// Whether the request is one that its producer numbers.
    pub(crate) fn is_numbered(&self, wire: u32) -> bool {
        let kind = self.get(wire).map(|request| request.kind);
        self.producer.identity().is_some() && matches!(kind, Some(Kind::Publish(_) | Kind::Batch(_)))
    }

    /// The number of a request that the broker has or may have.
    pub(crate) fn sequence(&self, wire: u32) -> Option<u64> {
        self.get(wire)?.sequence
    }

    /// The broker did not apply the request, and will not: its number is free.
    pub(crate) fn not_applied(&mut self, wire: u32) {
        if let Some(request) = self.get_mut(wire) {
            request.sequence = None;
            let was_uncertain = mem::take(&mut request.may_be_applied);
            self.uncertain = self.uncertain.saturating_sub(usize::from(was_uncertain));
        }
    }

    /// Requests that may have been applied on a connection that is gone, in the order made.
    pub(crate) fn uncertain(&self) -> Vec<u32> {
        if self.uncertain == 0 {
            return Vec::new();
        }
        let uncertain =
            self.slots.iter().map(|(_, request)| request).filter(|request| request.may_be_applied);
        let mut uncertain: Vec<_> = uncertain.map(|request| (request.order, request.wire)).collect();
        uncertain.sort_unstable();
        uncertain.into_iter().map(|(_, wire)| wire).collect()
    }

    pub(crate) const fn has_uncertain(&self) -> bool {
        self.uncertain > 0
    }

    /// Whether some of those have not left again, with all bytes before `taken`.
    pub(crate) fn has_unresent(&self, taken: u64) -> bool {
        self.uncertain > 0 && (self.producer.first_returned().is_some() || self.resent_end > taken)
    }

    pub(crate) fn set_entries(&mut self, wire: u32, entries: Arc<[Entry]>) {
        if let Some(request) = self.get_mut(wire) {
            request.entries = Some(entries);
        }
    }

    /// What a batch consists of.
    pub(crate) fn entries(&self, wire: u32) -> Option<Arc<[Entry]>> {
        self.get(wire)?.entries.clone()
    }

    /// The same, if the batch commits what was delivered on a connection that is gone.
    pub(crate) fn lost_entries(&self, wire: u32) -> Option<Arc<[Entry]>> {
        self.entries(wire).filter(|_| self.get(wire).is_some_and(|request| request.may_be_applied))
    }

    /// The publish whose answer must come next.
    pub(crate) fn first_publish(&self) -> Option<u32> {
        self.publishes.front().copied()
    }

    pub(crate) fn pop_publish(&mut self) {
        self.publishes.pop_front();
    }

    /// Waits until `at` before sending again.
    pub(crate) fn retry_at(&mut self, wire: u32, at: Timestamp) {
        if let Some(request) = self.get_mut(wire) {
            request.phase = Phase::Retry;
            self.set_timer(wire, at);
        }
    }

    /// The first request whose timer has run out; the timer is off then.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let (at, wire) = self.timers.first().copied()?;
        if at > now {
            return None;
        }
        self.set_timer(wire, Timestamp::MAX);
        Some(wire)
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn set_timer(&mut self, wire: u32, at: Timestamp) {
        let Some(request) = self.get_mut(wire) else {
            return;
        };
        let before = mem::replace(&mut request.timer, at);
        if before < Timestamp::MAX {
            self.timers.remove(&(before, wire));
        }
        if at < Timestamp::MAX {
            self.timers.insert((at, wire));
        }
    }

    /// The connection is gone, and of its bytes only those before `taken` left: takes every request out of the queues.
    ///
    /// Returns them in the order made, with the phase that each was in. Each is then to be answered, removed, queued
    /// again or left to its timer.
    pub(crate) fn link_lost(&mut self, taken: u64) -> Vec<(u32, Phase)> {
        self.publishes.clear();
        self.unsent.clear();
        self.unnumbered.clear();
        (self.unsent_count, self.unsent_bytes, self.abandoned, self.uncertain) = (0, 0, 0, 0);
        // Behind one that came back unapplied nothing is applied.
        let is_holding = self.producer.held_by().is_some();
        let mut given_back = None;
        let mut all = Vec::with_capacity(self.slots.len());
        for (_, request) in &mut self.slots {
            let phase = mem::replace(&mut request.phase, Phase::Retry);
            all.push((request.order, request.wire, phase));
            let Some(sequence) = request.sequence else {
                continue;
            };
            let has_left = matches!(phase, Phase::Sent { end } if end <= taken);
            request.may_be_applied = (request.may_be_applied || has_left) && !is_holding;
            if request.may_be_applied {
                self.uncertain = self.uncertain.saturating_add(1);
            } else {
                request.sequence = None;
                given_back = Some(given_back.map_or(sequence, |least: u64| least.min(sequence)));
            }
        }
        self.producer.link_lost(given_back);
        all.sort_unstable_by_key(|(order, ..)| *order);
        all.into_iter().map(|(_, wire, phase)| (wire, phase)).collect()
    }

    pub(crate) fn pop_answer(&mut self) -> Option<(RequestId, Result<Answer, RequestError>)> {
        self.answers.pop_front()
    }

    /// The application's requests that are unanswered, and answers not polled.
    pub(crate) fn len(&self) -> usize {
        let requests = self.slots.len().saturating_sub(self.internal);
        requests.saturating_add(self.answers.len())
    }

    /// Requests whose answer the application waits for.
    pub(crate) const fn awaited(&self) -> usize {
        self.awaited
    }

    /// The same, with those that want no answer and were not sent.
    pub(crate) fn owed(&self) -> usize {
        let is_quiet = |request: &&Request| matches!(request.kind, Kind::PublishQuiet(_));
        let quiet = self.slots.iter().map(|(_, request)| request).filter(is_quiet);
        self.awaited.saturating_add(quiet.count())
    }

    pub(crate) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    pub(crate) const fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Whether something waits for the connection that the application wants to be sent.
    pub(crate) const fn has_unsent(&self) -> bool {
        self.unsent_count > self.abandoned
    }

    fn get_mut(&mut self, wire: u32) -> Option<&mut Request> {
        let request = self.slots.get_mut(slot(wire)?)?;
        (request.wire == wire).then_some(request)
    }

    /// Counts a request among those that wait for the connection, unless it is; returns when it was made.
    fn wait(&mut self, wire: u32, place: u64) -> Option<u64> {
        let request = self.get_mut(wire).filter(|request| request.phase != Phase::Unsent)?;
        (request.phase, request.place) = (Phase::Unsent, place);
        let (order, len, is_abandoned) = (request.order, request.frame.len(), request.is_abandoned());
        self.unsent_count = self.unsent_count.saturating_add(1);
        self.unsent_bytes = self.unsent_bytes.saturating_add(len);
        self.abandoned = self.abandoned.saturating_add(usize::from(is_abandoned));
        Some(order)
    }

    fn leave_unsent(&mut self, wire: u32) {
        let Some(request) = self.get(wire).filter(|request| request.phase == Phase::Unsent) else {
            return;
        };
        let (order, len, is_abandoned) = (request.order, request.frame.len(), request.is_abandoned());
        self.producer.take_back(order);
        self.unsent_count = self.unsent_count.saturating_sub(1);
        self.unsent_bytes = self.unsent_bytes.saturating_sub(len);
        self.abandoned = self.abandoned.saturating_sub(usize::from(is_abandoned));
        // What was removed while it waited stays named in the queue; the names may not outnumber the requests.
        let names = self.unsent_count.saturating_mul(2).saturating_add(64);
        let slots = &self.slots;
        for queue in [&mut self.unsent, &mut self.unnumbered] {
            if queue.len() > names {
                queue.retain(|wire| get(slots, *wire).is_some_and(|request| request.phase == Phase::Unsent));
            }
        }
    }
}

fn get(slots: &Slab<Request>, wire: u32) -> Option<&Request> {
    slots.get(slot(wire)?).filter(|request| request.wire == wire)
}

/// The slot that an id on the wire names.
fn slot(wire: u32) -> Option<usize> {
    (wire & SLOT_MASK).checked_sub(1).map(|slot| slot as usize)
}

#[cfg(test)]
impl Inflight {
    /// Counts everything again.
    pub(crate) fn check_invariants(&self) {
        let all = || self.slots.iter().map(|(_, request)| request);
        let unsent = || all().filter(|request| request.phase == Phase::Unsent);
        assert_eq!(self.awaited, all().filter(|request| request.id.is_some()).count());
        assert_eq!(self.kept_bytes, all().map(|request| request.frame.len()).sum());
        assert_eq!(self.unsent_count, unsent().count());
        assert_eq!(self.unsent_bytes, unsent().map(|request| request.frame.len()).sum());
        assert_eq!(self.abandoned, unsent().filter(|request| request.is_abandoned()).count());
        assert_eq!(self.uncertain, all().filter(|request| request.may_be_applied).count());
        assert!(self.unsent.len() <= self.unsent_count.saturating_mul(2).saturating_add(64));
        assert!(self.unnumbered.len() <= self.unsent_count.saturating_mul(2).saturating_add(64));
        let timers = all().filter(|request| request.timer < Timestamp::MAX);
        let timers: BTreeSet<_> = timers.map(|request| (request.timer, request.wire)).collect();
        assert_eq!(self.timers, timers);
        let is_internal = |request: &&Request| matches!(request.kind, Kind::Resubscribe(..));
        assert_eq!(self.internal, all().filter(is_internal).count());
        let is_sent = |request: &&Request| {
            matches!((request.kind, request.phase), (Kind::Publish(_), Phase::Sent { .. }))
        };
        assert_eq!(self.publishes.len(), all().filter(is_sent).count());
        self.check_queues();
        self.check_numbers();
    }

    /// Every unsent request stands in the one queue that it belongs to.
    fn check_queues(&self) {
        let returned = self.producer.waiting();
        for (_, request) in &self.slots {
            let is_unsent = request.phase == Phase::Unsent;
            let is_returned = returned.get(&request.order) == Some(&request.wire);
            let is_named = |queue: &VecDeque<u32>| queue.contains(&request.wire);
            assert!(is_unsent || !is_returned, "{request:?}");
            if is_unsent && self.is_numbered(request.wire) {
                assert!(is_returned || is_named(&self.unnumbered), "{request:?}");
            } else if is_unsent {
                assert!(is_named(&self.unsent), "{request:?}");
            }
        }
        assert!(returned.values().all(|wire| self.get(*wire).is_some()));
    }

    /// Numbers rise in the order in which requests were made, without holes, and the next one follows.
    fn check_numbers(&self) {
        let mut numbered: Vec<_> = self.slots.iter().map(|(_, request)| request).collect();
        numbered.sort_unstable_by_key(|request| request.order);
        numbered.retain(|request| request.sequence.is_some());
        let in_flight = self.producer.in_flight();
        let is_sent = |request: &&&Request| matches!(request.phase, Phase::Sent { .. });
        let sent: Vec<_> = numbered.iter().filter(is_sent).map(|request| request.wire).collect();
        assert_eq!(sent, in_flight);
        for pair in numbered.windows(2) {
            let after = pair[0].sequence.unwrap().checked_add(1);
            assert_eq!(after, pair[1].sequence, "{pair:?}");
        }
        if let Some(last) = numbered.last().filter(|_| !self.producer.is_holding()) {
            let after = last.sequence.unwrap().checked_add(1);
            assert_eq!(after, Some(self.producer.next_sequence()), "{last:?}");
        }
    }
}

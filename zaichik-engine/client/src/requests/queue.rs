//! The order in which requests are sent (rules P3, P4, P6).
//!
//! Three queues share one sequence of places: a producer's publishes and batches to be resent, those that were never
//! sent, and all other requests. The request with the lowest place among the heads whose turn it is is the next one.

use std::collections::{BTreeMap, VecDeque};

use super::request::{Progress, Request};
use super::table::Table;
use crate::planted::{Defect, is_planted};

/// The place of requests that are sent before all others.
const FIRST: u64 = 0;
/// The place of numbered requests to be resent: before all that were never sent.
const AGAIN: u64 = 1;

/// Requests that wait for the connection, or for their producer's turn.
#[derive(Debug)]
pub(super) struct SendQueue {
    /// Requests outside the order of publishes, in the order to send; may name requests that left the queue.
    plain: VecDeque<u32>,
    /// The same for a producer's publishes and batches that were never sent, with or without an acknowledgement.
    ordered: VecDeque<u32>,
    /// Requests that have a number, by their numbers.
    again: BTreeMap<u64, u32>,
    /// The last place assigned.
    last_place: u64,
    count: usize,
    bytes: usize,
    /// Queued requests whose answer is no longer awaited.
    abandoned: usize,
}

impl SendQueue {
    pub(super) const fn new() -> Self {
        Self {
            plain: VecDeque::new(),
            ordered: VecDeque::new(),
            again: BTreeMap::new(),
            last_place: AGAIN,
            count: 0,
            bytes: 0,
            abandoned: 0,
        }
    }

    /// Puts a request behind all others, unless it is already queued.
    pub(super) fn push(&mut self, request: &mut Request, is_ordered: bool) {
        let place = self.last_place.saturating_add(1);
        if self.enter(request, place) {
            self.last_place = place;
            let queue = if is_ordered { &mut self.ordered } else { &mut self.plain };
            queue.push_back(request.wire);
        }
    }

    /// Puts a request that has a number among those to be resent, in the order of their numbers.
    pub(super) fn push_again(&mut self, request: &mut Request) {
        if let Some(sequence) = request.sequence
            && self.enter(request, AGAIN)
        {
            self.again.insert(sequence, request.wire);
        }
    }

    /// Moves a queued request without a number before all others.
    pub(super) fn move_to_front(&mut self, request: &mut Request) {
        request.place = FIRST;
        // Its old entry further back is skipped later: by then it will have left the queue.
        self.plain.push_front(request.wire);
    }

    /// Takes a request out, before its progress changes; `false` if it was not queued.
    pub(super) fn leave(&mut self, request: &Request) -> bool {
        if !request.is_queued() {
            return false;
        }
        if let Some(sequence) = request.sequence {
            self.again.remove(&sequence);
        }
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(request.frame.len());
        self.abandoned = self.abandoned.saturating_sub(usize::from(request.is_abandoned()));
        true
    }

    /// Drops names of requests that left the queue, if there are too many: they may not outnumber the requests.
    pub(super) fn compact(&mut self, table: &Table) {
        let max_names = self.count.saturating_mul(2).saturating_add(64);
        for names in [&mut self.plain, &mut self.ordered] {
            if names.len() > max_names {
                names.retain(|wire| is_queued(table, *wire));
            }
        }
    }

    /// The application stops waiting for a queued request, which stays queued for the sake of its number.
    pub(super) fn abandon_one(&mut self) {
        self.abandoned = self.abandoned.saturating_add(1);
    }

    /// The request to send next, of those whose turn it is.
    pub(super) fn next(&mut self, table: &Table, is_their_turn: impl Fn(&Request) -> bool) -> Option<u32> {
        for names in [&mut self.plain, &mut self.ordered] {
            while names.front().is_some_and(|wire| !is_queued(table, *wire)) {
                names.pop_front();
            }
        }
        let again = self.first_again();
        let get = |wire: u32| table.get(wire);
        // A numbered request follows all that are resent; a publish without a number passes them when it is its turn.
        let fresh = self.ordered.front().copied().and_then(get);
        let fresh = fresh.filter(|request| again.is_none() || request.is_quiet_publish());
        let ordered = again.and_then(get).into_iter().chain(fresh).filter(|request| is_their_turn(request));
        let heads = self.plain.front().copied().and_then(get).into_iter().chain(ordered);
        heads.min_by_key(|request| request.place).map(|request| request.wire)
    }

    /// The requests to be resent, in the order of their numbers.
    pub(super) fn again(&self) -> Vec<u32> {
        self.again.values().copied().collect()
    }

    pub(super) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Empties the queue; the progress of its requests is the caller's.
    pub(super) fn clear(&mut self) {
        let last_place = self.last_place;
        *self = Self { last_place, ..Self::new() };
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any queued request is still wanted by the application.
    pub(super) const fn has_wanted(&self) -> bool {
        self.count > self.abandoned
    }

    fn first_again(&self) -> Option<u32> {
        if is_planted(Defect::ResendReversed) {
            return self.again.last_key_value().map(|(_, wire)| *wire);
        }
        self.again.first_key_value().map(|(_, wire)| *wire)
    }

    fn enter(&mut self, request: &mut Request, place: u64) -> bool {
        if request.is_queued() {
            return false;
        }
        (request.progress, request.place) = (Progress::Queued, place);
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(request.frame.len());
        self.abandoned = self.abandoned.saturating_add(usize::from(request.is_abandoned()));
        true
    }
}

fn is_queued(table: &Table, wire: u32) -> bool {
    table.get(wire).is_some_and(Request::is_queued)
}

#[cfg(test)]
impl SendQueue {
    /// Counts everything again: every queued request is named in the one queue that it belongs to.
    pub(super) fn check_invariants(&self, table: &Table, is_ordered: impl Fn(&Request) -> bool) {
        let queued = || table.iter().filter(|request| request.is_queued());
        assert_eq!(self.count, queued().count());
        assert_eq!(self.bytes, queued().map(|request| request.frame.len()).sum());
        assert_eq!(self.abandoned, queued().filter(|request| request.is_abandoned()).count());
        let max_names = self.count.saturating_mul(2).saturating_add(64);
        assert!(self.plain.len() <= max_names && self.ordered.len() <= max_names);
        for request in table.iter() {
            let again = request.sequence.and_then(|sequence| self.again.get(&sequence));
            let is_again = again == Some(&request.wire);
            assert!(request.is_queued() || !is_again, "{request:?}");
            if request.is_queued() && is_ordered(request) {
                assert!(is_again || self.ordered.contains(&request.wire), "{request:?}");
            } else if request.is_queued() {
                assert!(self.plain.contains(&request.wire), "{request:?}");
            }
        }
        assert!(self.again.values().all(|wire| table.get(*wire).is_some()));
    }
}

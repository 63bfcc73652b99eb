//! A shared subscription: what was handed out to which member, what came back, and what is done (chapter G).
//!
//! ```text
//!            cursor                          next            end
//!  done done | held  done  back  blocked held | new new new  |
//! ```
//! Every offset between the cursor and the next one is done, held by one member, back, or blocked because another record
//! with its key is held or back. This knows no records, members' windows or topics: the caller reads the log, and says what
//! it found there.

mod flights;
mod keys;
mod ranges;
mod stored;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::BTreeMap;

use zaichik_proto::Timestamp;

use self::flights::Flights;
pub(crate) use self::flights::{Held, Run};
use self::keys::Keys;
use self::ranges::Ranges;
pub(crate) use self::stored::Stored;
use self::waiting::{Back, Waiting};
use crate::topic::Position;

/// Maximum records that wait for their key, from which on nothing new is handed out (rule G7).
pub(crate) const MAX_BLOCKED: usize = 16_384;

/// How a group hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// How long a member may hold a record, in microseconds; `u64::MAX` for any time.
    pub(crate) ack_deadline_micros: u64,
    /// Maximum distance between the cursor and the next offset.
    pub(crate) max_span: u32,
    /// Whether one record of a key at a time is held or back.
    pub(crate) by_key: bool,
}

/// What may be handed out next: consecutive records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Where they begin.
    pub(crate) from: Position,
    /// Their number, as far as they exist; at least 1, at most [`Run::MAX_RUN`].
    pub(crate) records: u32,
    /// How often they were handed out, this time included.
    pub(crate) attempt: u32,
    /// Whether they were never handed out before.
    pub(crate) is_new: bool,
}

/// A shared subscription, without its members. Every call takes O(log n) in what it holds, for each record or run that the
/// call concerns.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) options: Options,
    /// How often it was moved: what was acknowledged under a lower number is void (rule A10).
    rewind: u32,
    /// The first offset that is not done.
    cursor: u64,
    /// The first offset that was never handed out.
    next: Position,
    /// Where records were last handed out again.
    again: Position,
    done: Ranges,
    flights: Flights,
    waiting: Waiting,
    keys: Keys,
    /// Failures of records that are not done.
    failures: BTreeMap<u64, u32>,
}

impl Group {
    pub(crate) fn new(start: u64, options: Options) -> Self {
        Self {
            options,
            rewind: 0,
            cursor: start,
            next: Position::at(start),
            again: Position::at(start),
            done: Ranges::default(),
            flights: Flights::default(),
            waiting: Waiting::default(),
            keys: Keys::default(),
            failures: BTreeMap::new(),
        }
    }

    /// The first offset that is not done.
    pub(crate) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The first offset that was never handed out.
    pub(crate) const fn next(&self) -> Position {
        self.next
    }

    /// How often it was moved.
    pub(crate) const fn rewind(&self) -> u32 {
        self.rewind
    }

    /// Records that members hold.
    pub(crate) const fn held(&self) -> u64 {
        self.flights.records()
    }

    /// Records that came back.
    pub(crate) fn back(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Records that wait for their key.
    pub(crate) const fn blocked(&self) -> u64 {
        self.keys.blocked() as u64
    }

    /// Whether nothing new is handed out until the cursor moves, or keys are free.
    pub(crate) fn is_blocked(&self) -> bool {
        self.span_left() == 0 || self.keys.blocked() >= MAX_BLOCKED
    }

    /// Whether nothing new is handed out until the cursor moves.
    pub(crate) fn is_at_span(&self) -> bool {
        self.span_left() == 0
    }

    /// How many records may be handed out, of a topic with this end.
    pub(crate) fn available(&self, end: u64) -> u64 {
        let new = end.saturating_sub(self.next.offset).min(self.span_left());
        let new = if self.is_blocked() { 0 } else { new };
        new.saturating_add(self.waiting.ready_len() as u64)
    }

    /// What is to be handed out next, at most `most` records, of a topic with this end: the lowest offset, so what came back
    /// goes before what is new (rule G2).
    pub(crate) fn offer(&mut self, end: u64, most: usize) -> Option<Offer> {
        let most = most.min(Run::MAX_RUN);
        if let Some((first, records, attempts)) = self.waiting.first_run(most) {
            let attempt = attempts.saturating_add(1);
            return Some(Offer { from: self.again.moved_to(first), records, attempt, is_new: false });
        }
        if self.is_blocked() {
            return None;
        }
        self.skip_known();
        let stop = self.new_until().min(end);
        let left = stop.saturating_sub(self.next.offset).min(self.span_left()).min(most as u64);
        let records = u32::try_from(left).ok().filter(|records| *records > 0)?;
        Some(Offer { from: self.next, records, attempt: 1, is_new: true })
    }

    /// A new record with this key is about to be [handed out](Self::hand_out); returns whether it may be, or has to wait for an
    /// earlier one.
    pub(crate) fn begin(&mut self, key: u64) -> bool {
        key == 0 || self.keys.begin(key)
    }

    /// A member got records of an offer, from its first one on, whose keys have [begun](Self::begin) if they are new; the log
    /// goes on at `next`.
    pub(crate) fn hand_out(&mut self, member: u64, offer: &Offer, run: (&[u32], &[u64]), times: Times) {
        let (sizes, keys) = run;
        let first = offer.from.offset;
        if offer.is_new {
            self.next = times.next;
        } else {
            self.again = times.next;
            for (offset, _) in (first..).zip(sizes) {
                self.waiting.remove(offset);
            }
        }
        let due = times.now.plus_micros(self.options.ack_deadline_micros);
        self.flights.insert(
            member,
            first,
            Run::new(offer.attempt, (times.now, due), sizes.into(), keys.into()),
        );
    }

    /// The next new record has to wait for an earlier one with its key.
    pub(crate) fn block(&mut self, key: u64) {
        self.keys.block(key, self.next.offset);
        self.next = self.next.moved_to(self.next.offset.saturating_add(1));
    }

    /// The records of an offer, and perhaps those behind them up to `to`, are missing: they are done. Returns where those end
    /// that were not done before.
    pub(crate) fn pass(&mut self, offer: &Offer, to: u64) -> u64 {
        let from = offer.from.offset;
        let mut end = from;
        if offer.is_new {
            end = self.new_until().min(to);
            self.next = self.next.moved_to(end);
        } else {
            while end < to && self.waiting.is_ready(end) {
                if let Some(back) = self.waiting.remove(end) {
                    self.release(back.key);
                }
                end = end.saturating_add(1);
            }
        }
        self.settle(from, end);
        end
    }

    /// The end of what is done from an offset on, if that is done.
    pub(crate) fn done_until(&self, offset: u64) -> Option<u64> {
        self.done.end_of(offset)
    }

    /// The first offsets at or above `at`, and below `to`, that a member holds.
    pub(crate) fn next_held(&self, member: u64, at: u64, to: u64) -> Option<(u64, u64)> {
        self.flights.next_held(member, at, to)
    }

    /// The same for what it may acknowledge: also what it held for too long, unless that was handed out again (rule G6).
    pub(crate) fn next_ackable(&self, member: u64, at: u64, to: u64) -> Option<(u64, u64)> {
        let late = self.waiting.next_late(member, at, to);
        let late = late.map(|offset| (offset, offset.saturating_add(1)));
        let held = self.flights.next_held(member, at, to);
        // One that is late is not held.
        late.into_iter().chain(held).min()
    }

    /// Offsets that [`next_ackable`](Self::next_ackable) returned are done; returns what the member held of them.
    pub(crate) fn ack(&mut self, member: u64, offsets: (u64, u64)) -> Option<Held> {
        let (from, to) = offsets;
        let held = match self.waiting.remove(from) {
            Some(back) => {
                self.release(back.key);
                None
            }
            None => self.flights.take(member, offsets),
        };
        held.iter().flat_map(Held::offsets).for_each(|(_, key)| self.release(key));
        self.settle(from, to);
        held
    }

    /// Takes offsets that [`next_held`](Self::next_held) returned from a member. Each is then to be
    /// [put back](Self::put_back) or [finished](Self::finish).
    pub(crate) fn take_back(&mut self, member: u64, offsets: (u64, u64)) -> Option<Held> {
        self.flights.take_back(member, offsets)
    }

    /// Takes offsets that a member has held for too long, in the same way.
    pub(crate) fn take_overdue(&mut self, now: Timestamp) -> Option<(u64, Held)> {
        let (member, offsets) = self.flights.overdue(now)?;
        Some((member, self.flights.take_back(member, offsets)?))
    }

    /// A record waits to be handed out again, for the time of a delay if `until` is not zero. `holder` may still acknowledge
    /// it.
    pub(crate) fn put_back(
        &mut self,
        (offset, key): (u64, u64),
        attempts: u32,
        until: Timestamp,
        holder: Option<u64>,
    ) {
        self.waiting.insert(offset, Back { attempts, key, holder, until });
    }

    /// A record that was taken back is done.
    pub(crate) fn finish(&mut self, (offset, key): (u64, u64)) {
        self.release(key);
        self.settle(offset, offset.saturating_add(1));
    }

    /// Starts the time of offsets again that [`next_held`](Self::next_held) returned.
    pub(crate) fn extend(&mut self, member: u64, offsets: (u64, u64), now: Timestamp) {
        self.flights.set_due(member, offsets, now.plus_micros(self.options.ack_deadline_micros));
    }

    /// Counts a failure of a record; returns its failures so far.
    pub(crate) fn fail(&mut self, offset: u64) -> u32 {
        let failures = self.failures.entry(offset).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }

    /// Ends one delay that is over; returns whether there was one.
    pub(crate) fn end_delay(&mut self, now: Timestamp) -> bool {
        let Some(offset) = self.waiting.pop_due(now) else { return false };
        if offset >= self.next.offset {
            // It is handed out in its turn.
            self.waiting.remove(offset);
        }
        true
    }

    /// When a delay or a member's time ends first; [`Timestamp::MAX`] if none does.
    pub(crate) fn next_deadline(&self) -> Timestamp {
        self.flights.first_due().min(self.waiting.first_delay())
    }

    /// When the oldest record that is held was handed out.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.flights.oldest()
    }

    /// The same for a member. Takes O(n) in what it holds.
    pub(crate) fn oldest_of(&self, member: u64) -> Option<Timestamp> {
        self.flights.oldest_of(member)
    }

    /// Moves the cursor and forgets everything else (rule G1).
    pub(crate) fn seek(&mut self, to: u64) {
        let rewind = self.rewind.saturating_add(1);
        *self = Self { rewind, ..Self::new(to, self.options) };
    }

    /// Bytes allocated, about.
    pub(crate) fn footprint(&self) -> usize {
        let failures = self.failures.len().saturating_mul(size_of::<[(u64, u32); 2]>());
        let records = self.flights.footprint().saturating_add(self.waiting.footprint());
        let rest = self.done.footprint().saturating_add(self.keys.footprint()).saturating_add(failures);
        size_of::<Self>().saturating_add(records).saturating_add(rest)
    }

    /// Whether every offset between the cursor and the next one is in one place.
    pub(crate) fn is_consistent(&self) -> bool {
        let next = self.next.offset;
        let known = |offset: &u64| self.cursor <= *offset && *offset < next;
        let done = self.done.iter().map(|(from, to)| to.min(next).saturating_sub(from.min(next)));
        let back = self.waiting.iter().filter(|(offset, _)| *offset < next).count() as u64;
        let others = back.saturating_add(self.held()).saturating_add(self.blocked());
        let all = done.fold(others, u64::saturating_add);
        let within =
            self.flights.iter().all(|(_, offset)| known(&offset)) && self.keys.iter().all(|one| known(&one));
        let is_above = self.done.iter().all(|(from, _)| from > self.cursor);
        self.cursor <= next && all == next.saturating_sub(self.cursor) && within && is_above
    }

    /// How much further the next offset may be.
    fn span_left(&self) -> u64 {
        u64::from(self.options.max_span).saturating_sub(self.next.offset.saturating_sub(self.cursor))
    }

    /// Passes what is done or back already where nothing was handed out since a restart.
    fn skip_known(&mut self) {
        loop {
            let next = self.next.offset;
            let passed = match self.done.end_of(next) {
                Some(end) => end,
                None if self.waiting.first_from(next) == Some(next) => next.saturating_add(1),
                None => return,
            };
            self.next = self.next.moved_to(passed);
        }
    }

    /// The first offset from the next one on that is done or back already.
    fn new_until(&self) -> u64 {
        let done = self.done.first_from(self.next.offset).unwrap_or(u64::MAX);
        done.min(self.waiting.first_from(self.next.offset).unwrap_or(u64::MAX))
    }

    /// The record of a key that was in work is done; one that waited for it goes next.
    fn release(&mut self, key: u64) {
        if key != 0
            && let Some(offset) = self.keys.release(key)
        {
            let back = Back { attempts: 0, key, holder: None, until: Timestamp::ZERO };
            self.waiting.insert(offset, back);
        }
    }

    /// These offsets are done, and in no other place.
    fn settle(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        while let Some(offset) = self.failures.range(from..to).next().map(|(offset, _)| *offset) {
            self.failures.remove(&offset);
        }
        if from <= self.cursor {
            self.cursor = self.done.absorb(to);
            if self.next.offset < self.cursor {
                self.next = self.next.moved_to(self.cursor);
            }
        } else {
            self.done.insert(from, to);
        }
    }
}

/// When records are handed out, and where the log goes on behind them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) now: Timestamp,
    pub(crate) next: Position,
}

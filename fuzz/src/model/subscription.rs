//! One subscription of the model: cursor, window, attempts, failures.

mod follow;

use std::rc::Rc;

use zaichik_proto::RefusalCode;

use crate::model::entry::Liveness;
use crate::model::topic::Topic;
use crate::model::words::{Event, FOREVER, Refusal};

/// A cursor over one topic, held by a connection or durable.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) topic: u32,
    /// Set if it is durable.
    pub(crate) name: Option<u32>,
    /// The connection, and the number by which it names the subscription.
    pub(crate) holder: Option<(u64, u32)>,
    pub(crate) terms: Terms,
    pub(crate) epoch: u32,
    /// The epoch under which its holder first attached.
    pub(crate) held_since: u32,
    pub(crate) rewind: u32,
    /// The rewind of the last seek.
    sought: u32,
    pub(crate) last_delivered: Option<u64>,
    /// The first offset not delivered.
    pub(crate) next: u64,
    /// Offsets and sizes of delivered, uncommitted records.
    pub(crate) uncommitted: Vec<(u64, u64)>,
    /// It may have something to deliver.
    pub(crate) ready: bool,
    /// It waits at the end of its topic; otherwise its window stops it.
    pub(crate) waiting: bool,
    /// Although it is ready, the broker may have found that its window stops it: then nothing but a request about it
    /// makes the broker look again.
    may_be_stopped: bool,
    pub(crate) pause: Option<Pause>,
    /// How often offsets from the cursor on were delivered.
    attempts: Vec<(u64, u32)>,
    /// Offsets that were delivered since it went back last.
    delivered: Vec<u64>,
    /// How often offsets from the cursor on failed.
    failures: Vec<(u64, u32)>,
    /// Offsets from the cursor on that are in the dead-letter topic.
    done: Vec<u64>,
    detached_at: u64,
    /// The broker may or may not have skipped the silent offsets below this one.
    skipped_below: u64,
}

/// The options in its Subscribe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) window: u32,
    pub(crate) window_bytes: u64,
    /// The maximum number of failures and the dead-letter topic.
    pub(crate) dead_letter: Option<(u32, u32)>,
    pub(crate) inactive_ttl: u64,
}

/// Nothing is delivered until its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    pub(crate) until: u64,
    /// It was set when a connection ended, so a reattach does not end it.
    pub(crate) outlives_attachment: bool,
    /// Otherwise there may be none.
    pub(crate) is_certain: bool,
}

impl Subscription {
    /// Whether its holder received this epoch, or attached with it.
    pub(crate) const fn is_held_under(&self, epoch: u32) -> bool {
        epoch > 0 && epoch >= self.held_since && epoch <= self.epoch
    }

    pub(crate) const fn new(topic: u32, name: Option<u32>, start: u64, terms: Terms) -> Self {
        Self {
            topic,
            name,
            holder: None,
            terms,
            epoch: 0,
            held_since: 0,
            rewind: 0,
            sought: 0,
            last_delivered: None,
            next: start,
            uncommitted: Vec::new(),
            ready: true,
            waiting: false,
            may_be_stopped: false,
            pause: None,
            attempts: Vec::new(),
            delivered: Vec::new(),
            failures: Vec::new(),
            done: Vec::new(),
            detached_at: 0,
            skipped_below: 0,
        }
    }

    pub(crate) fn is_held_by(&self, session: u64, number: u32) -> bool {
        self.holder == Some((session, number))
    }

    /// The first offset not committed; a Gap at the front does not hold it back (rule R9).
    pub(crate) fn cursor(&self) -> u64 {
        self.uncommitted.first().map_or(self.next, |(offset, _)| *offset)
    }

    /// It counts as detached from now on.
    pub(crate) const fn detach_again(&mut self, now: u64) {
        self.detached_at = now;
    }

    /// Rule D5: whether it was detached for too long.
    pub(crate) fn is_forgotten(&self, now: u64) -> bool {
        let ttl = self.terms.inactive_ttl;
        self.holder.is_none() && ttl != FOREVER && self.detached_at.saturating_add(ttl) <= now
    }

    /// Rules A2, A3, A10.
    pub(crate) fn commit(&mut self, offset: u64, rewind: Option<u32>) -> Result<u64, Refusal> {
        if self.terms.window == 0 {
            return Err((RefusalCode::CommitsOff, 0));
        }
        if rewind.is_some_and(|rewind| rewind < self.sought) {
            return Err((RefusalCode::CommitRewound, self.rewind.into()));
        }
        if offset >= self.next {
            return Err((RefusalCode::CommitAhead, self.next));
        }
        self.uncommitted.retain(|(delivered, _)| *delivered > offset);
        (self.ready, self.may_be_stopped) = (true, false);
        self.forget_done();
        Ok(self.cursor())
    }

    /// Rule A4: whether a nack of this offset has an effect.
    pub(crate) fn check_nack(&self, offset: u64) -> Result<bool, Refusal> {
        match () {
            () if self.terms.window == 0 => Err((RefusalCode::CommitsOff, 0)),
            () if offset >= self.next => Err((RefusalCode::NackAhead, self.next)),
            () => Ok(offset >= self.cursor()),
        }
    }

    /// Rule A4: delivery restarts at this offset, perhaps later.
    pub(crate) fn go_back(&mut self, offset: u64, delay: u64, now: u64) {
        self.uncommitted.retain(|(delivered, _)| *delivered < offset);
        let pause = Pause { until: now.saturating_add(delay), outlives_attachment: false, is_certain: true };
        self.pause = (delay > 0).then_some(pause);
        self.start_again_at(offset);
    }

    /// Rule D6: everything delivered and failed is forgotten.
    pub(crate) fn seek(&mut self, to: u64) {
        self.uncommitted.clear();
        self.failures.clear();
        self.done.clear();
        self.pause = None;
        self.start_again_at(to);
        self.sought = self.rewind;
        self.forget_done();
    }

    /// Rule D3: another connection, or the same one again, continues at the cursor.
    pub(crate) fn reattach(&mut self, terms: Terms, now: u64) {
        self.terms = terms;
        self.pause = self.pause.filter(|pause| pause.outlives_attachment && pause.until > now);
        self.last_delivered = None;
        let cursor = self.cursor();
        self.uncommitted.clear();
        self.start_again_at(cursor);
    }

    /// Rule D2: its connection no longer holds it.
    pub(crate) fn detach(&mut self, now: u64) {
        if !self.uncommitted.is_empty() {
            self.skipped_below = 0;
        }
        self.next = self.cursor();
        self.uncommitted.clear();
        self.holder = None;
        self.detached_at = now;
        self.delivered.clear();
    }

    /// Rule B2: the broker ended without a word.
    pub(crate) fn cut(&mut self, now: u64) {
        for (_, count) in self.attempts.iter_mut().filter(|(offset, _)| self.delivered.contains(offset)) {
            *count -= 1;
        }
        self.detach(now);
    }

    fn start_again_at(&mut self, offset: u64) {
        self.delivered.clear();
        (self.next, self.skipped_below) = (offset, 0);
        self.pass_done();
        self.rewind += 1;
        (self.ready, self.waiting, self.may_be_stopped) = (true, false, false);
    }

    /// Records were appended to its topic.
    pub(crate) fn wake(&mut self) {
        if self.waiting {
            (self.ready, self.waiting) = (true, false);
        }
    }

    /// Its pause is over.
    pub(crate) fn resume(&mut self) {
        (self.pause, self.ready, self.may_be_stopped) = (None, true, false);
    }

    /// A record failed once more; returns its number of failures.
    pub(crate) fn fail(&mut self, offset: u64) -> u32 {
        raise(&mut self.failures, offset)
    }

    /// The record that a Nack named, to which delivery was rewound, is in the dead-letter topic.
    pub(crate) fn bury(&mut self, offset: u64) {
        self.done.push(offset);
        self.pass_done();
        self.forget_done();
    }

    /// The only uncommitted record is in the dead-letter topic: as if it were committed.
    pub(crate) fn bury_all(&mut self) {
        self.uncommitted.clear();
        self.forget_done();
    }

    /// Records in the dead-letter topic count as delivered when everything before them is.
    fn pass_done(&mut self) {
        while self.done.contains(&self.next) {
            self.next += 1;
        }
    }

    fn forget_done(&mut self) {
        let cursor = self.cursor();
        self.attempts.retain(|(offset, _)| *offset >= cursor);
        self.failures.retain(|(offset, _)| *offset >= cursor);
        self.delivered.retain(|offset| *offset >= cursor);
        self.done.retain(|offset| *offset >= cursor);
    }

    /// What it receives next at this time, and counts the silent offsets skipped before; `None` if its window is full
    /// or it is at the end of its topic.
    pub(crate) fn next_event(&mut self, topic: &Topic, now: u64, skipped: &mut u64) -> Option<Event> {
        let rewind = self.rewind;
        while self.has_room() {
            let offset = self.next;
            let Some((entry, liveness)) = topic.entry(offset, now) else {
                (self.ready, self.waiting) = (false, true);
                self.forget_done();
                return None;
            };
            let event = match liveness {
                Liveness::Silent => {
                    self.next += 1;
                    *skipped += 1;
                    None
                }
                Liveness::Missing => {
                    let is_missing = |(_, liveness)| liveness == Liveness::Missing;
                    while topic.entry(self.next, now).is_some_and(is_missing) {
                        self.next += 1;
                    }
                    let limit = offset < topic.limit_end;
                    Some(Event::Gap { rewind, from: offset, to: self.next, limit })
                }
                Liveness::Live => {
                    let used: u64 = self.uncommitted.iter().map(|(_, len)| len).sum();
                    if !self.uncommitted.is_empty() && used + entry.record.len() > self.terms.window_bytes {
                        break;
                    }
                    if self.terms.window > 0 {
                        self.uncommitted.push((offset, entry.record.len()));
                    }
                    let (timestamp, record) = (entry.timestamp, Rc::clone(&entry.record));
                    let attempt = raise(&mut self.attempts, offset);
                    self.delivered.push(offset);
                    self.last_delivered = self.last_delivered.max(Some(offset));
                    self.next += 1;
                    Some(Event::Record { rewind, attempt, offset, timestamp, record })
                }
            };
            self.pass_done();
            if event.is_some() {
                self.forget_done();
                return event;
            }
        }
        (self.ready, self.waiting) = (false, false);
        self.forget_done();
        None
    }

    fn has_room(&self) -> bool {
        self.terms.window == 0 || self.uncommitted.len() < self.terms.window as usize
    }
}

/// Raises the count of an offset.
fn raise(counts: &mut Vec<(u64, u32)>, offset: u64) -> u32 {
    if !counts.iter().any(|(other, _)| *other == offset) {
        counts.push((offset, 0));
    }
    let found = counts.iter_mut().find(|(other, _)| *other == offset);
    let (_, count) = found.expect("it was added");
    *count += 1;
    *count
}

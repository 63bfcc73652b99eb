//! One subscription: its cursor, its window, and its reading position.

mod durable;
mod earlier;
mod matched;
mod rows;
mod shared;

use core::num::NonZeroU32;

use zaichik_proto::{DeliveryHead, Limits, Refusal, RefusalCode};

pub(crate) use self::durable::{Durable, check_epoch};
use self::earlier::EarlierDeliveries;
pub(crate) use self::earlier::MAX_RANGES;
pub(crate) use self::matched::Matched;
pub(crate) use self::shared::Shared;
use crate::id::{SessionId, SubKey, TopicId};
use crate::ring::Node;
use crate::topic::{CursorId, Position, Want};
use crate::window::Window;
use zaichik_proto::Timestamp;

/// Bytes of records in one Delivery frame, unless it holds a single larger record (rule A7).
pub(crate) const MAX_DELIVERY: usize = Limits::MAX_DELIVERY_FRAME as usize - DeliveryHead::LEN;

/// A subscription; its topic's log is its only queue.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The session that it is attached to; only a durable one may have none.
    holder: Option<Holder>,
    pub(crate) topic: TopicId,
    /// Its node in the ring of waiting, woken or ready subscriptions; alone while it waits for its client, for a delay,
    /// or for a connection.
    pub(crate) node: Node,
    /// Identifies its cursor in the topic.
    pub(crate) cursor_id: CursorId,
    pub(crate) terms: Terms,
    pub(crate) durable: Option<Box<Durable>>,
    /// If it is a shared one; then no session holds it.
    pub(crate) shared: Option<Box<Shared>>,
    /// If it was made for a pattern.
    pub(crate) matched: Option<Box<Matched>>,
    /// When it is due; `Timestamp::MAX` if it is not.
    pub(crate) due: Timestamp,
    /// Bytes charged to the ledger.
    pub(crate) charged: usize,
    /// The first offset that is not committed.
    cursor: u64,
    /// The next offset to deliver; never one that is done.
    next: Position,
    /// The position that Subscribe or Seek chose last.
    start: u64,
    /// Where the current pass of deliveries began.
    pass_start: u64,
    /// How often the position was moved (rule A4).
    rewind: u32,
    /// The rewind number of the last seek: commits that were made under a lower one are void.
    sought: u32,
    /// Nothing is delivered before this running time (see the table of subscriptions).
    paused_until: Timestamp,
    /// Whether that delay outlives the connection, because a dead-letter topic refused a record when a connection ended
    /// (rule A6).
    holds_off: bool,
    /// The highest offset delivered on this connection.
    last_delivered: Option<u64>,
    window: Window,
    /// History of offsets delivered before the current pass.
    earlier: Option<Box<EarlierDeliveries>>,
}

/// The session that a subscription is attached to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) session: SessionId,
    /// Head of the ring of that session's ready subscriptions.
    pub(crate) ready: Node,
}

/// The options that a client sets each time it attaches to a subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The number by which the client names it.
    pub(crate) number: u32,
    /// Maximum records delivered and not committed; 0 turns commits off.
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    /// The dead-letter policy for records that failed too often.
    pub(crate) dead_letter: Option<DeadLetter>,
}

/// After how many failures, and to which topic, a record is moved (rule A6).
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadLetter {
    pub(crate) topic: TopicId,
    pub(crate) max_attempts: NonZeroU32,
}

impl Subscription {
    pub(crate) const fn new(
        topic: TopicId,
        node: Node,
        cursor_id: CursorId,
        start: u64,
        terms: Terms,
        durable: Option<Box<Durable>>,
    ) -> Self {
        Self {
            holder: None,
            topic,
            node,
            cursor_id,
            terms,
            durable,
            shared: None,
            matched: None,
            due: Timestamp::MAX,
            charged: 0,
            cursor: start,
            next: Position::at(start),
            start,
            pass_start: start,
            rewind: 0,
            sought: 0,
            paused_until: Timestamp::ZERO,
            holds_off: false,
            last_delivered: None,
            window: Window::EMPTY,
            earlier: None,
        }
    }

    /// A session holds it from now on, a running time.
    pub(crate) fn attach(&mut self, holder: Holder, terms: Terms, now: Timestamp) {
        self.holder = Some(holder);
        self.terms = terms;
        self.last_delivered = None;
        if self.paused_until <= now {
            self.resume();
        }
    }

    /// No session holds it any more: uncommitted records will be redelivered (rule D2). A durable one waits for
    /// another session until its time has passed.
    pub(crate) fn detach(&mut self, now: Timestamp) {
        if self.shared.is_none() {
            self.lose_holder();
        }
        if let Some(durable) = &mut self.durable {
            durable.expires_at = now.plus_micros(durable.inactive_micros);
        }
    }

    /// Another session takes it over: uncommitted records will be redelivered (rule D3).
    pub(crate) fn lose_holder(&mut self) {
        self.holder = None;
        self.take_back(self.cursor);
        if !self.holds_off {
            self.resume();
        }
    }

    /// Whether it is durable, and no session attached to it in time (rule D5).
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.holder.is_none() && self.durable.as_ref().is_some_and(|durable| durable.expires_at <= now)
    }

    /// Whether everything up to and including `offset` can be committed, and where the cursor would be then
    /// (rules A2, A3). `rewind` is the highest one that the client had received, if the commit says so (rule A10).
    pub(crate) fn check_commit(&self, offset: u64, rewind: Option<u32>) -> Result<u64, Refusal> {
        let next = self.next.offset;
        if self.terms.window == 0 {
            return Err(Refusal::new(RefusalCode::CommitsOff));
        }
        if rewind.is_some_and(|rewind| rewind < self.sought) {
            return Err(Refusal::with_value(RefusalCode::CommitRewound, u64::from(self.rewind)));
        }
        if offset >= next {
            return Err(Refusal::with_value(RefusalCode::CommitAhead, next));
        }
        if offset < self.cursor {
            return Ok(self.cursor);
        }
        // The cursor moves past gaps automatically, to the next record that is not done (rule R9).
        Ok(self.window.first_above(offset).unwrap_or(next))
    }

    /// Everything below `cursor`, which [`check_commit`](Self::check_commit) gave, is done.
    pub(crate) fn commit(&mut self, cursor: u64) {
        if let Some(last) = cursor.checked_sub(1) {
            self.window.commit(last);
        }
        self.move_cursor(cursor);
    }

    /// Whether a nack of `offset` moves delivery back; below the cursor it has no effect (rule A4).
    pub(crate) const fn check_nack(&self, offset: u64) -> Result<bool, Refusal> {
        let next = self.next.offset;
        if self.terms.window == 0 {
            return Err(Refusal::new(RefusalCode::CommitsOff));
        }
        if offset >= next {
            return Err(Refusal::with_value(RefusalCode::NackAhead, next));
        }
        Ok(offset >= self.cursor)
    }

    /// Delivery goes back to `offset`, which is between the cursor and what was delivered.
    pub(crate) fn nack(&mut self, offset: u64) {
        self.raise_rewind();
        self.take_back(offset);
    }

    /// Moves the cursor and forgets the window, failures and done marks, but not the attempts (rule D6).
    pub(crate) fn seek(&mut self, to: u64) {
        self.raise_rewind();
        self.sought = self.rewind;
        self.take_back(self.cursor);
        self.resume();
        if let Some(earlier) = &mut self.earlier {
            earlier.start_over();
        }
        (self.start, self.pass_start, self.next) = (to, to, Position::at(to));
        self.move_cursor(to);
    }

    /// The position was moved once more.
    pub(crate) const fn raise_rewind(&mut self) {
        self.rewind = self.rewind.saturating_add(1);
    }

    /// Counts a failure of a delivered record; returns its failures so far.
    pub(crate) fn fail(&mut self, offset: u64) -> u32 {
        if let Some(shared) = &mut self.shared {
            return shared.group.fail(offset);
        }
        self.earlier.get_or_insert_default().failed(offset)
    }

    /// A delivered record went to the dead-letter topic: it is not delivered again, and the cursor passes it.
    pub(crate) fn skip(&mut self, offset: u64) {
        // Its last delivery counts as an attempt; passes that skip it do not.
        self.end_pass();
        self.earlier.get_or_insert_default().done(offset);
        self.begin_pass(offset);
        if self.cursor == offset {
            self.move_cursor(self.next.offset);
        }
    }

    /// Delivers nothing before `until`, while the connection lasts.
    pub(crate) const fn pause(&mut self, until: Timestamp) {
        self.paused_until = until;
        self.holds_off = false;
    }

    /// Delivers nothing before `until`, even after another attach.
    pub(crate) const fn hold_off(&mut self, until: Timestamp) {
        self.paused_until = until;
        self.holds_off = true;
    }

    /// Whether it is paused in a way that another attach does not shorten.
    pub(crate) const fn holds_off(&self) -> bool {
        self.holds_off
    }

    /// Deliveries may continue.
    pub(crate) const fn resume(&mut self) {
        self.paused_until = Timestamp::ZERO;
        self.holds_off = false;
    }

    /// Records of these sizes were put into the output; reading continues at `next`.
    pub(crate) fn delivered(&mut self, sizes: impl Iterator<Item = usize>, next: Position) {
        let from = self.next.offset;
        let last = next.offset.checked_sub(1);
        self.last_delivered = self.last_delivered.max(last);
        if self.terms.window > 0 {
            for (size, offset) in sizes.zip(from..) {
                self.window.push(offset, size);
            }
        }
        self.read_on(next);
        if self.terms.window == 0 {
            self.move_cursor(self.next.offset);
        }
    }

    /// The offsets up to `to` are missing and count as delivered (rule R9). Returns how many of them were not done
    /// before.
    pub(crate) fn passed(&mut self, to: u64) -> u64 {
        let from = self.next.offset;
        let done = self.earlier.as_ref().map_or(0, |earlier| earlier.count_done(from, to));
        if let Some(earlier) = &mut self.earlier {
            earlier.forget(from, to);
        }
        self.read_on(Position::at(to));
        if self.window.is_empty() {
            self.move_cursor(self.next.offset);
        }
        to.saturating_sub(from).saturating_sub(done)
    }

    /// How much it can accept at `now`, a running time; `None` if its window is full or it is paused.
    pub(crate) fn wants(&self, now: Timestamp) -> Option<Want> {
        if self.paused_until > now {
            return None;
        }
        // All records of a delivery have the same attempt.
        let same = self.earlier.as_ref().map_or(u64::MAX, |earlier| earlier.attempts(self.next.offset).1);
        let same = u32::try_from(same.saturating_sub(self.next.offset)).unwrap_or(u32::MAX);
        if self.terms.window == 0 {
            return Some(Want { records: same, bytes: MAX_DELIVERY, single: usize::MAX });
        }
        let used = u32::try_from(self.window.len()).unwrap_or(u32::MAX);
        let records = self.terms.window.checked_sub(used).filter(|records| *records > 0)?;
        let bytes = u64::from(self.terms.window_bytes).saturating_sub(self.window.bytes());
        let left = usize::try_from(bytes).unwrap_or(usize::MAX);
        // A record larger than the whole window is still delivered, alone.
        let single = if self.window.is_empty() { usize::MAX } else { left };
        Some(Want { records: records.min(same), bytes: left.min(MAX_DELIVERY), single })
    }

    /// The attempt number of the next record.
    pub(crate) fn attempt(&self) -> u32 {
        let before = self.earlier.as_ref().map_or(0, |earlier| earlier.attempts(self.next.offset).0);
        before.saturating_add(1)
    }

    /// The positions of a shared one have changed.
    pub(crate) const fn follow_group(&mut self) {
        if let Some(shared) = &self.shared {
            self.cursor = shared.group.cursor();
            self.next = shared.group.next();
            self.rewind = shared.group.rewind();
        }
    }

    /// Whether a session holds it, or is a member of it.
    pub(crate) fn is_attached(&self) -> bool {
        self.holder.is_some() || self.shared.as_ref().is_some_and(|shared| shared.members > 0)
    }

    /// The session that it is attached to.
    pub(crate) const fn holder(&self) -> Option<Holder> {
        self.holder
    }

    /// The next offset to deliver.
    pub(crate) const fn next(&self) -> Position {
        self.next
    }

    /// The first offset that is not committed.
    pub(crate) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// How often the position was moved.
    pub(crate) const fn rewind(&self) -> u32 {
        self.rewind
    }

    /// The highest offset delivered on this connection.
    pub(crate) const fn last_delivered(&self) -> Option<u64> {
        self.last_delivered
    }

    /// Whether a record was delivered and is not committed.
    pub(crate) fn is_delivered(&self, offset: u64) -> bool {
        self.window.contains(offset)
    }

    /// The delivered record that is not committed, if it is the only one.
    pub(crate) fn only_uncommitted(&self) -> Option<u64> {
        self.window.only()
    }

    /// Whether records were delivered that are not committed.
    pub(crate) fn has_uncommitted(&self) -> bool {
        !self.window.is_empty()
    }

    /// The number of a shared one; 0 otherwise.
    pub(crate) fn serial(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.serial)
    }

    /// The running time at which its pause ends; [`Timestamp::MAX`] if there is none, or no session to deliver to. For a shared
    /// one, when the first delay or time of a member ends.
    pub(crate) fn resumes_at(&self) -> Timestamp {
        if self.holder.is_none() {
            return self.shared.as_ref().map_or(Timestamp::MAX, |shared| shared.group.next_deadline());
        }
        if self.paused_until.as_micros() == 0 {
            return Timestamp::MAX;
        }
        self.paused_until
    }

    /// Steps of moving its position: its history of deliveries is rewritten.
    pub(crate) fn steps(&self) -> u64 {
        const RANGES_PER_STEP: usize = 8;
        self.earlier.as_ref().map_or(0, |earlier| (earlier.len() / RANGES_PER_STEP) as u64)
    }

    /// Bytes allocated, including its entries in tables and rings.
    pub(crate) fn footprint(&self) -> usize {
        const TABLES: usize = 2 * (size_of::<(u32, SubKey)>() + size_of::<usize>()) + 16;
        let earlier = self.earlier.as_ref().map_or(0, |earlier| earlier.footprint());
        let durable = self.durable.as_ref().map_or(0, |durable| durable.footprint());
        let own = size_of::<Self>().saturating_add(TABLES).saturating_add(self.window.footprint());
        let shared = self
            .shared
            .as_ref()
            .map_or(0, |shared| size_of::<Shared>().saturating_add(shared.group.footprint()));
        let matched = self.matched.as_ref().map_or(0, |_| size_of::<Matched>());
        own.saturating_add(earlier).saturating_add(durable).saturating_add(shared).saturating_add(matched)
    }

    /// Whether cursor, window and reading position are consistent.
    pub(crate) fn is_consistent(&self) -> bool {
        if let Some(Shared { group, roomy, full_len, turns, members, .. }) = self.shared.as_deref() {
            let follows = self.cursor == group.cursor() && self.next.offset == group.next().offset;
            let counted = turns <= roomy && roomy.saturating_add(*full_len) <= *members;
            return follows && counted && self.holder.is_none() && group.is_consistent();
        }
        let ordered = self.start <= self.cursor && self.cursor <= self.next.offset;
        let follows = self.terms.window > 0 || self.cursor == self.next.offset;
        let fits = self.window.len() <= self.terms.window as usize || self.holder.is_none();
        let within = self.window.is_between(self.cursor, self.next.offset);
        let is_done = |earlier: &EarlierDeliveries| earlier.skip_done(self.next.offset) != self.next.offset;
        ordered && follows && fits && within && !self.earlier.as_deref().is_some_and(is_done)
    }

    /// Records delivered from `offset` on will be redelivered.
    fn take_back(&mut self, offset: u64) {
        self.end_pass();
        self.begin_pass(offset);
    }

    /// Adds the current pass to the history.
    fn end_pass(&mut self) {
        let (from, to) = (self.pass_start.max(self.cursor), self.next.offset);
        if from < to {
            self.earlier.get_or_insert_default().delivered(from, to);
        }
    }

    fn begin_pass(&mut self, offset: u64) {
        self.window.take_back(offset);
        self.pass_start = offset;
        // The position's hint may still be valid.
        self.read_on(self.next.moved_to(offset));
    }

    fn read_on(&mut self, next: Position) {
        let offset = self.earlier.as_ref().map_or(next.offset, |earlier| earlier.skip_done(next.offset));
        self.next = next.moved_to(offset);
    }

    fn move_cursor(&mut self, cursor: u64) {
        self.cursor = cursor;
        if let Some(earlier) = &mut self.earlier {
            earlier.forget_below(cursor);
            if earlier.is_empty() {
                self.earlier = None;
            }
        }
    }
}

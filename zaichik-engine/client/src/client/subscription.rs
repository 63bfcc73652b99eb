//! One subscription as the client sees it: what was received, taken and committed, and where to resume.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use zaichik_proto::{Delivery, Gap, RecordRef, Start};

use super::answer::SubscriptionId;
use super::config::SubscribeOptions;
use super::error::Violation;
use super::event::{Event, Message};

/// Offsets: `committed_to <= taken_to`, and what lies between `taken_to` and `next` is in `pieces`, unless a nack or a seek
/// set deliveries back.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) topic: Arc<str>,
    pub(super) options: SubscribeOptions,
    pub(super) phase: Phase,
    /// Whether the application asked to end it.
    pub(super) is_ending: bool,
    /// Whether it stands in the queue of subscriptions that got something.
    pub(super) is_ready: bool,
    /// The number of a durable subscription's attachment; 0 before the first one.
    pub(super) epoch: u32,
    /// Deliveries with a smaller number are stale (semantics A4).
    rewind: u32,
    /// Nacks and seeks without an answer; nothing is handed out meanwhile, because it may be stale.
    rewinding: u32,
    /// How many of those are seeks.
    seeking: u32,
    /// The rewind number that the seeks on their way lead to.
    sought: u32,
    /// A seek lost its connection before its answer: only the broker knows where a durable cursor is.
    lost_seek: bool,
    /// What holds if none of them has an effect.
    saved: Option<Marks>,
    marks: Marks,
    /// How often it was moved elsewhere; commits of before mean nothing.
    generation: u32,
    /// Operations of unanswered batches that commit what came on a connection that is gone.
    batches: u32,
    pieces: VecDeque<Piece>,
    buffered: Buffered,
    /// The first offset that was not received on this connection.
    next: u64,
    /// What the next Subscribed is to tell the application.
    notice: Option<Notice>,
    last_delivered: Option<u64>,
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy)]
struct Marks {
    /// Where it was asked to begin.
    start: Start,
    /// Where it began in this instance of the broker, or since it was moved.
    started_at: Option<u64>,
    /// The first offset that the application has not taken.
    taken_to: u64,
    /// The first offset that is not committed, once one was.
    committed_to: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The application's Subscribe, by its id on the wire, is unanswered.
    Subscribing(u32),
    /// The connection that it was active on is gone.
    Detached,
    /// The Subscribe after a reconnect, by its id on the wire, is unanswered or waits to be tried again.
    Resubscribing(u32),
    /// Deliveries may come.
    Active,
    /// Nothing more will come.
    Over,
}

/// What waits to be taken, for the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Buffered {
    pub(super) messages: u32,
    pub(super) bytes: usize,
}

/// The application lost the thread: what to tell it when the subscription is active again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    Reconnected,
    Restarted,
}

#[derive(Debug)]
enum Piece {
    Records(Chunk),
    Event(Event),
}

/// Records of one delivery that were not taken yet, in wire form: nothing is allocated per message.
#[derive(Debug)]
struct Chunk {
    records: Bytes,
    first_offset: u64,
    attempt: u32,
}

impl Subscription {
    pub(super) fn new(id: SubscriptionId, topic: Arc<str>, options: SubscribeOptions) -> Self {
        Self {
            id,
            topic,
            marks: Marks::new(options.start),
            options,
            phase: Phase::Detached,
            is_ending: false,
            is_ready: false,
            epoch: 0,
            rewind: 0,
            rewinding: 0,
            seeking: 0,
            lost_seek: false,
            sought: 0,
            saved: None,
            generation: 0,
            batches: 0,
            pieces: VecDeque::new(),
            buffered: Buffered::default(),
            next: 0,
            notice: None,
            last_delivered: None,
        }
    }

    /// A Subscribed came.
    pub(super) fn begin(&mut self, epoch: u32, rewind: u32, start: u64) {
        // Attaching raises both numbers by one, also when its answer was lost. Is it more, then somebody has moved the
        // cursor meanwhile: it counts then.
        let attached = epoch.wrapping_sub(self.epoch);
        let is_known = !core::mem::take(&mut self.lost_seek) && rewind == self.rewind.wrapping_add(attached);
        let goes_on = epoch == 0 || is_known;
        self.phase = Phase::Active;
        (self.epoch, self.rewind, self.next) = (epoch, rewind, start);
        let notice = self.notice.take();
        if notice != Some(Notice::Reconnected) {
            if notice == Some(Notice::Restarted) {
                self.push(Event::Restarted { start });
            }
            self.settled_marks().begin_at(start);
            return;
        }
        if !goes_on {
            self.generation = self.generation.wrapping_add(1);
            self.settled_marks().begin_at(start);
        } else if self.settled_marks().started_at.is_none() {
            self.settled_marks().begin_at(start);
        }
        let from = self.resume_offset().unwrap_or(start);
        // A durable cursor may be behind what was committed without a connection; that does not come again.
        self.push(Event::Reconnected { from, start: start.max(from) });
    }

    /// A new connection is open: forgets what was not taken and says where to begin.
    pub(super) fn resume(&mut self, same_instance: bool) -> Start {
        let restart_untold =
            self.pieces.iter().any(|piece| matches!(piece, Piece::Event(Event::Restarted { .. })));
        self.clear();
        if !same_instance {
            self.notice = Some(Notice::Restarted);
            self.marks = Marks::new(self.options.start);
            self.generation = self.generation.wrapping_add(1);
            (self.epoch, self.next, self.last_delivered) = (0, 0, None);
        } else if restart_untold {
            self.notice = Some(Notice::Restarted);
        } else {
            self.notice.get_or_insert(Notice::Reconnected);
        }
        self.resume_offset().map_or(self.marks.start, Start::Offset)
    }

    /// The connection is gone; what was not taken can still be, unless it may have been set back.
    pub(super) fn detach(&mut self) {
        self.batches = 0;
        if matches!(self.phase, Phase::Subscribing(_)) {
            // A seek behind its Subscribe is sent again with it.
            return;
        }
        if matches!(self.phase, Phase::Active | Phase::Resubscribing(_)) {
            self.phase = Phase::Detached;
        }
        self.stop_rewinding();
    }

    /// Takes in the records of a delivery, which borrows from `frame`; stale ones are dropped.
    ///
    /// Returns the offset to commit at once: records that the application committed before they came again.
    pub(super) fn deliver(
        &mut self,
        frame: &Bytes,
        delivery: &Delivery<'_>,
    ) -> Result<Option<u64>, Violation> {
        let (first, count) = (delivery.first_offset, delivery.records.len());
        if !self.admit(delivery.rewind, first)? {
            return Ok(None);
        }
        let window = self.options.window;
        let messages = self.buffered.messages.saturating_add(count);
        if window > 0 && messages > window {
            return Err(Violation::Window { subscription: self.id.0, window });
        }
        // The decoder checked that first + count does not overflow.
        self.next = first.saturating_add(u64::from(count));
        self.last_delivered = Some(self.next.saturating_sub(1));
        if window == 0 && self.is_held() {
            // Nothing bounds what comes until the answer, and it would keep the answer from being read.
            return Ok(None);
        }
        let records = frame.slice_ref(delivery.records.as_bytes());
        self.buffered.messages = messages;
        self.buffered.bytes = self.buffered.bytes.saturating_add(records.len());
        self.pieces.push_back(Piece::Records(Chunk {
            records,
            first_offset: first,
            attempt: delivery.attempt,
        }));
        let done = self.marks.committed_to.filter(|committed| *committed > first);
        if done.is_some() {
            self.drop_committed();
        }
        Ok(done.map(|committed| committed.min(self.next).saturating_sub(1)))
    }

    /// Takes in a gap; a stale one is dropped.
    pub(super) fn skip(&mut self, gap: &Gap) -> Result<(), Violation> {
        if self.admit(gap.rewind, gap.from)? {
            self.next = gap.to;
            // A durable cursor may be behind what was committed without a connection.
            let from = gap.from.max(self.marks.committed_to.unwrap_or(0));
            if from < gap.to {
                self.push(Event::Gap { from, to: gap.to, reason: gap.reason });
            }
        }
        Ok(())
    }

    /// The next thing for the application.
    pub(super) fn take(&mut self) -> Option<Event> {
        if self.is_held() {
            return None;
        }
        while let Piece::Records(chunk) = self.pieces.front_mut()? {
            let Some((message, len)) = chunk.split_first(&self.topic) else {
                self.pieces.pop_front();
                continue;
            };
            self.buffered.messages = self.buffered.messages.saturating_sub(1);
            self.buffered.bytes = self.buffered.bytes.saturating_sub(len);
            if chunk.records.is_empty() {
                self.pieces.pop_front();
            }
            let after = message.offset.saturating_add(1);
            self.marks.taken_to = self.marks.taken_to.max(after);
            return Some(Event::Message(message));
        }
        let Some(Piece::Event(event)) = self.pieces.pop_front() else {
            return None;
        };
        if let Event::Gap { to, .. } | Event::Reconnected { start: to, .. } = &event {
            self.marks.taken_to = self.marks.taken_to.max(*to);
        }
        Some(event)
    }

    /// Puts an event behind what waits already.
    pub(super) fn push(&mut self, event: Event) {
        if let (
            Some(Piece::Event(Event::Gap { to, reason, .. })),
            Event::Gap { to: new_to, reason: new_reason, .. },
        ) = (self.pieces.back_mut(), &event)
        {
            // Merging keeps the queue as short as the window is: gaps take no place in it. Limit is the graver reason.
            *to = *new_to;
            *reason = (*reason).max(*new_reason);
            return;
        }
        self.pieces.push_back(Piece::Event(event));
    }

    /// Nothing more will come: drops what was not taken if the application wants none of it, and tells it once.
    pub(super) fn end(&mut self, event: Event) {
        if self.phase == Phase::Over {
            return;
        }
        if self.is_ending {
            self.clear();
        }
        self.stop_rewinding();
        self.phase = Phase::Over;
        self.push(event);
    }

    /// Forgets what was not taken.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.buffered = Buffered::default();
    }

    /// Raises the resume position to after `offset`, which the application has taken.
    ///
    /// Returns whether that is news that the broker can be told on this connection.
    pub(super) fn commit(&mut self, offset: u64) -> bool {
        let after = offset.saturating_add(1);
        if self.marks.committed_to.is_some_and(|committed| committed >= after) {
            return false;
        }
        self.marks.committed_to = Some(after);
        self.drop_committed();
        self.phase == Phase::Active && self.was_delivered(offset)
    }

    /// Whether an offset below the taken mark was delivered on this connection.
    pub(super) const fn was_delivered(&self, offset: u64) -> bool {
        offset < self.next
    }

    /// The first offset that is not committed.
    pub(super) fn cursor(&self) -> u64 {
        self.marks.committed_to.or(self.marks.started_at).unwrap_or(0)
    }

    /// A Nack is on its way.
    pub(super) fn nack_sent(&mut self, offset: u64) {
        self.saved.get_or_insert(self.marks);
        self.marks.taken_to = self.marks.taken_to.min(offset);
        self.rewinding = self.rewinding.saturating_add(1);
    }

    /// Goes back to `offset` where the broker need not be told: it delivers again from there anyway.
    pub(super) fn go_back(&mut self, offset: u64) {
        if self.phase != Phase::Active {
            self.drop_stale(false);
        }
        self.marks.taken_to = self.marks.taken_to.min(offset);
    }

    /// A Seek is on its way.
    pub(super) fn seek_sent(&mut self, to: Start) {
        self.saved.get_or_insert(self.marks);
        self.rewinding = self.rewinding.saturating_add(1);
        self.sought = if self.seeking == 0 { self.rewind } else { self.sought }.wrapping_add(1);
        self.seeking = self.seeking.saturating_add(1);
        if self.options.window == 0 {
            self.drop_stale(true);
        }
        self.move_to(to);
    }

    /// Moves to where the next Subscribe will ask to begin.
    pub(super) fn seek_locally(&mut self, to: Start) {
        self.drop_stale(true);
        self.move_to(to);
    }

    /// The answer to a Nack from `offset` on, or to a Seek: the rewind number is `rewind` now.
    pub(super) fn rewound(&mut self, rewind: u32, nack: Option<u64>) {
        if rewind > self.rewind {
            self.turn(rewind, nack.is_none());
            // What comes next is not before the offset of a nack, with or without effect.
            self.next = nack.unwrap_or(0);
            if nack.is_none() {
                self.marks = Marks::new(self.marks.start);
            }
        }
        self.rewind_answered(nack.is_none());
    }

    /// A Nack or Seek was refused or not sent, or its answer is in: what was held back is handed out if it still counts.
    pub(super) fn rewind_answered(&mut self, is_seek: bool) {
        self.rewinding = self.rewinding.saturating_sub(1);
        self.seeking = self.seeking.saturating_sub(u32::from(is_seek));
        if self.rewinding > 0 {
            return;
        }
        if let Some(saved) = self.saved.take() {
            // None had an effect. What was committed meanwhile stays so.
            let committed_to = saved.committed_to.max(self.marks.committed_to);
            self.marks = Marks { committed_to, ..saved };
        }
    }

    /// An unanswered batch commits what came on the connection that is gone, or one less does.
    pub(super) const fn waits_for_batch(&mut self, one_more: bool) {
        let batches = self.batches;
        self.batches = if one_more { batches.saturating_add(1) } else { batches.saturating_sub(1) };
    }

    /// Whether it may be asked for again: what its unanswered batches committed decides where it goes on.
    pub(super) fn may_resume(&self) -> bool {
        self.phase == Phase::Detached && self.batches == 0
    }

    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) const fn rewind(&self) -> u32 {
        self.rewind
    }

    pub(super) const fn taken_to(&self) -> u64 {
        self.marks.taken_to
    }

    pub(super) const fn last_delivered(&self) -> Option<u64> {
        self.last_delivered
    }

    pub(super) const fn buffered(&self) -> Buffered {
        self.buffered
    }

    /// Whether the application has taken everything, the end included.
    pub(super) fn is_finished(&self) -> bool {
        self.phase == Phase::Over && self.pieces.is_empty()
    }

    /// Whether there is something to take.
    pub(super) fn has_pieces(&self) -> bool {
        !self.is_held() && !self.pieces.is_empty()
    }

    /// Drops records that came again after a reconnect and are committed: the application has seen them.
    fn drop_committed(&mut self) {
        let committed = self.marks.committed_to.unwrap_or(0);
        for piece in &mut self.pieces {
            let Piece::Records(chunk) = piece else {
                continue;
            };
            if chunk.first_offset >= committed {
                return;
            }
            while chunk.first_offset < committed {
                let Some((_, len)) = chunk.split_first(&self.topic) else {
                    break;
                };
                self.buffered.messages = self.buffered.messages.saturating_sub(1);
                self.buffered.bytes = self.buffered.bytes.saturating_sub(len);
            }
        }
    }

    /// Where a new connection is to go on; with `window = 0`, where nothing is committed, after what was taken.
    fn resume_offset(&self) -> Option<u64> {
        let started_at = self.marks.started_at?;
        if self.options.window == 0 {
            return Some(self.marks.taken_to);
        }
        Some(self.marks.committed_to.unwrap_or(started_at))
    }

    /// Whether a frame with that rewind number, about offsets from `first` on, is to be taken in.
    fn admit(&mut self, rewind: u32, first: u64) -> Result<bool, Violation> {
        let subscription = self.id.0;
        if self.phase != Phase::Active {
            return Err(Violation::Subscription { subscription });
        }
        if rewind < self.rewind {
            return Ok(false);
        }
        if rewind > self.rewind {
            // No nack of this client: a seek, its own or somebody else's by the subscription's name.
            let is_moved = self.rewinding == 0 || self.seeking > 0;
            self.turn(rewind, is_moved);
            if is_moved {
                self.generation = self.generation.wrapping_add(1);
                self.marks.begin_at(first);
            }
        } else if first < self.next {
            return Err(Violation::OffsetBack { subscription, after: self.next, got: first });
        }
        if self.marks.started_at.is_none() {
            self.marks.begin_at(first);
        }
        Ok(true)
    }

    /// Deliveries have a higher number from here on: what has an old one is stale.
    fn turn(&mut self, rewind: u32, is_moved: bool) {
        self.rewind = rewind;
        self.saved = None;
        self.drop_stale(is_moved);
    }

    /// Drops what was received and not taken, but not what the application still has to learn about the connection.
    fn drop_stale(&mut self, is_moved: bool) {
        self.pieces.retain(|piece| match piece {
            Piece::Event(Event::Restarted { .. }) => true,
            // Where it went on means nothing once it was moved elsewhere.
            Piece::Event(Event::Reconnected { .. }) => !is_moved,
            Piece::Event(_) | Piece::Records(_) => false,
        });
        self.buffered = Buffered::default();
    }

    /// Whether what was received may be stale, because a nack or a seek is on its way.
    ///
    /// With `window = 0` there are only seeks, and each of them raises the number by one: the first delivery behind
    /// the last of them tells as much as its answer.
    const fn is_held(&self) -> bool {
        self.rewinding > 0 && (self.options.window > 0 || self.rewind < self.sought)
    }

    fn move_to(&mut self, to: Start) {
        self.marks = Marks::new(to);
        self.generation = self.generation.wrapping_add(1);
    }

    /// No answer to a Nack or Seek will come any more.
    fn stop_rewinding(&mut self) {
        if self.rewinding > 0 {
            self.drop_stale(self.seeking > 0);
        }
        self.lost_seek |= self.seeking > 0;
        (self.rewinding, self.seeking, self.saved) = (0, 0, None);
    }

    /// The marks that count unless a nack or a seek that is on its way has an effect.
    const fn settled_marks(&mut self) -> &mut Marks {
        match &mut self.saved {
            Some(saved) => saved,
            None => &mut self.marks,
        }
    }
}

impl Marks {
    const fn new(start: Start) -> Self {
        Self { start, started_at: None, taken_to: 0, committed_to: None }
    }

    /// The first offset is known, and nothing of what comes from there on was taken.
    const fn begin_at(&mut self, offset: u64) {
        (self.started_at, self.taken_to, self.committed_to) = (Some(offset), offset, None);
    }
}

impl Chunk {
    /// Takes the first record; also says how many bytes it had.
    fn split_first(&mut self, topic: &Arc<str>) -> Option<(Message, usize)> {
        // The decoder has checked every record, so this fails only when there is none.
        let (record, _) = RecordRef::split_first(&self.records).ok()?;
        let message =
            Message::cut(&self.records, &record, Arc::clone(topic), self.first_offset, self.attempt);
        let len = record.as_bytes().len();
        self.records.advance(len);
        self.first_offset = self.first_offset.saturating_add(1);
        Some((message, len))
    }
}

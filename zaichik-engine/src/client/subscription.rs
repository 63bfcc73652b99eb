//! One subscription as the client sees it: what was received, taken and committed, and where to resume.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use zaichik_proto::{Delivery, Gap, RecordRef, Start};

use super::answer::SubscriptionId;
use super::config::SubscribeOptions;
use super::error::Violation;
use super::incoming::{Incoming, Message};

/// Offsets: `committed_to <= taken_to`, and what lies between `taken_to` and `next` is in `pieces`.
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
    /// Deliveries with a smaller number are stale (semantics A4).
    rewind: u32,
    pieces: VecDeque<Piece>,
    buffered: Buffered,
    /// The first offset that was not received on this connection.
    next: u64,
    /// The first offset that the application has not taken.
    taken_to: u64,
    /// The first offset that is not committed, once one was.
    committed_to: Option<u64>,
    /// Where it began in this instance of the broker.
    started_at: Option<u64>,
    /// What the next Subscribed is to tell the application.
    notice: Option<Notice>,
    last_delivered: Option<u64>,
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
    Event(Incoming),
}

/// Records of one delivery that were not taken yet, in wire form: nothing is allocated per message.
#[derive(Debug)]
struct Chunk {
    records: Bytes,
    first_offset: u64,
    attempt: u32,
}

impl Subscription {
    pub(super) fn new(id: SubscriptionId, topic: Arc<str>, options: SubscribeOptions, request: u32) -> Self {
        Self {
            id,
            topic,
            options,
            phase: Phase::Subscribing(request),
            is_ending: false,
            is_ready: false,
            rewind: 0,
            pieces: VecDeque::new(),
            buffered: Buffered::default(),
            next: 0,
            taken_to: 0,
            committed_to: None,
            started_at: None,
            notice: None,
            last_delivered: None,
        }
    }

    /// A Subscribed came.
    pub(super) fn begin(&mut self, rewind: u32, start: u64) {
        self.phase = Phase::Active;
        self.rewind = rewind;
        self.next = start;
        match self.notice.take() {
            Some(Notice::Reconnected) => {
                let from = self.resume_offset().unwrap_or(start);
                self.push(Incoming::Reconnected { from, start });
                return;
            }
            Some(Notice::Restarted) => self.push(Incoming::Restarted { start }),
            None => {}
        }
        self.started_at = Some(start);
        self.taken_to = start;
    }

    /// A new connection is open: forgets what was not taken and says where to begin.
    pub(super) fn resume(&mut self, same_instance: bool) -> Start {
        let restart_untold =
            self.pieces.iter().any(|piece| matches!(piece, Piece::Event(Incoming::Restarted { .. })));
        self.clear();
        if !same_instance {
            self.notice = Some(Notice::Restarted);
            (self.next, self.taken_to) = (0, 0);
            (self.committed_to, self.started_at, self.last_delivered) = (None, None, None);
        } else if restart_untold {
            self.notice = Some(Notice::Restarted);
        } else {
            self.notice.get_or_insert(Notice::Reconnected);
        }
        self.resume_offset().map_or(self.options.start, Start::Offset)
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
        let records = frame.slice_ref(delivery.records.as_bytes());
        self.buffered.messages = messages;
        self.buffered.bytes = self.buffered.bytes.saturating_add(records.len());
        self.pieces.push_back(Piece::Records(Chunk {
            records,
            first_offset: first,
            attempt: delivery.attempt,
        }));
        let done = self.committed_to.filter(|committed| *committed > first);
        if done.is_some() {
            self.drop_committed();
        }
        Ok(done.map(|committed| committed.min(self.next).saturating_sub(1)))
    }

    /// Takes in a gap; a stale one is dropped.
    pub(super) fn skip(&mut self, gap: &Gap) -> Result<(), Violation> {
        if self.admit(gap.rewind, gap.from)? {
            self.next = gap.to;
            self.push(Incoming::Gap { from: gap.from, to: gap.to, reason: gap.reason });
        }
        Ok(())
    }

    /// The next thing for the application.
    pub(super) fn take(&mut self) -> Option<Incoming> {
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
            self.taken_to = self.taken_to.max(after);
            return Some(Incoming::Message(message));
        }
        let Some(Piece::Event(event)) = self.pieces.pop_front() else {
            return None;
        };
        if let Incoming::Gap { to, .. } | Incoming::Reconnected { start: to, .. } = &event {
            self.taken_to = self.taken_to.max(*to);
        }
        Some(event)
    }

    /// Puts an event behind what waits already.
    pub(super) fn push(&mut self, event: Incoming) {
        if let (
            Some(Piece::Event(Incoming::Gap { to, reason, .. })),
            Incoming::Gap { to: new_to, reason: new_reason, .. },
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
    pub(super) fn end(&mut self, event: Incoming) {
        if self.phase == Phase::Over {
            return;
        }
        if self.is_ending {
            self.clear();
        }
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
        if self.committed_to.is_some_and(|committed| committed >= after) {
            return false;
        }
        self.committed_to = Some(after);
        self.drop_committed();
        self.phase == Phase::Active && offset < self.next
    }

    /// The first offset that is not committed.
    pub(super) fn cursor(&self) -> u64 {
        self.committed_to.or(self.started_at).unwrap_or(0)
    }

    pub(super) const fn taken_to(&self) -> u64 {
        self.taken_to
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

    pub(super) fn has_pieces(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Drops records that came again after a reconnect and are committed: the application has seen them.
    fn drop_committed(&mut self) {
        let committed = self.committed_to.unwrap_or(0);
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
        let started_at = self.started_at?;
        if self.options.window == 0 {
            return Some(self.taken_to);
        }
        Some(self.committed_to.unwrap_or(started_at))
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
            self.rewind = rewind;
            self.clear();
        } else if first < self.next {
            return Err(Violation::OffsetBack { subscription, after: self.next, got: first });
        }
        Ok(true)
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

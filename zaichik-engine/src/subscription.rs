//! One subscription: a cursor, a window, and where it reads next.

use zaichik_proto::{DeliveryHead, Limits, Refusal, RefusalCode};

use crate::id::{SessionId, SubKey, TopicId};
use crate::ring::Node;
use crate::topic::{CursorId, Position, Want};
use crate::window::Window;

/// Bytes of records in one Delivery frame, unless it holds a single larger record (semantics A7).
pub(crate) const MAX_DELIVERY: usize = Limits::MAX_DELIVERY_FRAME as usize - DeliveryHead::LEN;

/// A subscription; its topic's log is its only queue.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) session: SessionId,
    /// The number by which its client names it.
    pub(crate) number: u32,
    pub(crate) topic: TopicId,
    /// Its place in the ring of waiting, woken or ready subscriptions; alone while its window is full.
    pub(crate) node: Node,
    /// Its cursor's place in the topic.
    pub(crate) cursor_id: CursorId,
    /// The first offset that is not committed.
    cursor: u64,
    /// The first offset that was not delivered.
    next: Position,
    /// The first offset that could be delivered.
    start: u64,
    /// The highest offset delivered.
    last_delivered: Option<u64>,
    limit: u32,
    limit_bytes: u32,
    window: Window,
    /// What the ledger was told last.
    pub(crate) charged: usize,
}

/// Where a subscription begins and how much it takes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) number: u32,
    pub(crate) start: u64,
    /// Most records delivered and not committed; 0 turns commits off.
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
}

impl Subscription {
    pub(crate) fn new(
        session: SessionId,
        topic: TopicId,
        node: Node,
        cursor_id: CursorId,
        terms: Terms,
    ) -> Self {
        Self {
            session,
            number: terms.number,
            topic,
            node,
            cursor_id,
            cursor: terms.start,
            next: Position::at(terms.start),
            start: terms.start,
            last_delivered: None,
            limit: terms.window,
            limit_bytes: terms.window_bytes,
            window: Window::default(),
            charged: 0,
        }
    }

    /// Whether everything up to and including `offset` can be committed, and where the cursor would be then
    /// (semantics A2, A3).
    pub(crate) fn check_commit(&self, offset: u64) -> Result<u64, Refusal> {
        if self.limit == 0 {
            return Err(Refusal::new(RefusalCode::CommitsOff));
        }
        let next = self.next.offset;
        if offset >= next {
            return Err(Refusal::with_value(RefusalCode::CommitAhead, next));
        }
        if offset < self.cursor {
            return Ok(self.cursor);
        }
        // Past a gap the cursor moves by itself: the next record that is not done is where it stands (R9).
        Ok(self.window.first_above(offset).unwrap_or(next))
    }

    /// Everything below `cursor`, which [`check_commit`](Self::check_commit) gave, is done.
    pub(crate) fn commit(&mut self, cursor: u64) {
        self.cursor = cursor;
        if let Some(last) = cursor.checked_sub(1) {
            self.window.commit(last);
        }
    }

    /// Records with these offsets and sizes were put into the output; reading goes on at `next`.
    pub(crate) fn delivered(&mut self, sizes: impl Iterator<Item = usize>, next: Position) {
        if self.limit == 0 {
            self.cursor = next.offset;
        } else {
            for (size, offset) in sizes.zip(self.next.offset..) {
                self.window.push(offset, size);
            }
        }
        self.last_delivered = next.offset.checked_sub(1);
        self.next = next;
    }

    /// A gap was put into the output; its offsets count as delivered (R9).
    pub(crate) fn passed_gap(&mut self, to: u64) {
        self.next = Position::at(to);
        if self.window.is_empty() {
            self.cursor = to;
        }
    }

    /// How much it takes now; `None` if its window is full.
    pub(crate) fn wants(&self) -> Option<Want> {
        if self.limit == 0 {
            return Some(Want { records: u32::MAX, bytes: MAX_DELIVERY, single: usize::MAX });
        }
        let used = u32::try_from(self.window.len()).unwrap_or(u32::MAX);
        let records = self.limit.checked_sub(used).filter(|records| *records > 0)?;
        let bytes = u64::from(self.limit_bytes).saturating_sub(self.window.bytes());
        let left = usize::try_from(bytes).unwrap_or(usize::MAX);
        // A record larger than the whole window is still delivered, alone.
        let single = if self.window.is_empty() { usize::MAX } else { left };
        Some(Want { records, bytes: left.min(MAX_DELIVERY), single })
    }

    /// The first offset that was not delivered.
    pub(crate) const fn next(&self) -> Position {
        self.next
    }

    /// The first offset that is not committed.
    pub(crate) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The highest offset delivered.
    pub(crate) const fn last_delivered(&self) -> Option<u64> {
        self.last_delivered
    }

    /// Whether records were delivered that are not committed.
    pub(crate) fn has_uncommitted(&self) -> bool {
        !self.window.is_empty()
    }

    /// Bytes allocated, its places in tables and rings included.
    pub(crate) fn footprint(&self) -> usize {
        const TABLES: usize = 2 * (size_of::<(u32, SubKey)>() + size_of::<usize>()) + 16;
        size_of::<Self>().saturating_add(TABLES).saturating_add(self.window.footprint())
    }

    /// Whether cursor, window and reading position agree.
    pub(crate) fn is_consistent(&self) -> bool {
        let ordered = self.start <= self.cursor && self.cursor <= self.next.offset;
        let follows = self.limit > 0 || self.cursor == self.next.offset;
        ordered && follows && self.window.len() <= self.limit as usize
    }
}

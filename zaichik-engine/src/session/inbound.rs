//! Bytes received and not yet applied, and how many more may be received before the next exchange (rule S15).

use bytes::{Buf, BytesMut};

/// Bytes that an idle connection may send before it reserves more.
pub(crate) const IDLE_ROOM: usize = 512;

/// Room of a connection that is not idle, if there is memory.
const ACTIVE_ROOM: usize = 8 << 10;

/// Bytes of a frame that must arrive before the rest is reserved: what is only announced costs nothing (rule S13).
const ANNOUNCED: usize = 2 << 10;

/// Maximum room for a connection that sends faster than it is read, unless one frame is larger.
pub(crate) const BUSY_ROOM: usize = 128 << 10;

/// The factor by which the room grows while every read fills it.
const GROWTH: usize = 8;

/// The buffer of received bytes. It never grows beyond the room that was reserved for it.
#[derive(Debug)]
pub(super) struct Inbound {
    bytes: BytesMut,
    /// Bytes allocated.
    allocated: usize,
    /// Bytes that it may allocate.
    room: usize,
    /// Length of `bytes` when it was last observed.
    seen: usize,
    /// Bytes ever received.
    received: u64,
    /// Whether bytes were received since the last reservation.
    was_used: bool,
    /// Whether they filled the room.
    was_full: bool,
    /// Bytes ever moved to another allocation.
    #[cfg(test)]
    moved: usize,
}

/// What a session wants to receive before its next exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing: received requests wait until answers are read.
    Nothing,
    /// Whatever comes.
    More,
    /// The rest of a frame of this length, header included.
    Frame(usize),
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            allocated: 0,
            room: IDLE_ROOM,
            seen: 0,
            received: 0,
            was_used: false,
            was_full: false,
            #[cfg(test)]
            moved: 0,
        }
    }

    /// Where received bytes are appended.
    pub(super) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes ever received.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that are reserved for it: what it allocated, or may allocate.
    pub(super) fn reserved(&self) -> usize {
        self.allocated.max(self.room)
    }

    /// Observes bytes that were appended; returns whether there were any.
    pub(super) fn observe(&mut self) -> bool {
        let more = self.bytes.len().saturating_sub(self.seen);
        self.seen = self.bytes.len();
        self.received = self.received.saturating_add(more as u64);
        self.allocated = self.allocated.max(self.bytes.capacity());
        self.was_used |= more > 0;
        self.was_full |= more > 0 && self.bytes.len() >= self.room;
        more > 0
    }

    /// How many more bytes may be appended, if `limit` bytes may wait.
    pub(super) fn free(&self, limit: usize) -> usize {
        self.room.min(limit).saturating_sub(self.bytes.len())
    }

    /// Removes the bytes so that they can be read while the session changes; [`put_back`](Self::put_back) returns them.
    pub(super) fn take(&mut self) -> BytesMut {
        core::mem::take(&mut self.bytes)
    }

    /// Puts the bytes back, of which the first `taken` were applied.
    pub(super) fn put_back(&mut self, mut bytes: BytesMut, taken: usize) {
        if taken > 0 {
            bytes.advance(taken);
        }
        self.seen = bytes.len();
        self.bytes = bytes;
    }

    /// Removes applied bytes.
    pub(super) fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        self.seen = self.bytes.len();
    }

    /// Frees everything; nothing more is received.
    pub(super) fn close(&mut self) {
        *self = Self { room: 0, received: self.received, ..Self::new() };
    }

    /// Adapts the room to what is wanted, within `allowance` bytes. If memory is scarce, it keeps no more than it needs.
    /// Returns the bytes that it needs if that is more than it may have.
    #[inline]
    pub(super) fn reserve(&mut self, wish: Wish, allowance: usize, is_scarce: bool) -> Option<usize> {
        let is_unused = !self.was_used && self.bytes.is_empty() && wish == Wish::More;
        if is_unused && !is_scarce && self.is_settled(allowance) {
            return None;
        }
        self.adapt(wish, allowance, is_scarce)
    }

    /// Whether [`adapt`](Self::adapt) changes nothing if nothing was received, nothing waits and memory is not scarce.
    fn is_settled(&self, allowance: usize) -> bool {
        let is_allowed = self.room <= allowance.min(BUSY_ROOM) && self.room >= IDLE_ROOM;
        let has_memory = self.allocated == 0 || self.bytes.capacity() >= self.room;
        is_allowed && has_memory && self.allocated <= self.room
    }

    fn adapt(&mut self, wish: Wish, allowance: usize, is_scarce: bool) -> Option<usize> {
        let len = self.bytes.len();
        let (was_used, was_full) = (core::mem::take(&mut self.was_used), core::mem::take(&mut self.was_full));
        let usual = if was_used { ACTIVE_ROOM } else { IDLE_ROOM };
        let grown = self.room.saturating_mul(if was_full { GROWTH } else { 1 }).clamp(usual, BUSY_ROOM);
        let least = match wish {
            Wish::Nothing => len,
            Wish::Frame(frame) if frame > len && (frame <= ANNOUNCED || len >= ANNOUNCED) => frame,
            Wish::Frame(frame) if frame > len => ANNOUNCED,
            Wish::Frame(_) | Wish::More => len.saturating_add(IDLE_ROOM),
        };
        if least > allowance.max(self.reserved()) {
            // Nothing is received until there is memory. What was received stays.
            self.shrink_to(len);
            self.room = len;
            return Some(least);
        }
        let spare = match wish {
            Wish::Nothing => 0,
            Wish::Frame(_) | Wish::More => grown.max(self.allocated.min(BUSY_ROOM)).min(allowance),
        };
        self.room = if is_scarce { least } else { least.max(spare) }.max(IDLE_ROOM);
        if is_scarce || self.allocated > allowance {
            // Not to what was received: the rest of a frame would be moved once for each part that arrives.
            self.shrink_to(if len == 0 { 0 } else { self.room });
        }
        self.make_room();
        None
    }

    /// Frees spare memory: the connection is idle.
    pub(super) fn shrink(&mut self) {
        let len = self.bytes.len();
        self.shrink_to(len);
        self.room = len.max(IDLE_ROOM);
    }

    fn shrink_to(&mut self, capacity: usize) {
        if capacity == 0 {
            self.bytes = BytesMut::new();
        } else if self.allocated > capacity {
            self.move_to(capacity);
        }
        self.allocated = self.bytes.capacity();
    }

    /// Makes sure that appending within the room does not allocate more than the room. An empty buffer without memory
    /// gets it only when bytes arrive.
    fn make_room(&mut self) {
        let wanted = self.room.saturating_sub(self.bytes.len());
        let spare = self.bytes.capacity().saturating_sub(self.bytes.len());
        if self.allocated == 0 || spare >= wanted {
            return;
        }
        let applied = self.allocated.saturating_sub(self.bytes.capacity());
        if self.allocated >= self.room && applied >= self.bytes.len() {
            // The rest moves to the front of the same allocation.
            self.bytes.reserve(self.allocated.saturating_sub(self.bytes.len()));
        } else {
            self.move_to(self.room);
        }
        self.allocated = self.allocated.max(self.bytes.capacity());
    }

    /// Moves the bytes to an allocation of that size.
    fn move_to(&mut self, capacity: usize) {
        #[cfg(test)]
        {
            self.moved = self.moved.saturating_add(self.bytes.len());
        }
        let mut fresh = BytesMut::with_capacity(capacity);
        fresh.extend_from_slice(&self.bytes);
        self.bytes = fresh;
        self.allocated = self.bytes.capacity();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receive(inbound: &mut Inbound, count: usize) {
        let count = count.min(inbound.free(usize::MAX));
        inbound.buffer().extend_from_slice(&vec![7; count]);
        assert!(inbound.observe() || count == 0);
    }

    #[test]
    fn s15_the_room_grows_while_reads_fill_it_and_never_allocates_more() {
        let mut inbound = Inbound::new();
        let mut rooms = Vec::new();
        for _ in 0..8 {
            receive(&mut inbound, usize::MAX);
            rooms.push(inbound.len());
            assert!(inbound.allocated <= inbound.room, "{} of {}", inbound.allocated, inbound.room);
            let len = inbound.len();
            inbound.advance(len - 1);
            assert_eq!(inbound.reserve(Wish::More, usize::MAX, false), None);
        }
        assert_eq!(rooms, [512, 8_192, 65_536, BUSY_ROOM, BUSY_ROOM, BUSY_ROOM, BUSY_ROOM, BUSY_ROOM]);
    }

    #[test]
    fn s15_a_byte_left_over_does_not_keep_a_large_allocation_beyond_the_allowance() {
        let mut inbound = Inbound::new();
        for _ in 0..2 {
            receive(&mut inbound, usize::MAX);
            assert_eq!(inbound.reserve(Wish::Frame(1 << 20), 2 << 20, false), None);
        }
        receive(&mut inbound, usize::MAX);
        assert_eq!(inbound.len(), 1 << 20);
        inbound.advance(inbound.len() - 1);
        assert!(inbound.reserved() >= 1 << 20, "it is charged by its allocation, not by the byte in it");
        assert_eq!(inbound.reserve(Wish::More, 1 << 10, false), None);
        assert!(inbound.reserved() <= 1 << 10);
        assert_eq!(inbound.len(), 1);
    }

    #[test]
    fn s15_a_frame_that_is_larger_than_the_allowance_is_not_read() {
        let mut inbound = Inbound::new();
        receive(&mut inbound, usize::MAX);
        assert_eq!(inbound.reserve(Wish::Frame(5_000), 1_000, true), Some(2_048));
        assert_eq!((inbound.free(usize::MAX), inbound.reserved()), (0, 512));
        assert_eq!(inbound.reserve(Wish::Frame(5_000), 2_048, true), None);
        receive(&mut inbound, usize::MAX);
        assert_eq!(inbound.reserve(Wish::Frame(5_000), 4_999, true), Some(5_000));
        assert_eq!(inbound.free(usize::MAX), 0);
        assert_eq!(inbound.reserve(Wish::Frame(5_000), 5_000, true), None);
        assert_eq!(inbound.free(usize::MAX), 5_000 - 2_048);
    }

    #[test]
    fn s13_a_large_frame_is_reserved_when_2_kib_of_it_have_arrived() {
        let mut inbound = Inbound::new();
        receive(&mut inbound, 8);
        assert_eq!(inbound.reserve(Wish::Frame(1 << 20), usize::MAX, true), None);
        assert!(inbound.reserved() <= 2 << 10);
        receive(&mut inbound, usize::MAX);
        assert_eq!(inbound.len(), 2 << 10);
        assert_eq!(
            inbound.reserve(Wish::Frame(1 << 20), 512 << 10, false),
            Some(1 << 20),
            "all of it or nothing"
        );
        assert_eq!(inbound.reserve(Wish::Frame(1 << 20), usize::MAX, false), None);
        assert_eq!(inbound.reserved(), 1 << 20);
    }

    #[test]
    fn s14_the_parts_of_a_large_frame_are_moved_once_however_many_arrive_while_memory_is_scarce() {
        const FRAME: usize = 1 << 20;
        let mut inbound = Inbound::new();
        receive(&mut inbound, ANNOUNCED);
        while inbound.len() < FRAME {
            assert_eq!(inbound.reserve(Wish::Frame(FRAME), FRAME, true), None);
            receive(&mut inbound, 10_000);
        }
        assert!(inbound.moved <= 2 * ANNOUNCED, "{} bytes were moved", inbound.moved);
        assert_eq!(inbound.reserved(), FRAME);
    }

    #[test]
    fn s15_scarce_memory_is_not_kept_for_later() {
        let mut inbound = Inbound::new();
        receive(&mut inbound, usize::MAX);
        inbound.reserve(Wish::Frame(100_000), usize::MAX, false);
        receive(&mut inbound, usize::MAX);
        inbound.reserve(Wish::Frame(100_000), usize::MAX, false);
        assert_eq!(
            inbound.reserve(Wish::Frame(100_000), 10_000, true),
            None,
            "what was reserved stays reserved"
        );
        receive(&mut inbound, usize::MAX);
        inbound.advance(100_000);
        assert_eq!(inbound.reserve(Wish::More, usize::MAX, true), None);
        assert_eq!(inbound.reserved(), 512);
    }

    proptest! {
        #[test]
        fn s15_what_is_settled_does_not_change(
            steps in prop::collection::vec((0..10_000usize, any::<bool>(), 0..20_000usize, 0..8u8), 1..40),
        ) {
            let mut inbound = Inbound::new();
            for (more, applies_all, allowance, what) in steps {
                receive(&mut inbound, if what % 2 == 0 { more } else { 0 });
                inbound.advance(if applies_all { inbound.len() } else { inbound.len() / 2 });
                let is_scarce = what == 7;
                inbound.adapt(Wish::More, allowance, is_scarce);
                if inbound.is_empty() && inbound.is_settled(allowance) {
                    let state = |inbound: &Inbound| (inbound.room, inbound.allocated, inbound.bytes.capacity());
                    let before = state(&inbound);
                    prop_assert_eq!(inbound.adapt(Wish::More, allowance, false), None);
                    prop_assert_eq!(state(&inbound), before);
                }
            }
        }
    }

    #[test]
    fn s15_nothing_is_read_while_answers_wait() {
        let mut inbound = Inbound::new();
        receive(&mut inbound, 100);
        assert_eq!(inbound.reserve(Wish::Nothing, usize::MAX, false), None);
        assert_eq!(inbound.free(usize::MAX), 412, "only what was reserved already");
    }
}

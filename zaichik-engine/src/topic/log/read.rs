//! Finding records in a log: by offset, by time, by liveness and by limits.

use zaichik_proto::RecordHead;

use super::Log;
use super::chunk::{Chunk, Part, RecordState, own_death};
use super::losses::Losses;
use crate::topic::amount::Amount;
use crate::topic::position::{Position, Pull, Want};

impl Log {
    /// What a reader at `from` receives. [`expire`](Self::expire) was called with the same `now`.
    pub(crate) fn pull(&mut self, from: Position, want: Want, now: u64) -> Pull {
        if from.offset >= self.end {
            return Pull::End;
        }
        if from.offset < self.first.offset {
            return Pull::Gap { to: self.end_of_state(RecordState::Expired, self.first, now) };
        }
        let (at, index) = (self.locate(from), self.index_of(from.offset));
        if self.part(index).is_none_or(|part| part.may_hold_dead()) {
            match self.state_at(at, now).0 {
                RecordState::Live => {}
                RecordState::Expired => {
                    return Pull::Gap { to: self.end_of_state(RecordState::Expired, at, now) };
                }
                RecordState::Superseded => {
                    return Pull::Skip { to: self.end_of_state(RecordState::Superseded, at, now) };
                }
            }
        }
        if index == self.chunks.len() {
            self.freeze_tail();
        }
        let Some(chunk) = self.chunks.get(index) else {
            debug_assert!(false, "offset {} is in no chunk", at.offset);
            return Pull::End;
        };
        if chunk.cold.is_some() {
            return Pull::Cold { from: chunk.span.start, to: chunk.end };
        }
        let begin = at.byte as usize;
        let losses = chunk.losses.as_deref();
        let row =
            losses.and_then(Losses::sparse).map_or(chunk.end, |sparse| sparse.end_of_consecutive(at.offset));
        let left = row.saturating_sub(at.offset);
        let rest = chunk.data.get(begin..).unwrap_or_default();
        let (count, len) =
            if !chunk.span.has_own && left <= u64::from(want.records) && rest.len() <= want.bytes {
                (u32::try_from(left).unwrap_or(u32::MAX), rest.len())
            } else if chunk.span.has_own {
                let is_behind = self.is_behind(now);
                let ordinal = losses.and_then(|losses| losses.ordinal(chunk.span.start, at.offset));
                let ordinal = ordinal.unwrap_or_else(|| at.offset.saturating_sub(chunk.span.start));
                count_fitting(rest, left, want, |nth, head| {
                    let offset = at.offset.saturating_add(nth);
                    self.record_state(losses, ordinal.saturating_add(nth), offset, head, (now, is_behind))
                        == RecordState::Live
                })
            } else {
                count_fitting(rest, left, want, |_, _| true)
            };
        self.steps.add(u64::from(count));
        if count == 0 {
            return Pull::NoRoom;
        }
        let stop = begin.saturating_add(len);
        let offset = at.offset.saturating_add(u64::from(count));
        let next = seen(chunk.span.start, offset, stop);
        let data = chunk.data.slice(begin..stop);
        if offset == chunk.end
            && chunk.hot_until > 0
            && let Some(chunk) = self.chunks.get_mut(index)
        {
            chunk.hot_until = 0;
        }
        Pull::Records { data, count, next }
    }

    /// The first offset at or after `from` whose record is live; the end if none is. [`expire`](Self::expire) was
    /// called with the same `now`. If deaths are [settled](Self::settle), this is a search.
    pub(crate) fn first_live(&self, from: Position, now: u64) -> Position {
        let mut at = from.moved_to(from.offset.max(self.first.offset));
        while at.offset < self.end {
            match self.state_at(at, now) {
                (RecordState::Live, _) => return at,
                (_, next) => at = next,
            }
        }
        Position::at(self.end.max(from.offset))
    }

    /// Whether the record at an offset is live.
    pub(crate) fn is_live(&self, offset: u64, now: u64) -> bool {
        let exists = self.first.offset <= offset && offset < self.end;
        exists && self.state_at(Position::at(offset), now).0 == RecordState::Live
    }

    /// The bytes of the record at an offset, if it exists and is in memory.
    pub(crate) fn len_of(&self, offset: u64) -> Option<u32> {
        let exists = self.first.offset <= offset && offset < self.end;
        let part = self.part(self.index_of(offset)).filter(|part| exists && part.cold.is_none())?;
        let at = self.locate(Position::at(offset));
        let head = part.data.get(at.byte as usize..).and_then(RecordHead::peek)?;
        u32::try_from(head.len).ok()
    }

    /// The first offset from `from` on in another state.
    pub(super) fn end_of_state(&self, fate: RecordState, from: Position, now: u64) -> u64 {
        let mut at = from;
        while at.offset < self.end {
            match self.state_at(at, now) {
                (other, next) if other == fate => at = next,
                _ => break,
            }
        }
        at.offset
    }

    /// The state of an offset, and the next offset at which it may differ.
    pub(super) fn state_at(&self, at: Position, now: u64) -> (RecordState, Position) {
        self.steps.add(1);
        let Some(part) = self.part(self.index_of(at.offset)) else {
            debug_assert!(false, "offset {} is in no part", at.offset);
            return (RecordState::Expired, Position::at(self.end));
        };
        if !part.may_hold_dead() {
            return (RecordState::Live, Position::at(part.end));
        }
        let place = match part.losses {
            Some(losses) => losses.place(part.span.start, at.offset, part.end),
            None => at.offset.checked_sub(part.span.start).map(|ordinal| (ordinal, part.end)),
        };
        let Some((ordinal, end)) = place else {
            let sparse = part.losses.and_then(Losses::sparse);
            let (expired, end) = sparse.map_or((true, part.end), |sparse| sparse.gone(at.offset, part.end));
            return (if expired { RecordState::Expired } else { RecordState::Superseded }, at.moved_to(end));
        };
        if let Some((is_silent, stop)) = part.losses.and_then(|losses| losses.marked(ordinal)) {
            let state = if is_silent { RecordState::Superseded } else { RecordState::Expired };
            let stop = at.offset.saturating_add(stop.saturating_sub(ordinal)).min(end);
            return (state, at.moved_to(stop));
        }
        if !self.is_behind(now) {
            return (RecordState::Live, at.moved_to(at.offset.saturating_add(1)));
        }
        let at = self.locate(at);
        let next = at.moved_to(at.offset.saturating_add(1));
        let head = part.data.get(at.byte as usize..).and_then(RecordHead::peek);
        debug_assert!(head.is_some(), "no record at offset {}", at.offset);
        let state = head.map_or(RecordState::Expired, |head| {
            self.record_state(part.losses, ordinal, at.offset, head, (now, true))
        });
        (state, next)
    }

    /// The state of a present record, number `ordinal` of its part.
    fn record_state(
        &self,
        losses: Option<&Losses>,
        ordinal: u64,
        offset: u64,
        head: RecordHead,
        (now, is_behind): (u64, bool),
    ) -> RecordState {
        let own = own_death(head);
        if let Some(compaction) = &self.compaction {
            if losses.is_some_and(|losses| losses.is_silent(ordinal)) {
                return RecordState::Superseded;
            }
            // Deaths that are not settled yet are not marked.
            if is_behind && compaction.deaths.silent_death(offset, now).is_some_and(|death| death < own) {
                return RecordState::Superseded;
            }
        }
        if own <= now { RecordState::Expired } else { RecordState::Live }
    }

    /// The first offset whose record was accepted at or after a time; the end if none was.
    pub(crate) fn first_since(&self, time: u64) -> u64 {
        let index = self.chunks.partition_point(|chunk| chunk.span.last_timestamp < time);
        let Some(part) = self.part(index) else {
            return self.end;
        };
        let earlier = part.records(Position::at(part.span.start)).take_while(|one| {
            self.steps.add(1);
            one.head.timestamp < time
        });
        let offset = earlier.last().map_or(part.span.start, |one| one.offset.saturating_add(1));
        offset.max(self.first.offset)
    }

    /// The first offset from which the records are within the limits.
    pub(in crate::topic) fn first_within(&self, limits: Amount) -> u64 {
        if self.counts_live() {
            return self.first_within_alive(limits);
        }
        let by_count = self.first.offset.max(self.end.saturating_sub(limits.records));
        let below = self.end_bytes.saturating_sub(limits.bytes);
        if self.bytes() <= limits.bytes {
            return by_count;
        }
        let tail_begins_below = !self.tail.is_empty() && self.tail_span.base < below;
        let index = match self.chunks.partition_point(|chunk| chunk.span.base < below) {
            after if after == self.chunks.len() && tail_begins_below => after,
            after => after.saturating_sub(1),
        };
        let Some((part, at)) = self.part_from_first(index) else {
            return by_count;
        };
        if part.cold.is_some() {
            // It goes as a whole, or once it is read back.
            return by_count.max(at.offset);
        }
        let (mut offset, mut base) = (at.offset, part.base_of(at));
        let mut records = part.records(at);
        while base < below {
            self.steps.add(1);
            let Some(one) = records.next() else {
                offset = part.end;
                break;
            };
            if one.base >= below {
                offset = one.offset;
                break;
            }
            offset = one.offset.saturating_add(1);
            base = one.base.saturating_add(one.head.len as u64);
        }
        by_count.max(offset)
    }

    /// The offset after the last record whose topic's time to live is over. The first record is one of these.
    pub(super) fn end_of_retention(&self, now: u64, ttl: u64) -> u64 {
        let dead = |timestamp: u64| timestamp.saturating_add(ttl) <= now;
        let index = self.chunks.partition_point(|chunk| dead(chunk.span.last_timestamp));
        let Some((part, at)) = self.part_from_first(index) else {
            return self.end;
        };
        let expired = part.records(at).take_while(|one| {
            self.steps.add(1);
            dead(one.head.timestamp)
        });
        expired.last().map_or(at.offset, |one| one.offset.saturating_add(1))
    }

    /// A chunk or the tail, and the position of its first existing record. Uses the log's first position, so that no
    /// record is walked over repeatedly as that rises.
    #[inline]
    fn part_from_first(&self, index: usize) -> Option<(Part<'_>, Position)> {
        let part = self.part(index)?;
        if self.first.offset <= part.span.start || self.first.offset >= part.end {
            return Some((part, Position::at(part.span.start)));
        }
        Some((part, self.locate(self.first)))
    }

    /// The same offset with its byte position: found from the hint if that is still valid, else by a walk from the
    /// start of its chunk. A removed record has the position of the next one.
    pub(super) fn locate(&self, at: Position) -> Position {
        self.locate_from(at, false)
    }

    /// The same; if the hint `is_new`, which means that no chunk was rewritten since it was found, it is valid in a sparse chunk
    /// as well.
    pub(super) fn locate_from(&self, at: Position, is_new: bool) -> Position {
        let Some(Part { span, data, losses, cold, .. }) = self.part(self.index_of(at.offset)) else {
            return Position::at(at.offset);
        };
        if cold.is_some() {
            return at;
        }
        let (mut offset, mut byte) = (span.start, 0);
        let sparse = losses.and_then(Losses::sparse);
        if let Some(sparse) = sparse {
            let extent = sparse.extents().get(sparse.extent_from(at.offset));
            (offset, byte) =
                extent.map_or((at.offset, data.len()), |extent| (extent.start, extent.byte as usize));
        }
        // In a sparse chunk, hints from before the rewrite are invalid.
        let last_seen = at.chunk.saturating_add(u64::from(at.index));
        let may_be_used = (sparse.is_none() || is_new) && at.chunk == span.start;
        if may_be_used && (offset..=at.offset).contains(&last_seen) {
            (offset, byte) = (last_seen, at.byte as usize);
        }
        let from = offset;
        while offset < at.offset {
            let Some(head) = data.get(byte..).and_then(RecordHead::peek) else {
                break;
            };
            byte = byte.saturating_add(head.len);
            offset = offset.saturating_add(1);
        }
        self.steps.add(offset.saturating_sub(from));
        seen(span.start, offset, byte).moved_to(at.offset)
    }

    /// The index of the chunk that holds an existing offset; the number of chunks means the tail.
    pub(super) fn index_of(&self, offset: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.end <= offset)
    }

    /// A chunk, or the tail if it is not empty.
    pub(super) fn part(&self, index: usize) -> Option<Part<'_>> {
        if let Some(Chunk { span, end, data, losses, cold, .. }) = self.chunks.get(index) {
            return Some(Part {
                span: *span,
                end: *end,
                data,
                losses: losses.as_deref(),
                cold: cold.as_ref(),
            });
        }
        if self.tail.is_empty() {
            return None;
        }
        let losses = self.compaction.as_ref().and_then(|compaction| compaction.tail.as_deref());
        Some(Part { span: self.tail_span, end: self.end, data: &self.tail, losses, cold: None })
    }

    /// Bytes that the topic had accepted before the end of a chunk.
    pub(super) fn base_after(&self, index: usize) -> u64 {
        let next = self.chunks.get(index.saturating_add(1)).map(|next| next.span.base);
        let tail = || if self.tail.is_empty() { self.end_bytes } else { self.tail_span.base };
        next.unwrap_or_else(tail)
    }
}

/// The position of a record that begins at `byte` of the chunk that starts at offset `chunk`.
fn seen(chunk: u64, offset: u64, byte: usize) -> Position {
    let index = u32::try_from(offset.saturating_sub(chunk)).unwrap_or(u32::MAX);
    Position { offset, chunk, index, byte: u32::try_from(byte).unwrap_or(u32::MAX) }
}

/// The number of live records at the front of `rest` that a reader receives, and their bytes.
fn count_fitting(
    rest: &[u8],
    left: u64,
    want: Want,
    lives: impl Fn(u64, RecordHead) -> bool,
) -> (u32, usize) {
    let (mut count, mut len) = (0u32, 0usize);
    while u64::from(count) < left && count < want.records && len <= want.bytes {
        let Some(head) = rest.get(len..).and_then(RecordHead::peek) else {
            break;
        };
        if !lives(u64::from(count), head) {
            break;
        }
        let total = len.saturating_add(head.len);
        if total > want.bytes && (count > 0 || total > want.single) {
            break;
        }
        count = count.saturating_add(1);
        len = total;
    }
    (count, len)
}

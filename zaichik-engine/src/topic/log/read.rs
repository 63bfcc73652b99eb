//! Finding records in a log: by offset, by time, by what still lives and by what a limit leaves.

use zaichik_proto::RecordHead;

use super::{Log, Position, Pull, Span, Want};

impl Log {
    /// What a reader at `from` gets. [`expire`](Self::expire) was called with the same `now`.
    pub(crate) fn pull(&mut self, from: Position, want: Want, now: u64) -> Pull {
        if from.offset >= self.end {
            return Pull::End;
        }
        let at = self.first_live(from, now);
        if at.offset > from.offset {
            return Pull::Gap { to: at.offset };
        }
        if self.index_of(at.offset) == self.chunks.len() {
            self.freeze_tail();
        }
        let at = self.locate(at);
        let Some(chunk) = self.chunks.get(self.index_of(at.offset)) else {
            return Pull::End;
        };
        let begin = at.byte as usize;
        let left = chunk.end.saturating_sub(at.offset);
        let rest = chunk.data.get(begin..).unwrap_or_default();
        let (count, len) =
            if !chunk.span.has_own && left <= u64::from(want.records) && rest.len() <= want.bytes {
                (u32::try_from(left).unwrap_or(u32::MAX), rest.len())
            } else {
                run(rest, left, want, now)
            };
        if count == 0 {
            return Pull::NoRoom;
        }
        let stop = begin.saturating_add(len);
        let offset = at.offset.saturating_add(u64::from(count));
        let next = seen(chunk.span.start, offset, stop);
        Pull::Records { data: chunk.data.slice(begin..stop), count, next }
    }

    /// The first offset at or after `from` whose record lives by its own time to live; the end if none does.
    /// [`expire`](Self::expire) was called with the same `now`.
    pub(crate) fn first_live(&self, from: Position, now: u64) -> Position {
        let mut at = self.locate(from.moved_to(from.offset.max(self.first.offset)));
        while at.offset < self.end {
            let (Some(span), data) = self.part(self.index_of(at.offset)) else {
                break;
            };
            if !span.has_own && !data.is_empty() {
                return at;
            }
            let part_end = self.part_end(self.index_of(at.offset));
            if data.is_empty() || span.own_death <= now {
                at = self.locate(Position::at(part_end));
                continue;
            }
            let Some(head) = self.head_at(at) else { break };
            if own_death(head) > now {
                return at;
            }
            at = self.locate(at.moved_to(at.offset.saturating_add(1)));
        }
        Position::at(self.end.max(from.offset))
    }

    /// The first offset whose record was accepted at or after a time; the end if none was.
    pub(crate) fn first_since(&self, time: u64) -> u64 {
        let index = self.chunks.partition_point(|chunk| chunk.span.last_timestamp < time);
        let (Some(span), data) = self.part(index) else {
            return self.end;
        };
        let (mut offset, mut rest) = (span.start, data);
        while let Some(head) = RecordHead::peek(rest).filter(|head| head.timestamp < time) {
            offset = offset.saturating_add(1);
            rest = rest.get(head.len..).unwrap_or_default();
        }
        offset.max(self.first.offset)
    }

    /// The first offset from which on the records fit both limits.
    pub(crate) fn first_within(&self, max_messages: u64, max_bytes: u64) -> u64 {
        let by_count = self.first.offset.max(self.end.saturating_sub(max_messages));
        let below = self.end_bytes.saturating_sub(max_bytes);
        if self.bytes() <= max_bytes {
            return by_count;
        }
        let tail_begins_below = !self.tail.is_empty() && self.tail_span.base < below;
        let index = match self.chunks.partition_point(|chunk| chunk.span.base < below) {
            after if after == self.chunks.len() && tail_begins_below => after,
            after => after.saturating_sub(1),
        };
        let Some((mut offset, mut base, mut rest)) = self.existing(index) else {
            return by_count;
        };
        while base < below {
            let Some(head) = RecordHead::peek(rest) else {
                offset = self.part_end(index);
                break;
            };
            offset = offset.saturating_add(1);
            base = base.saturating_add(head.len as u64);
            rest = rest.get(head.len..).unwrap_or_default();
        }
        by_count.max(offset)
    }

    /// Bytes of the records from a position on.
    pub(crate) fn bytes_from(&self, at: Position) -> u64 {
        let at = self.locate(at);
        let (span, _) = self.part(self.index_of(at.offset));
        let begin = span.map_or(self.end_bytes, |span| span.base.saturating_add(u64::from(at.byte)));
        self.end_bytes.saturating_sub(begin)
    }

    /// The offset after the last record that the topic's time to live has ended; the first record is one.
    pub(super) fn end_of_expired(&self, now: u64, ttl: u64) -> u64 {
        let dead = |timestamp: u64| timestamp.saturating_add(ttl) <= now;
        let index = self.chunks.partition_point(|chunk| dead(chunk.span.last_timestamp));
        let Some((mut offset, _, mut rest)) = self.existing(index) else {
            return self.end;
        };
        while let Some(head) = RecordHead::peek(rest).filter(|head| dead(head.timestamp)) {
            offset = offset.saturating_add(1);
            rest = rest.get(head.len..).unwrap_or_default();
        }
        offset
    }

    /// The records of a chunk, or of the tail, that exist: the offset of the first one, the bytes accepted before it,
    /// and the bytes from it on. Nothing is walked through twice as the first record of the log rises.
    fn existing(&self, index: usize) -> Option<(u64, u64, &[u8])> {
        let (span, data) = self.part(index);
        let span = span?;
        if self.first.offset <= span.start || self.first.offset >= self.part_end(index) {
            return Some((span.start, span.base, data));
        }
        let first = self.locate(self.first);
        let rest = data.get(first.byte as usize..).unwrap_or_default();
        Some((first.offset, span.base.saturating_add(u64::from(first.byte)), rest))
    }

    /// The same offset with its place: found from what was seen, if that still holds, else by a walk from the
    /// start of its chunk.
    pub(super) fn locate(&self, at: Position) -> Position {
        let (Some(span), data) = self.part(self.index_of(at.offset)) else {
            return Position::at(at.offset);
        };
        let (mut offset, mut byte) = (span.start, 0);
        let last_seen = at.chunk.saturating_add(u64::from(at.index));
        if at.chunk == span.start && last_seen <= at.offset {
            (offset, byte) = (last_seen, at.byte as usize);
        }
        while offset < at.offset {
            let Some(head) = data.get(byte..).and_then(RecordHead::peek) else {
                break;
            };
            byte = byte.saturating_add(head.len);
            offset = offset.saturating_add(1);
        }
        seen(span.start, offset, byte).moved_to(at.offset)
    }

    fn head_at(&self, at: Position) -> Option<RecordHead> {
        if at.offset >= self.end {
            return None;
        }
        let at = self.locate(at);
        let (_, data) = self.part(self.index_of(at.offset));
        data.get(at.byte as usize..).and_then(RecordHead::peek)
    }

    /// Which chunk holds an offset that exists; the number of chunks stands for the tail.
    pub(super) fn index_of(&self, offset: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.end <= offset)
    }

    /// A chunk's span and bytes, or the tail's.
    pub(super) fn part(&self, index: usize) -> (Option<Span>, &[u8]) {
        match self.chunks.get(index) {
            Some(chunk) => (Some(chunk.span), &chunk.data),
            None if self.tail.is_empty() => (None, &[]),
            None => (Some(self.tail_span), &self.tail),
        }
    }

    fn part_end(&self, index: usize) -> u64 {
        self.chunks.get(index).map_or(self.end, |chunk| chunk.end)
    }
}

/// When a record dies by its own time to live; `u64::MAX` if it has none.
pub(super) fn own_death(head: RecordHead) -> u64 {
    head.ttl_micros.map_or(u64::MAX, |ttl| head.timestamp.saturating_add(ttl))
}

/// The position of a record that begins at `byte` of the chunk that starts at offset `chunk`.
fn seen(chunk: u64, offset: u64, byte: usize) -> Position {
    let index = u32::try_from(offset.saturating_sub(chunk)).unwrap_or(u32::MAX);
    Position { offset, chunk, index, byte: u32::try_from(byte).unwrap_or(u32::MAX) }
}

/// How many records at the front of `rest` a reader takes, and their bytes.
fn run(rest: &[u8], left: u64, want: Want, now: u64) -> (u32, usize) {
    let (mut count, mut len) = (0u32, 0usize);
    while u64::from(count) < left && count < want.records && len <= want.bytes {
        let Some(head) = rest.get(len..).and_then(RecordHead::peek) else {
            break;
        };
        if own_death(head) <= now {
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

pub(super) fn count_records(mut data: &[u8]) -> u64 {
    let mut count = 0u64;
    while let Some(head) = RecordHead::peek(data) {
        count = count.saturating_add(1);
        data = data.get(head.len..).unwrap_or_default();
    }
    count
}

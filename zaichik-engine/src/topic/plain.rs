//! The short way into the log: publishes that need no look at keys, to a topic that has room for them or makes it.
//!
//! Several of them are followed by one [`Topic::appended`].

use zaichik_proto::{CompactionMode, Overflow, PlainPublishes, RECORD_OVERHEAD, Records};

use super::{Retired, Topic};
use zaichik_proto::Timestamp;

/// Publishes of one record each that were appended one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The request of the first one.
    pub(crate) request: u32,
    pub(crate) first_offset: u64,
    /// How many there are, at least one.
    pub(crate) count: u32,
    /// Bytes of their records.
    pub(crate) bytes: usize,
}

/// How much fits.
#[derive(Debug, Clone, Copy)]
struct Room {
    records: u64,
    bytes: u64,
}

impl Topic {
    /// Accepts records of a publish that need no look at keys and find room under every limit, or where the oldest ones
    /// make way: the offset of the first one. Otherwise nothing happens.
    #[inline]
    pub(crate) fn append_plain(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        max_message: u32,
        retired: &mut Retired,
    ) -> Option<u64> {
        let (count, bytes) = (u64::from(records.len()), records.as_bytes().len());
        let room = self.plain_room(now, Room { records: count, bytes: bytes as u64 })?;
        if bytes > max_message as usize || room.records < count || room.bytes < bytes as u64 {
            return None;
        }
        let first = self.log.end();
        self.last_append = now;
        if self.is_unread() {
            self.log.skip(count, now.as_micros());
            return Some(first);
        }
        for (record, head) in records.heads() {
            self.log.append(record, head.ttl_micros, now.as_micros(), retired);
        }
        Some(first)
    }

    /// Accepts such publishes, as far as they go and their records have at most `bytes` bytes; `None` if there is none.
    #[inline]
    pub(crate) fn append_alike(
        &mut self,
        now: Timestamp,
        alike: &mut PlainPublishes<'_, '_>,
        bytes: usize,
        max_message: u32,
        retired: &mut Retired,
    ) -> Option<Appended> {
        let most = (bytes / RECORD_OVERHEAD) as u64;
        let mut room = self.plain_room(now, Room { records: most, bytes: bytes as u64 })?;
        let (first_offset, mut request, mut total) = (self.log.end(), None, 0usize);
        let mut next = |most: usize| {
            if room.records == 0 {
                return None;
            }
            let left = usize::try_from(room.bytes).unwrap_or(usize::MAX);
            let (number, record) = alike.next_within(most.min(left).min(max_message as usize))?;
            request.get_or_insert(number);
            room.records = room.records.saturating_sub(1);
            room.bytes = room.bytes.saturating_sub(record.len() as u64);
            total = total.saturating_add(record.len());
            Some(record)
        };
        if self.is_unread() {
            let count =
                core::iter::from_fn(|| next(usize::MAX)).fold(0, |count: u64, _| count.saturating_add(1));
            self.log.skip(count, now.as_micros());
        } else {
            self.log.append_run(now.as_micros(), retired, next);
        }
        let count = u32::try_from(self.log.end().saturating_sub(first_offset)).unwrap_or(u32::MAX);
        self.last_append = now;
        Some(Appended { request: request?, first_offset, count, bytes: total })
    }

    /// How much of what is wanted may be appended without a look at each record; `None` if each needs one.
    #[inline]
    fn plain_room(&mut self, now: Timestamp, wanted: Room) -> Option<Room> {
        let super::TopicSettings {
            compaction,
            compaction_window_micros,
            max_messages,
            max_bytes,
            overflow,
            ..
        } = self.settings;
        // The last offset is never given out, so that "the offset after" always exists.
        let has_offsets = self.log.end().checked_add(wanted.records).is_some_and(|end| end < u64::MAX);
        if compaction != CompactionMode::First || compaction_window_micros > 0 || !has_offsets {
            return None;
        }
        let records = max_messages.saturating_sub(self.log.len());
        let bytes = max_bytes.saturating_sub(self.log.bytes());
        if records >= wanted.records && bytes >= wanted.bytes {
            return Some(wanted);
        }
        if overflow != Overflow::DropOldest {
            return Some(Room { records, bytes });
        }
        // The oldest records make way when all of the run is there; what is over by itself does not go because of a limit (R9).
        self.age(now.as_micros());
        Some(Room { records: wanted.records.min(max_messages), bytes: wanted.bytes.min(max_bytes) })
    }
}

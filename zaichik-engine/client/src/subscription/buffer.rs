//! Messages and events that were received for a subscription and not yet taken by the application.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use zaichik_proto::{GapReason, RecordRef};

use crate::event::{Event, Message};

/// Maximum messages and events with which gaps that are not adjacent are kept apart.
const MAX_ITEMS: usize = 1_024;

/// Messages and events, in the order in which the application takes them.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    items: VecDeque<Item>,
    messages: u32,
    bytes: usize,
}

#[derive(Debug)]
enum Item {
    Records(ReceivedRecords),
    Event(Event),
}

/// The rest of one delivery's records, in wire form: nothing is allocated per message.
#[derive(Debug, Clone)]
pub(super) struct ReceivedRecords {
    pub(super) records: Bytes,
    pub(super) first_offset: u64,
    pub(super) attempt: u32,
}

impl Buffer {
    /// The next message or event.
    pub(super) fn take(&mut self, topic: &Arc<str>) -> Option<Event> {
        while let Item::Records(records) = self.items.front_mut()? {
            let first = records.split_first(topic);
            if records.records.is_empty() || first.is_none() {
                self.items.pop_front();
            }
            if let Some((message, len)) = first {
                self.remove_message(len);
                return Some(Event::Message(message));
            }
        }
        match self.items.pop_front()? {
            Item::Event(event) => Some(event),
            // The loop above ends at an event.
            Item::Records(_) => None,
        }
    }

    /// Adds `count` records of a delivery.
    pub(super) fn push_records(&mut self, count: u32, records: ReceivedRecords) {
        self.messages = self.messages.saturating_add(count);
        self.bytes = self.bytes.saturating_add(records.records.len());
        self.items.push_back(Item::Records(records));
    }

    /// Adds an event; a gap that follows a gap extends it.
    pub(super) fn push_event(&mut self, event: Event) {
        if let (
            Some(Item::Event(Event::Gap { to, reason, .. })),
            Event::Gap { to: new_to, reason: new_reason, .. },
        ) = (self.items.back_mut(), &event)
        {
            // Gaps do not count in the window, so merging them bounds the buffer. Limit is the more serious reason.
            *to = *new_to;
            *reason = (*reason).max(*new_reason);
            return;
        }
        self.items.push_back(Item::Event(event));
    }

    /// Adds a gap of a shared subscription, where one that follows another may be far from it.
    pub(super) fn push_gap(&mut self, from: u64, to: u64, reason: GapReason) {
        let is_adjacent = match self.items.back() {
            Some(Item::Event(Event::Gap { to: before, .. })) => *before == from,
            _ => true,
        };
        if is_adjacent || self.items.len() >= MAX_ITEMS {
            self.push_event(Event::Gap { from, to, reason });
        } else {
            self.items.push_back(Item::Event(Event::Gap { from, to, reason }));
        }
    }

    /// Drops the oldest messages, so that at most `count` are left, and at most `bytes` of records or a single one.
    pub(super) fn keep_newest(&mut self, count: u32, bytes: usize, topic: &Arc<str>) {
        while self.messages > count || (self.bytes > bytes && self.messages > 1) {
            let oldest = self.items.iter_mut().find_map(|item| match item {
                Item::Records(records) => records.split_first(topic),
                Item::Event(_) => None,
            });
            let Some((_, len)) = oldest else {
                return;
            };
            self.remove_message(len);
        }
        self.drop_empty();
    }

    /// Drops messages with these offsets.
    pub(super) fn drop_offsets(&mut self, offsets: Range<u64>, topic: &Arc<str>) {
        for item in core::mem::take(&mut self.items) {
            let Item::Records(mut records) = item else {
                self.items.push_back(item);
                continue;
            };
            if records.first_offset < offsets.start {
                let mut after = records.clone();
                while after.first_offset < offsets.start && after.split_first(topic).is_some() {}
                let before = records.records.len().saturating_sub(after.records.len());
                records.records.truncate(before);
                self.items.push_back(Item::Records(records));
                records = after;
            }
            while offsets.contains(&records.first_offset)
                && let Some((_, len)) = records.split_first(topic)
            {
                self.remove_message(len);
            }
            self.items.push_back(Item::Records(records));
        }
        self.drop_empty();
    }

    /// Drops what is not a message.
    pub(super) fn drop_events(&mut self) {
        self.items.retain(|item| matches!(item, Item::Records(_)));
    }

    fn drop_empty(&mut self) {
        self.items.retain(|item| !matches!(item, Item::Records(records) if records.records.is_empty()));
    }

    /// Drops messages before `committed`, which the application saw on an earlier connection.
    pub(super) fn drop_before(&mut self, committed: u64, topic: &Arc<str>) {
        let (mut messages, mut bytes) = (0u32, 0usize);
        for item in &mut self.items {
            let Item::Records(records) = item else {
                continue;
            };
            if records.first_offset >= committed {
                break;
            }
            while records.first_offset < committed
                && let Some((_, len)) = records.split_first(topic)
            {
                messages = messages.saturating_add(1);
                bytes = bytes.saturating_add(len);
            }
        }
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Drops messages that a rewind made stale, but keeps events about the connection.
    pub(super) fn drop_stale(&mut self, is_moved: bool) {
        self.items.retain(|item| match item {
            Item::Event(Event::Restarted { .. }) => true,
            // The position at which deliveries resumed is obsolete once the subscription was moved.
            Item::Event(Event::Reconnected { .. }) => !is_moved,
            Item::Event(_) | Item::Records(_) => false,
        });
        (self.messages, self.bytes) = (0, 0);
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        (self.messages, self.bytes) = (0, 0);
    }

    /// Whether an [`Event::Restarted`] has not been taken yet.
    pub(super) fn holds_restarted(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Event(Event::Restarted { .. })))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) const fn messages(&self) -> u32 {
        self.messages
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove_message(&mut self, len: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len);
    }
}

impl ReceivedRecords {
    /// Takes the first record; also returns its length in bytes.
    fn split_first(&mut self, topic: &Arc<str>) -> Option<(Message, usize)> {
        // The decoder has checked every record, so this fails only when none remains.
        let (record, _) = RecordRef::split_first(&self.records).ok()?;
        let message =
            Message::cut(&self.records, &record, Arc::clone(topic), self.first_offset, self.attempt);
        let len = record.as_bytes().len();
        self.records.advance(len);
        self.first_offset = self.first_offset.saturating_add(1);
        Some((message, len))
    }
}

#[cfg(test)]
mod tests {
    use zaichik_proto::{GapReason, Record};

    use super::*;

    const fn gap(from: u64, to: u64, reason: GapReason) -> Event {
        Event::Gap { from, to, reason }
    }

    fn filled(first_offset: u64, count: u32) -> Buffer {
        let mut bytes = Vec::new();
        for _ in 0..count {
            Record { body: b"body", timestamp: 5, ..Record::default() }.encode(&mut bytes);
        }
        let mut buffer = Buffer::default();
        buffer.push_records(count, ReceivedRecords { records: bytes.into(), first_offset, attempt: 1 });
        buffer
    }

    #[test]
    fn messages_and_events_are_taken_in_order_and_counted() {
        let topic = Arc::from("t");
        let mut buffer = filled(3, 2);
        buffer.push_event(Event::Fenced);
        for (offset, remaining) in [(3, 1), (4, 0)] {
            let Some(Event::Message(message)) = buffer.take(&topic) else { panic!("no message") };
            assert_eq!((message.offset, buffer.messages()), (offset, remaining));
        }
        assert_eq!(buffer.bytes(), 0);
        assert_eq!(buffer.take(&topic), Some(Event::Fenced));
        assert_eq!(buffer.take(&topic), None);
    }

    #[test]
    fn adjacent_gaps_merge_under_the_more_serious_reason() {
        let mut buffer = Buffer::default();
        buffer.push_event(gap(1, 3, GapReason::Limit));
        buffer.push_event(gap(3, 5, GapReason::Expired));
        assert_eq!(buffer.take(&Arc::from("t")), Some(gap(1, 5, GapReason::Limit)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn committed_messages_are_dropped_from_the_front() {
        let topic = Arc::from("t");
        let mut buffer = filled(3, 3);
        buffer.drop_before(5, &topic);
        assert_eq!(buffer.messages(), 1);
        let Some(Event::Message(message)) = buffer.take(&topic) else { panic!("no message") };
        assert_eq!(message.offset, 5);
    }

    #[test]
    fn the_newest_messages_are_kept_within_both_bounds() {
        let topic = Arc::from("t");
        let (one, all) = (filled(3, 1).bytes(), filled(3, 3).bytes());
        let (below_one, below_all) = (one.saturating_sub(1), all.saturating_sub(1));
        for (count, bytes, first) in
            [(3, all, 3), (2, all, 4), (3, below_all, 4), (3, one, 5), (3, below_one, 5), (1, 0, 5)]
        {
            let mut buffer = filled(3, 3);
            buffer.push_gap(9, 10, GapReason::Expired);
            buffer.keep_newest(count, bytes, &topic);
            let Some(Event::Message(message)) = buffer.take(&topic) else { panic!("no message") };
            assert_eq!(message.offset, first, "{count} messages, {bytes} bytes");
            while let Some(Event::Message(_)) = buffer.take(&topic) {}
            assert_eq!((buffer.messages(), buffer.bytes()), (0, 0));
            assert!(buffer.is_empty(), "the gap was taken last");
        }
    }

    #[test]
    fn a_rewind_keeps_an_untaken_restart_event() {
        let mut buffer = filled(3, 1);
        buffer.push_event(Event::Restarted { start: 0 });
        buffer.push_event(gap(0, 1, GapReason::Expired));
        buffer.drop_stale(true);
        assert!(buffer.holds_restarted());
        assert_eq!((buffer.messages(), buffer.bytes()), (0, 0));
        assert_eq!(buffer.take(&Arc::from("t")), Some(Event::Restarted { start: 0 }));
        assert!(buffer.is_empty());
    }
}

//! Runs of publishes: what follows from a publish is done once for all of them.

use zaichik_proto::{AckLevel, PlainPublishes, Publish};

use super::Broker;
use super::publish::APPEND_ROOM;
use crate::id::TopicId;
use crate::topic::Appended;
use zaichik_proto::Timestamp;

/// Most bytes of publishes that are settled together: so much may be stored and not charged yet.
const RUN_BYTES: usize = 64 << 10;

/// Publishes of one connection, one after the other, to one topic: what follows from them is done once for all of them.
///
/// Between its first publish and [`Broker::settle_run`] nobody may look at the topic; the topic that a connection
/// published to last is known beyond that, because it is most often the next one as well.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    topic: Option<TopicId>,
    /// Records that are not settled.
    records: u64,
    /// Their bytes.
    bytes: usize,
    /// How many bytes there is memory for.
    room: usize,
}

impl Run {
    /// The topic that was published to last.
    pub(crate) const fn topic(&self) -> Option<TopicId> {
        self.topic
    }

    /// Something else was published to another topic.
    pub(crate) const fn turn_to(&mut self, topic: Option<TopicId>) {
        self.topic = topic;
    }

    /// Bytes that are stored and not charged yet.
    pub(crate) const fn uncharged(&self) -> usize {
        self.bytes
    }
}

impl Broker {
    /// Accepts a publish that goes where the last one went and asks for nothing special: the offset of its first record.
    /// `room` is what remembering its answer may cost.
    #[inline]
    pub(super) fn extend_run(
        &mut self,
        now: Timestamp,
        run: &mut Run,
        publish: &Publish<'_>,
        room: usize,
    ) -> Option<u64> {
        let bytes = run.bytes.saturating_add(publish.records.as_bytes().len());
        if bytes.saturating_add(room) > self.room_of(run) || publish.ack == AckLevel::Durable {
            return None;
        }
        let topic = self.topics.get_mut(run.topic?.index())?;
        if topic.name.as_bytes() != publish.topic {
            return None;
        }
        let max_message = self.config.wire.max_message;
        let first = topic.append_plain(now, publish.records, max_message, &mut self.retired)?;
        run.records = run.records.saturating_add(u64::from(publish.records.len()));
        run.bytes = bytes;
        self.duplicates.clear();
        Some(first)
    }

    /// Accepts publishes like the one before, as far as they go where that went and ask for nothing special; `None` if
    /// there is none.
    #[inline]
    pub(crate) fn extend_run_alike(
        &mut self,
        now: Timestamp,
        run: &mut Run,
        like: &Publish<'_>,
        alike: &mut PlainPublishes<'_, '_>,
    ) -> Option<Appended> {
        let room = self.room_of(run).saturating_sub(run.bytes);
        let topic = self.topics.get_mut(run.topic?.index())?;
        if topic.name.as_bytes() != like.topic || like.ack == AckLevel::Durable {
            return None;
        }
        let max_message = self.config.wire.max_message;
        let appended = topic.append_alike(now, alike, room, max_message, &mut self.retired)?;
        run.records = run.records.saturating_add(u64::from(appended.count));
        run.bytes = run.bytes.saturating_add(appended.bytes);
        Some(appended)
    }

    /// Does what is left to do for a run of publishes, before anybody looks at their topic.
    pub(crate) fn settle_run(&mut self, now: Timestamp, run: &mut Run) {
        let count = core::mem::take(&mut run.records);
        let bytes = core::mem::take(&mut run.bytes) as u64;
        let Some(id) = run.topic.filter(|_| count > 0) else {
            return;
        };
        let Some(topic) = self.topics.get_mut(id.index()) else {
            return;
        };
        topic.appended(now, &mut self.retired);
        self.rings.splice(topic.waiting, self.woken);
        self.settle_topic(id);
        self.stats.records_accepted = self.stats.records_accepted.saturating_add(count);
        self.stats.bytes_accepted = self.stats.bytes_accepted.saturating_add(bytes);
    }

    /// How many bytes a run may have; none while the broker stops.
    #[inline]
    fn room_of(&self, run: &mut Run) -> usize {
        if run.records == 0 {
            let taken = self.ledger().total().saturating_add(APPEND_ROOM as u64);
            let room = usize::try_from(self.config.memory_budget.saturating_sub(taken)).unwrap_or(RUN_BYTES);
            run.room = if self.stops_at.is_some() { 0 } else { room.min(RUN_BYTES) };
        }
        run.room
    }
}

//! Records that fail too often go to another topic (semantics A6).

use zaichik_proto::{
    CompactionMode, Limits, MAX_HEADERS, Overflow, Record, RecordRef, Records, Refusal, RefusalCode,
    Subscribe, TopicName,
};

use super::Broker;
use super::topics::topic_name;
use crate::config::TopicSettings;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::subscription::DeadLetter;
use crate::topic::Intake;
use zaichik_proto::Timestamp;

/// Shortest pause after a dead-letter topic refused a record, in microseconds.
pub(super) const REFUSED_PAUSE: u64 = 1_000_000;

/// How a record failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// A Nack named it.
    Nack,
    /// The connection ended while it was the only uncommitted one.
    Disconnected,
}

/// What becomes of a record that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is delivered again.
    Stays,
    /// It is in the dead-letter topic.
    Moved,
    /// The dead-letter topic did not take it: it is delivered again after a pause.
    Refused,
}

impl Broker {
    /// Whether the dead-letter topic that a Subscribe names can be used, before anything is created.
    pub(super) fn check_dead_letter(
        &self,
        topic: TopicName<'_>,
        request: &Subscribe<'_>,
    ) -> Result<(), Refusal> {
        let invalid = Refusal::new(RefusalCode::InvalidDeadLetter);
        if request.max_attempts == 0 || request.dead_letter.is_empty() {
            return Ok(());
        }
        let name = topic_name(request.dead_letter).map_err(|_| invalid)?;
        let known = self.find_topic(name.as_str()).and_then(|id| self.topics.get(id.index()));
        if name == topic || known.is_some_and(|topic| topic.settings.is_live_only()) {
            return Err(invalid);
        }
        Ok(())
    }

    /// The dead-letter topic of a Subscribe that was checked; it is created if there is none.
    pub(super) fn dead_letter_topic(
        &mut self,
        session: SessionId,
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Option<DeadLetter>, Refusal> {
        let Some(max_attempts) = core::num::NonZeroU32::new(request.max_attempts) else {
            return Ok(None);
        };
        if request.dead_letter.is_empty() {
            return Ok(None);
        }
        let name = topic_name(request.dead_letter)?;
        if let Some(topic) = self.find_topic(name.as_str()) {
            return Ok(Some(DeadLetter { topic, max_attempts }));
        }
        let defaults = self.config.topic_defaults;
        // Every dead letter is kept, also of a key that has one already.
        let settings = TopicSettings {
            retention_ttl_micros: u64::MAX,
            overflow: Overflow::Reject,
            compaction: CompactionMode::First,
            compaction_window_micros: 0,
            ..defaults
        };
        let topic = self.add_topic(name.as_str(), settings)?;
        let created = self.topics.get_mut(topic.index()).map(|topic| {
            topic.explicit = true;
            topic.name.clone()
        });
        let event = NoteEvent::TopicReady(zaichik_proto::TopicStatus::Created);
        effects.note(|| Note { session, topic: created, event });
        Ok(Some(DeadLetter { topic, max_attempts }))
    }

    /// A delivered record failed; if that was once too often, it is copied to the dead-letter topic. The caller moves
    /// the subscription.
    pub(super) fn record_failed(
        &mut self,
        now: Timestamp,
        key: SubKey,
        offset: u64,
        failure: Failure,
    ) -> Fate {
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return Fate::Stays;
        };
        let Some(DeadLetter { topic: target, max_attempts }) = subscription.terms.dead_letter else {
            return Fate::Stays;
        };
        let failures = subscription.fail(offset);
        let topic = self.topics.get_mut(subscription.topic.index());
        let Some(topic) = topic.filter(|_| failures >= max_attempts.get()) else {
            return Fate::Stays;
        };
        // What is no longer live becomes a gap instead (R9).
        let Some(bytes) = topic.record(now, offset) else {
            return Fate::Stays;
        };
        let subscription_name = subscription.durable.as_ref().map_or("", |durable| &durable.name);
        let origin =
            Origin { topic: &topic.name, offset, subscription: subscription_name, failures, failure };
        let Some(copy) = origin.copy(&bytes) else {
            return Fate::Stays;
        };
        if self.append_copy(now, target, &copy).is_ok() {
            self.stats.dead_letters = self.stats.dead_letters.saturating_add(1);
            Fate::Moved
        } else {
            self.stats.dead_letters_refused = self.stats.dead_letters_refused.saturating_add(1);
            Fate::Refused
        }
    }

    /// Appends a record that the broker itself made.
    fn append_copy(&mut self, now: Timestamp, id: TopicId, record: &[u8]) -> Result<(), Refusal> {
        if is_planted(Defect::DeadLetterLost) {
            return Ok(());
        }
        if record.len() > self.config.wire.max_message.saturating_add(Limits::FRAME_ROOM) as usize {
            // Dead letters of dead letters grow. Every frame of the broker has room for so much (docs/protocol.md 3.3);
            // one that no Delivery can bring would stop every reader for ever.
            return Err(Refusal::with_value(RefusalCode::TooLarge, u64::from(self.config.wire.max_message)));
        }
        self.check_memory(record.len())?;
        let topic = self.topics.get_mut(id.index()).ok_or(Refusal::new(RefusalCode::UnknownTopic))?;
        if topic.settings.is_live_only() {
            // Its settings were changed: nobody would find the record there.
            return Err(Refusal::new(RefusalCode::InvalidDeadLetter));
        }
        let mut intake = Intake {
            // The headers that tell where it comes from may bring it above the limit.
            max_message: u32::MAX,
            hash_key: self.seed.hash_key,
            duplicates: &mut self.duplicates,
            retired: &mut self.retired,
        };
        let accepted = topic.publish(now, Records::from_encoded(1, record), &mut intake);
        let waiting = topic.waiting;
        if accepted.is_ok() {
            self.rings.splice(waiting, self.woken);
        }
        self.settle_topic(id);
        match accepted?.count {
            // Its key is known to a topic that compacts. It is not dropped for that: the window ends some time.
            0 => Err(Refusal::new(RefusalCode::InvalidDeadLetter)),
            _ => Ok(()),
        }
    }
}

/// Where a dead letter comes from.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    topic: &'a str,
    offset: u64,
    subscription: &'a str,
    failures: u32,
    failure: Failure,
}

impl Origin<'_> {
    /// The record with headers that tell where it comes from and why, before its own as far as there is room.
    fn copy(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (record, _) = RecordRef::split_first(bytes).ok()?;
        let (offset, failures) = (self.offset.to_string(), self.failures.to_string());
        let reason = match self.failure {
            Failure::Nack => "nack",
            Failure::Disconnected => "disconnected",
        };
        let own = [
            ("zaichik-topic", self.topic),
            ("zaichik-offset", &offset),
            ("zaichik-subscription", self.subscription),
            ("zaichik-failures", &failures),
            ("zaichik-reason", reason),
        ];
        let own = own.into_iter().map(|(name, value)| (name, value.as_bytes()));
        let headers: Vec<_> = own.chain(record.headers().iter()).take(MAX_HEADERS).collect();
        let copy = Record {
            key: record.key(),
            headers: &headers,
            body: record.body(),
            ttl_micros: None,
            tombstone: record.is_tombstone(),
            timestamp: 0,
        };
        let mut encoded = Vec::with_capacity(copy.encoded_len());
        copy.encode(&mut encoded);
        Some(encoded)
    }
}

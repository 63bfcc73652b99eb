//! Copying records that failed too often to another topic (rule A6).

use core::num::NonZeroU32;

use zaichik_proto::{
    CompactionMode, Limits, MAX_HEADERS, Overflow, Record, RecordRef, Records, Refusal, RefusalCode,
    Subscribe, TopicName,
};

use super::counters::{Counters, bump};
use super::readers::Readers;
use super::topics::{Topics, check_new_name, topic_name};
use crate::config::{BrokerConfig, TopicSettings};
use crate::id::{SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::subscription::DeadLetter;
use crate::topic::{Lookup, PublishContext};

/// Minimum pause after a dead-letter topic refused a record, in microseconds.
pub(super) const REFUSED_PAUSE: u64 = 1_000_000;

/// Bytes of a record that are copied in a step (rule S14).
const BYTES_PER_STEP: u64 = 1_024;

/// How a record failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// A Nack named it.
    Nack,
    /// The connection ended while it was the only uncommitted one, or held it.
    Disconnected,
    /// A member held it for too long.
    Deadline,
}

/// The settlement of a failed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureOutcome {
    /// It is delivered again.
    Redelivered,
    /// It is in the dead-letter topic.
    DeadLettered,
    /// The dead-letter topic refused it: it is redelivered after a pause.
    Refused,
}

/// Checks whether the dead-letter topic that a Subscribe to `topic` names can be used, before anything is created.
pub(super) fn check(topics: &Topics, topic: TopicName<'_>, request: &Subscribe<'_>) -> Result<(), Refusal> {
    let invalid = Refusal::new(RefusalCode::InvalidDeadLetter);
    if request.max_attempts == 0 || request.dead_letter.is_empty() {
        return Ok(());
    }
    let name = topic_name(request.dead_letter).map_err(|_| invalid)?;
    let known = topics.find(name);
    let is_live_only = known.is_some_and(|id| topics[id].settings.is_live_only());
    let can_not_exist = known.is_none() && check_new_name(name).is_err();
    if name == topic || is_live_only || can_not_exist { Err(invalid) } else { Ok(()) }
}

/// The dead-letter topic of a [checked](check) Subscribe, created if missing, and whether it was created; `None` if the
/// Subscribe names none.
pub(super) fn topic_of(
    readers: &mut Readers<'_>,
    request: &Subscribe<'_>,
    defaults: TopicSettings,
) -> Result<Option<(DeadLetter, bool)>, Refusal> {
    let Some(max_attempts) = NonZeroU32::new(request.max_attempts) else {
        return Ok(None);
    };
    if request.dead_letter.is_empty() {
        return Ok(None);
    }
    let name = topic_name(request.dead_letter)?;
    if let Some(topic) = readers.topics.find(name) {
        return Ok(Some((DeadLetter { topic, max_attempts }, false)));
    }
    // Every dead letter is kept, even if one with its key exists already.
    let settings = TopicSettings {
        retention_ttl_micros: u64::MAX,
        overflow: Overflow::Reject,
        compaction: CompactionMode::First,
        compaction_window_micros: 0,
        ..defaults
    };
    let topic = readers.topics.add(name, settings, readers.memory, readers.readiness)?;
    readers.topics[topic].explicit = true;
    Ok(Some((DeadLetter { topic, max_attempts }, true)))
}

/// A delivered record failed. After the maximum number of failures it is copied to the dead-letter topic. The caller
/// moves the subscription.
pub(super) fn record_failed(
    readers: &mut Readers<'_>,
    counters: &mut Counters,
    config: &BrokerConfig,
    (key, offset): (SubKey, u64),
    failure: Failure,
) -> FailureOutcome {
    let subscription = &mut readers.subscriptions[key];
    let Some(DeadLetter { topic: target, max_attempts }) = subscription.terms.dead_letter else {
        return FailureOutcome::Redelivered;
    };
    let failures = subscription.fail(offset);
    if failures < max_attempts.get() {
        return FailureOutcome::Redelivered;
    }
    let found = readers.topics[subscription.topic].record(readers.now, offset);
    // What has died was removed.
    readers.topics.settle(subscription.topic, readers.memory);
    // A record that is no longer live becomes a gap instead (rule R9).
    let bytes = match found {
        Lookup::Found(bytes) => bytes,
        Lookup::Gone => return FailureOutcome::Redelivered,
        // The end of a connection does not wait for the store.
        Lookup::Cold => return FailureOutcome::Refused,
    };
    let name = subscription.durable.as_ref().map_or("", |durable| &durable.name);
    let topic = &readers.topics[subscription.topic];
    let origin = Origin { topic: &topic.name, offset, subscription: name, failures, failure };
    let copied = origin.copy(&bytes).and_then(|copy| append_copy(readers, config, target, &copy));
    readers.topics.spend(bytes.len() as u64 / BYTES_PER_STEP);
    if copied.is_ok() {
        bump(&mut counters.stats.dead_letters, 1);
        FailureOutcome::DeadLettered
    } else {
        bump(&mut counters.stats.dead_letters_refused, 1);
        FailureOutcome::Refused
    }
}

/// Appends a record that the broker itself created.
fn append_copy(
    readers: &mut Readers<'_>,
    config: &BrokerConfig,
    id: TopicId,
    record: &[u8],
) -> Result<(), Refusal> {
    let max_message = config.wire.max_message;
    if record.len() > max_message.saturating_add(Limits::FRAME_ROOM) as usize {
        // Dead letters of dead letters grow. Every frame of the broker has room for this many bytes (docs/protocol.md
        // §3.3); a record that does not fit into a Delivery would stop every reader of the topic.
        return Err(Refusal::with_value(RefusalCode::TooLarge, u64::from(max_message)));
    }
    if !is_planted(Defect::DeadLetterWithoutSpace) {
        readers.topics.check_space()?;
    }
    readers.memory.check(record.len())?;
    let hash_key = readers.topics.hash_key();
    let topic = &mut readers.topics[id];
    if topic.settings.is_live_only() {
        // Its settings were changed, so no reader would find the record there.
        return Err(Refusal::new(RefusalCode::InvalidDeadLetter));
    }
    let mut context = PublishContext {
        // The headers that name its origin may push it above the limit.
        max_message: u32::MAX,
        hash_key,
        duplicates: &mut Vec::new(),
        retired: readers.memory.retired(),
    };
    let accepted = topic.publish(readers.now, Records::from_encoded(1, record), &mut context);
    if accepted.is_ok() {
        readers.readiness.wake_waiting(topic.waiting);
    }
    readers.topics.settle(id, readers.memory);
    match accepted?.count {
        // The topic compacts and remembers its key. The record is kept rather than dropped, because the window will
        // end.
        0 => Err(Refusal::new(RefusalCode::InvalidDeadLetter)),
        _ => Ok(()),
    }
}

/// The origin of a dead letter.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    topic: &'a str,
    offset: u64,
    subscription: &'a str,
    failures: u32,
    failure: Failure,
}

impl Origin<'_> {
    /// The record with headers that name its origin and the reason, followed by those of its own headers that fit.
    fn copy(&self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let split = RecordRef::split_first(bytes);
        let (record, _) = split.map_err(|_| Refusal::new(RefusalCode::InvalidDeadLetter))?;
        let (offset, failures) = (self.offset.to_string(), self.failures.to_string());
        let reason = match self.failure {
            Failure::Nack => "nack",
            Failure::Disconnected => "disconnected",
            Failure::Deadline => "deadline",
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
        Ok(encoded)
    }
}

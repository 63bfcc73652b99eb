//! Publishing (semantics P1, P2, T1).

use zaichik_proto::{AckLevel, Duplicate, Publish, Refusal, RefusalCode};

use super::Broker;
use crate::effects::Effects;
use crate::id::{SessionId, TopicId};
use crate::time::Timestamp;
use crate::topic::{Accepted, Intake};

/// Memory that a publish may cost beyond its records: the tail of the log may double.
const APPEND_ROOM: usize = 64 << 10;

/// When a publisher that found no memory should try again, in microseconds.
const BUSY_RETRY_MICROS: u64 = 10_000;

/// What became of a publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published<'a> {
    /// Whether it created its topic.
    pub(crate) created: bool,
    /// Offset of the first record appended.
    pub(crate) first_offset: Option<u64>,
    /// The records that were not appended.
    pub(crate) duplicates: &'a [Duplicate],
}

impl Broker {
    /// Accepts all records of a publish in one step, or refuses it without effect.
    ///
    /// `recent` is the topic that the connection published to last: it is most often the same.
    pub(crate) fn publish(
        &mut self,
        now: Timestamp,
        session: SessionId,
        recent: &mut Option<TopicId>,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) -> Result<Published<'_>, Refusal> {
        if publish.producer.is_some() {
            return Err(Refusal::new(RefusalCode::Unsupported));
        }
        if publish.ack == AckLevel::Durable {
            return Err(Refusal::new(RefusalCode::NotDurable));
        }
        if self.stops_at.is_some() {
            return Err(Refusal::new(RefusalCode::Draining));
        }
        self.check_memory(publish.records.as_bytes().len().saturating_add(APPEND_ROOM))?;
        let (id, created) = match recent.filter(|id| self.is_named(*id, publish.topic)) {
            Some(id) => (id, false),
            None => self.topic_or_new(session, publish.topic, effects)?,
        };
        let Some(topic) = self.topics.get_mut(id.index()) else {
            return Err(Refusal::new(RefusalCode::UnknownTopic));
        };
        let mut intake = Intake {
            max_message: self.config.wire.max_message,
            hash_key: self.config.hash_key,
            duplicates: &mut self.duplicates,
            retired: &mut self.retired,
        };
        let accepted = topic.publish(now, publish.records, &mut intake);
        let Accepted { first_offset, count } = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => {
                if created {
                    self.remove_last_topic();
                } else {
                    self.settle_topic(id);
                }
                return Err(refusal);
            }
        };
        *recent = Some(id);
        let waiting = topic.waiting;
        if count > 0 {
            self.rings.splice(waiting, self.woken);
        }
        self.settle_topic(id);
        self.stats.records_accepted = self.stats.records_accepted.saturating_add(count);
        self.stats.duplicates = self.stats.duplicates.saturating_add(self.duplicates.len() as u64);
        Ok(Published { created, first_offset, duplicates: &self.duplicates })
    }

    /// Refuses what the memory budget has no room for.
    pub(super) fn check_memory(&self, more: usize) -> Result<(), Refusal> {
        if self.ledger().total().saturating_add(more as u64) > self.config.memory_budget {
            return Err(Refusal::with_value(RefusalCode::Busy, BUSY_RETRY_MICROS));
        }
        Ok(())
    }

    fn is_named(&self, id: TopicId, name: &[u8]) -> bool {
        self.topics.get(id.index()).is_some_and(|topic| topic.name.as_bytes() == name)
    }
}

//! Publishing (semantics P1 to P3, T1).

use zaichik_proto::{AckLevel, Duplicate, Producer, Publish, Refusal, RefusalCode};

use super::Broker;
use super::producers::{Admission, Lists, Outcome, Stored};
use super::run::Run;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, TopicId};
use crate::topic::{Accepted, Intake};
use zaichik_proto::Timestamp;

/// Memory that a publish may cost beyond its records: the tail of the log may double.
pub(super) const APPEND_ROOM: usize = 64 << 10;

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
    /// Whether it was answered from memory, because its producer sent it before.
    pub(crate) is_repeat: bool,
}

impl Published<'_> {
    /// Whether there is nothing to say but the offset.
    pub(crate) const fn is_plain(&self) -> bool {
        self.first_offset.is_some() && self.duplicates.is_empty() && !self.created && !self.is_repeat
    }
}

impl Broker {
    /// Accepts all records of a publish in one step, or refuses it without effect; a producer's retry gets the
    /// answer that was given before.
    ///
    /// What can wait until [`settle_run`](Self::settle_run) is left to it.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        now: Timestamp,
        session: SessionId,
        run: &mut Run,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) -> Result<Published<'_>, Refusal> {
        let accepted = match &publish.producer {
            None => self.accept_publish(now, session, run, publish, 0, effects),
            Some(producer) => match self.admit(now, producer)? {
                Admission::Fresh => {
                    let room = self.producer_room(run.uncharged())?;
                    let accepted = self.accept_publish(now, session, run, publish, room, effects);
                    self.remember_publish(now, producer, publish.records.len(), accepted);
                    accepted
                }
                Admission::Repeat(stored) => return self.repeat_publish(stored),
            },
        };
        let (created, first_offset) = accepted?;
        Ok(Published { created, first_offset, duplicates: &self.duplicates, is_repeat: false })
    }

    /// What a producer's request is; the lists of a stored answer stand where new ones would.
    pub(super) fn admit(&mut self, now: Timestamp, producer: &Producer) -> Result<Admission, Refusal> {
        let lists = Lists {
            duplicates: &mut self.duplicates,
            results: &mut self.batch.results,
            batch_duplicates: &mut self.batch.answered,
        };
        let admission = self.producers.admit(now, producer, lists)?;
        if matches!(admission, Admission::Repeat(_)) {
            self.stats.repeated = self.stats.repeated.saturating_add(1);
        }
        Ok(admission)
    }

    /// Bytes that remembering an answer may cost, if there is memory for them beside what is not charged yet.
    pub(super) fn producer_room(&self, uncharged: usize) -> Result<usize, Refusal> {
        let room = self.producers.room();
        self.check_memory(room.saturating_add(uncharged))?;
        Ok(room)
    }

    /// A producer's request was handled: what is answered from here on when it comes again.
    pub(super) fn remember(
        &mut self,
        now: Timestamp,
        producer: &Producer,
        outcome: Result<Outcome<'_>, Refusal>,
    ) {
        let outcome = match outcome {
            Ok(outcome) => Some(outcome),
            Err(refusal) if refusal.code.is_retryable() => None,
            Err(refusal) => Some(Outcome::Refused(refusal)),
        };
        self.producers.remember(now, producer, outcome);
    }

    /// Refuses what the memory budget has no room for.
    pub(super) fn check_memory(&self, more: usize) -> Result<(), Refusal> {
        if self.ledger().total().saturating_add(more as u64) > self.config.memory_budget {
            return Err(Refusal::with_value(RefusalCode::Busy, BUSY_RETRY_MICROS));
        }
        Ok(())
    }

    /// Whether that is the topic of this name.
    pub(super) fn is_named(&self, id: TopicId, name: &[u8]) -> bool {
        self.topics.get(id.index()).is_some_and(|topic| topic.name.as_bytes() == name)
    }

    /// A publish created its topic.
    pub(super) fn note_created(&self, session: SessionId, id: TopicId, effects: &mut Effects) {
        let name = self.topics.get(id.index()).map(|topic| &topic.name);
        effects.note(|| Note { session, topic: name.cloned(), event: NoteEvent::TopicCreatedImplicitly });
    }

    /// Accepts a publish: whether it created its topic, and the offset of the first record appended. The duplicates
    /// stand in `duplicates`. `room` is what the answer may cost.
    fn accept_publish(
        &mut self,
        now: Timestamp,
        session: SessionId,
        run: &mut Run,
        publish: &Publish<'_>,
        room: usize,
        effects: &mut Effects,
    ) -> Result<(bool, Option<u64>), Refusal> {
        if let Some(first) = self.extend_run(now, run, publish, room) {
            return Ok((false, Some(first)));
        }
        self.settle_run(now, run);
        if publish.ack == AckLevel::Durable {
            return Err(Refusal::new(RefusalCode::NotDurable));
        }
        if self.stops_at.is_some() {
            return Err(Refusal::new(RefusalCode::Draining));
        }
        let records = publish.records.as_bytes().len();
        self.check_memory(records.saturating_add(APPEND_ROOM).saturating_add(room))?;
        let (id, created) = match run.topic().filter(|id| self.is_named(*id, publish.topic)) {
            Some(id) => (id, false),
            None => self.find_or_add_topic(publish.topic)?,
        };
        let Some(topic) = self.topics.get_mut(id.index()) else {
            return Err(Refusal::new(RefusalCode::UnknownTopic));
        };
        let mut intake = Intake {
            max_message: self.config.wire.max_message,
            hash_key: self.seed.hash_key,
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
                    // The keys that were looked up may have taken memory.
                    self.settle_topic(id);
                }
                return Err(refusal);
            }
        };
        run.turn_to(Some(id));
        let waiting = topic.waiting;
        if count > 0 {
            self.rings.splice(waiting, self.woken);
        }
        self.settle_topic(id);
        self.stats.records_accepted = self.stats.records_accepted.saturating_add(count);
        let bytes = publish.records.as_bytes().len() as u64;
        self.stats.bytes_accepted = self.stats.bytes_accepted.saturating_add(bytes);
        self.stats.duplicates = self.stats.duplicates.saturating_add(self.duplicates.len() as u64);
        if created {
            self.note_created(session, id, effects);
        }
        Ok((created, first_offset))
    }

    fn remember_publish(
        &mut self,
        now: Timestamp,
        producer: &Producer,
        records: u32,
        accepted: Result<(bool, Option<u64>), Refusal>,
    ) {
        let duplicates = core::mem::take(&mut self.duplicates);
        let outcome = accepted.map(|(created, first_offset)| {
            let duplicates = &duplicates[..];
            Outcome::Published { created, first_offset, records, duplicates }
        });
        self.remember(now, producer, outcome);
        self.duplicates = duplicates;
    }

    fn repeat_publish(&self, stored: Stored) -> Result<Published<'_>, Refusal> {
        match stored {
            Stored::Published { created, first_offset } => {
                Ok(Published { created, first_offset, duplicates: &self.duplicates, is_repeat: true })
            }
            // It may have been an operation of a batch.
            Stored::Refused(refusal) => Err(Refusal { operation: 0, ..refusal }),
            // A batch's answer would not answer a publish.
            Stored::Batched | Stored::Lost => Err(Refusal::new(RefusalCode::SequenceTooOld)),
        }
    }
}

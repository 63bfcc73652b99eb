//! Publishing (rules P1 to P3, T1).

use std::sync::Arc;

use zaichik_proto::{AckLevel, Duplicate, Producer, Publish, Records, Refusal, RefusalCode, Timestamp};

use super::answer_lists::AnswerLists;
use super::counters::{Counters, bump};
use super::memory::Memory;
use super::producers::{Admission, Outcome, Producers, Stored};
use super::readers::Readers;
use super::readiness::Readiness;
use super::run::{APPEND_ROOM, PublishRun};
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use crate::config::BrokerConfig;
use crate::effects::{Effects, Note, NoteEvent};
use crate::id::{SessionId, TopicId};
use crate::topic::{Accepted, PublishContext};

/// Steps of accepting one record: its key is looked up, and it is copied.
const STEPS_PER_RECORD: u64 = 3;

/// The parts of the broker that a publish needs.
#[derive(Debug)]
pub(super) struct Publishing<'b> {
    pub(super) now: Timestamp,
    pub(super) config: &'b BrokerConfig,
    pub(super) topics: &'b mut Topics,
    pub(super) producers: &'b mut Producers,
    pub(super) memory: &'b mut Memory,
    pub(super) readiness: &'b mut Readiness,
    pub(super) counters: &'b mut Counters,
    pub(super) answer: &'b mut AnswerLists,
    /// Whether the broker is stopping; if so, publishes are refused.
    pub(super) is_stopping: bool,
    /// Whether the broker has a store; if not, `durable` is refused.
    pub(super) is_storing: bool,
}

/// The outcome of a publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published<'a> {
    /// Whether it created its topic.
    pub(crate) created: bool,
    /// Offset of the first record appended; `None` if all were duplicates.
    pub(crate) first_offset: Option<u64>,
    /// Records that were not appended, in order.
    pub(crate) duplicates: &'a [Duplicate],
    /// Whether its producer had sent it before, so that the stored answer is repeated.
    pub(crate) is_repeat: bool,
}

/// Why a publish or a batch was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rejection {
    pub(crate) refusal: Refusal,
    /// Whether its producer had sent it before, so that the stored refusal is repeated.
    pub(crate) is_repeat: bool,
}

impl From<Refusal> for Rejection {
    /// A new refusal.
    fn from(refusal: Refusal) -> Self {
        Self { refusal, is_repeat: false }
    }
}

impl Published<'_> {
    /// Whether its answer is only the offset.
    pub(crate) const fn is_plain(&self) -> bool {
        self.first_offset.is_some() && self.duplicates.is_empty() && !self.created && !self.is_repeat
    }
}

impl<'b> Publishing<'b> {
    /// Accepts all records of a publish in one step, or refuses it without effect; a producer's retry gets the stored
    /// answer.
    ///
    /// Work that can wait is left to [`settle_run`](Self::settle_run).
    #[inline]
    pub(super) fn publish(
        mut self,
        session: SessionId,
        run: &mut PublishRun,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) -> Result<Published<'b>, Rejection> {
        let accepted = match &publish.producer {
            None => self.accept(session, run, publish, 0, effects),
            Some(producer) => match self.admit(producer)? {
                Admission::Fresh => {
                    let room = self.producer_room(run.uncharged())?;
                    let accepted = self.accept(session, run, publish, room, effects);
                    let duplicates = &self.answer.duplicates[..];
                    let outcome = accepted.map(|(created, first_offset)| {
                        let records = publish.records.len();
                        Outcome::Published { created, first_offset, records, duplicates }
                    });
                    self.producers.remember(self.now, producer, outcome, self.memory);
                    accepted
                }
                Admission::Repeat(stored) => return self.repeat(stored),
            },
        };
        let (created, first_offset) = accepted?;
        Ok(Published { created, first_offset, duplicates: &self.answer.duplicates, is_repeat: false })
    }

    /// Classifies a producer's request; the lists of a stored answer are read into `answer`.
    pub(super) fn admit(&mut self, producer: &Producer) -> Result<Admission, Refusal> {
        let admission = self.producers.admit(self.now, producer, self.answer, self.memory)?;
        match admission {
            Admission::Repeat(_) => bump(&mut self.counters.stats.repeated, 1),
            Admission::Fresh if !self.producers.knows(self.now, producer.id) => self.topics.check_space()?,
            Admission::Fresh => {}
        }
        Ok(admission)
    }

    /// Bytes that remembering an answer may cost, if there is memory for them besides `uncharged` bytes.
    pub(super) fn producer_room(&self, uncharged: usize) -> Result<usize, Refusal> {
        let room = self.producers.room();
        self.memory.check(room.saturating_add(uncharged))?;
        Ok(room)
    }

    /// Refuses options that no publish or batch may have now.
    pub(super) fn check_terms(&self, ack: AckLevel) -> Result<(), Refusal> {
        if ack == AckLevel::Durable && !self.is_storing {
            return Err(Refusal::new(RefusalCode::NotDurable));
        }
        if self.is_stopping {
            return Err(Refusal::new(RefusalCode::Draining));
        }
        Ok(())
    }

    /// The topic that a publish names, created if missing, and whether it was created. `recent` is the topic that the
    /// session last published to.
    pub(super) fn topic_of(
        &mut self,
        recent: Option<TopicId>,
        name: &[u8],
    ) -> Result<(TopicId, bool), Refusal> {
        match recent.filter(|id| self.topics.is_named(*id, name)) {
            Some(id) => Ok((id, false)),
            None => self.topics.find_or_add(name, self.memory, self.readiness),
        }
    }

    /// Counts records that a topic accepted, and wakes its readers if there are any.
    pub(super) fn appended(&mut self, id: TopicId, count: u64, bytes: usize) {
        if count > 0 {
            self.readiness.wake_waiting(self.topics[id].waiting);
        }
        bump(&mut self.counters.stats.records_accepted, count);
        bump(&mut self.counters.stats.bytes_accepted, bytes as u64);
    }

    /// The topics with their subscriptions.
    pub(super) fn readers<'s>(&'s mut self, subscriptions: &'s mut Subscriptions) -> Readers<'s> {
        let Self { now, topics, memory, readiness, .. } = self;
        Readers { now: *now, topics, subscriptions, memory, readiness }
    }

    /// Reports a topic that a publish created.
    pub(super) fn note_created(&self, session: SessionId, id: TopicId, effects: &mut Effects) {
        let event = NoteEvent::TopicCreatedImplicitly;
        effects.note(|| Note { session, topic: Some(Arc::clone(&self.topics[id].name)), event });
    }

    /// Accepts a publish; returns whether it created its topic, and the offset of the first record appended. The
    /// duplicates are in `answer`. `room` is the maximum cost of remembering the answer, in bytes.
    fn accept(
        &mut self,
        session: SessionId,
        run: &mut PublishRun,
        publish: &Publish<'_>,
        room: usize,
        effects: &mut Effects,
    ) -> Result<(bool, Option<u64>), Refusal> {
        if let Some(first) = self.extend_run(run, publish, room) {
            return Ok((false, Some(first)));
        }
        self.settle_run(run);
        self.topics.spend(steps_of(publish.records));
        self.check_terms(publish.ack)?;
        self.topics.check_space()?;
        let bytes = publish.records.as_bytes().len();
        self.memory.check(bytes.saturating_add(APPEND_ROOM).saturating_add(room))?;
        let (id, created) = self.topic_of(run.topic(), publish.topic)?;
        let mut context = PublishContext {
            max_message: self.config.wire.max_message,
            hash_key: self.topics.hash_key(),
            duplicates: &mut self.answer.duplicates,
            retired: self.memory.retired(),
        };
        let accepted = self.topics[id].publish(self.now, publish.records, &mut context);
        let Accepted { first_offset, count } = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => {
                if created {
                    self.topics.remove_last(self.memory, self.readiness);
                } else {
                    // The key lookups may have allocated memory.
                    self.topics.settle(id, self.memory);
                }
                return Err(refusal);
            }
        };
        run.turn_to(Some(id));
        self.appended(id, count, bytes);
        self.topics.settle(id, self.memory);
        bump(&mut self.counters.stats.duplicates, self.answer.duplicates.len() as u64);
        if created {
            self.note_created(session, id, effects);
        }
        Ok((created, first_offset))
    }

    fn repeat(self, stored: Stored) -> Result<Published<'b>, Rejection> {
        match stored {
            Stored::Published { created, first_offset } => {
                Ok(Published { created, first_offset, duplicates: &self.answer.duplicates, is_repeat: true })
            }
            // The stored answer may be that of a batch.
            Stored::Refused(refusal) => {
                Err(Rejection { refusal: Refusal { operation: 0, ..refusal }, is_repeat: true })
            }
            // A batch's answer would not answer a publish.
            Stored::Batched | Stored::Lost => Err(Refusal::new(RefusalCode::SequenceTooOld).into()),
        }
    }
}

/// Steps of accepting these records, which are not plain.
pub(super) fn steps_of(records: Records<'_>) -> u64 {
    u64::from(records.len()).saturating_mul(STEPS_PER_RECORD)
}

//! Batches: several publishes and commits, all of them in one step or none (semantics X).
//!
//! Each operation is checked as if those before it were done: topics are created, keys are remembered and cursors
//! are raised on trial, and all of that can be taken back. Only when the last check has passed the effects follow,
//! in the same order, and none of them can fail.

use zaichik_proto::{
    AckLevel, Batch, BatchDuplicate, BatchResult, Duplicate, Limits, Operation, Records, Refusal, RefusalCode,
};

use super::Broker;
use super::producers::{Admission, Outcome, Stored};
use super::publish::APPEND_ROOM;
use crate::effects::Effects;
use crate::id::{SessionId, SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::topic::{Draft, Intake};
use zaichik_proto::Timestamp;

/// What became of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batched<'a> {
    /// One entry for each publish operation, in order.
    pub(crate) results: &'a [BatchResult],
    /// The records that were not appended, in order.
    pub(crate) duplicates: &'a [BatchDuplicate],
}

/// What a batch needs while it is checked, and its answer; kept so that the next one allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// What each operation that was checked is going to do.
    plans: Vec<Plan>,
    /// The topics concerned, in the order in which they are.
    drafts: Vec<TopicDraft>,
    /// Where each topic stands in `drafts`, by topic.
    by_topic: Vec<(TopicId, u32)>,
    /// Cursors as they are on trial, by subscription.
    cursors: Vec<(SubKey, u64)>,
    /// The duplicates of all operations, one after the other.
    duplicates: Vec<Duplicate>,
    /// Bytes that the operations checked may cost.
    room: usize,
    pub(super) results: Vec<BatchResult>,
    /// The duplicates as they are answered.
    pub(super) answered: Vec<BatchDuplicate>,
}

#[derive(Debug, Clone, Copy)]
struct TopicDraft {
    topic: TopicId,
    /// Whether the batch creates it.
    created: bool,
    draft: Draft,
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Publish {
        /// Index of its topic in `drafts`.
        draft: u32,
        /// Records to append.
        count: u64,
        /// How many of the duplicates are its own.
        duplicates: usize,
    },
    Commit {
        key: SubKey,
        cursor: u64,
    },
}

impl Broker {
    /// Does all operations of a batch in one step, or refuses it without effect; a producer's retry gets the answer
    /// that was given before.
    ///
    /// `recent` is the topic that the connection published to last.
    pub(crate) fn batch(
        &mut self,
        now: Timestamp,
        session: SessionId,
        recent: &mut Option<TopicId>,
        batch: &Batch<'_>,
        effects: &mut Effects,
    ) -> Result<Batched<'_>, Refusal> {
        match &batch.producer {
            None => self.accept_batch(now, session, recent, batch, 0, effects)?,
            Some(producer) => match self.admit(now, producer)? {
                Admission::Fresh => {
                    let room = self.producer_room(0)?;
                    let accepted = self.accept_batch(now, session, recent, batch, room, effects);
                    let scratch = core::mem::take(&mut self.batch);
                    let (results, duplicates) = (&scratch.results[..], &scratch.answered[..]);
                    let outcome = accepted.map(|()| Outcome::Batched { results, duplicates });
                    self.remember(now, producer, outcome);
                    self.batch = scratch;
                    accepted?;
                }
                Admission::Repeat(Stored::Batched) => {}
                Admission::Repeat(Stored::Refused(refusal)) => return Err(refusal),
                // A publish's answer would not answer a batch.
                Admission::Repeat(Stored::Published { .. } | Stored::Lost) => {
                    return Err(Refusal::new(RefusalCode::SequenceTooOld));
                }
            },
        }
        Ok(Batched { results: &self.batch.results, duplicates: &self.batch.answered })
    }

    /// `room` is what remembering the answer may cost.
    fn accept_batch(
        &mut self,
        now: Timestamp,
        session: SessionId,
        recent: &mut Option<TopicId>,
        batch: &Batch<'_>,
        room: usize,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if batch.ack == AckLevel::Durable {
            return Err(Refusal::new(RefusalCode::NotDurable));
        }
        if self.stops_at.is_some() {
            return Err(Refusal::new(RefusalCode::Draining));
        }
        if batch.operations.len() > Limits::MAX_OPERATIONS {
            let too_long = Refusal::with_value(RefusalCode::BatchTooLong, u64::from(Limits::MAX_OPERATIONS));
            return Err(Refusal { operation: Limits::MAX_OPERATIONS, ..too_long });
        }
        let mut scratch = core::mem::take(&mut self.batch);
        scratch.clear(room);
        let mut latest = *recent;
        let checked = self.check_batch(now, session, &mut latest, batch, &mut scratch);
        match checked {
            Ok(()) => {
                *recent = latest;
                self.apply_batch(now, session, batch, &mut scratch, effects);
            }
            Err(_) if is_planted(Defect::PartialBatch) => {
                self.apply_batch(now, session, batch, &mut scratch, effects);
            }
            Err(_) => self.take_back(&scratch),
        }
        self.batch = scratch;
        checked
    }

    fn check_batch(
        &mut self,
        now: Timestamp,
        session: SessionId,
        recent: &mut Option<TopicId>,
        batch: &Batch<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        for (operation, index) in batch.operations.iter().zip(0u32..) {
            let checked = match operation {
                Operation::Publish { topic, records } => {
                    self.check_publish(now, recent, (index, topic, records), scratch)
                }
                Operation::Commit { subscription, offset } => {
                    self.try_commit(now, session, subscription, offset, scratch)
                }
            };
            checked.map_err(|refusal| Refusal { operation: index, ..refusal })?;
        }
        Ok(())
    }

    fn check_publish(
        &mut self,
        now: Timestamp,
        recent: &mut Option<TopicId>,
        (operation, name, records): (u32, &[u8], Records<'_>),
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let (id, created) = match recent.filter(|id| self.is_named(*id, name)) {
            Some(id) => (id, false),
            None => self.find_or_add_topic(name)?,
        };
        *recent = Some(id);
        let index = self.begin_draft(now, id, created, scratch);
        // What is appended is copied into a tail that may have doubled for it.
        scratch.room = scratch.room.saturating_add(records.as_bytes().len().saturating_mul(2));
        self.check_memory(scratch.room)?;
        let (Some(topic), Some(draft)) =
            (self.topics.get_mut(id.index()), scratch.drafts.get_mut(index as usize))
        else {
            return Err(Refusal::new(RefusalCode::UnknownTopic));
        };
        let before = scratch.duplicates.len();
        let mut intake = Intake {
            max_message: self.config.wire.max_message,
            hash_key: self.seed.hash_key,
            duplicates: &mut scratch.duplicates,
            retired: &mut self.retired,
        };
        let accepted = topic.check(now, records, &mut draft.draft, &mut intake)?;
        let own = scratch.duplicates.get(before..).unwrap_or_default();
        let answered = own.iter().map(|duplicate| BatchDuplicate { operation, duplicate: *duplicate });
        scratch.answered.extend(answered);
        let first_offset = accepted.first_offset.unwrap_or(u64::MAX);
        scratch.results.push(BatchResult { operation, created, first_offset });
        scratch.plans.push(Plan::Publish { draft: index, count: accepted.count, duplicates: own.len() });
        Ok(())
    }

    /// Raises a cursor on trial, so that the publishes behind it find the room that it makes.
    fn try_commit(
        &mut self,
        now: Timestamp,
        session: SessionId,
        number: u32,
        offset: u64,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let (key, cursor) = self.check_commit(session, number, offset)?;
        let Some(subscription) = self.subscriptions.get(key.index()) else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        let (id, cursor_id) = (subscription.topic, subscription.cursor_id);
        // A draft lets go of what is committed, so it has to begin before the cursor stands where it may not stay.
        self.begin_draft(now, id, false, scratch);
        let cursor = match scratch.cursors.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => match scratch.cursors.get_mut(place) {
                Some((_, highest)) => {
                    *highest = cursor.max(*highest);
                    *highest
                }
                None => cursor,
            },
            Err(place) => {
                scratch.cursors.insert(place, (key, cursor));
                cursor
            }
        };
        if let Some(topic) = self.topics.get_mut(id.index()) {
            topic.cursors.set(cursor_id, cursor);
        }
        scratch.plans.push(Plan::Commit { key, cursor });
        Ok(())
    }

    /// The index of a topic's draft, which begins with the first operation that concerns the topic.
    fn begin_draft(&mut self, now: Timestamp, id: TopicId, created: bool, scratch: &mut Scratch) -> u32 {
        let place = match scratch.by_topic.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => return scratch.by_topic.get(place).map_or(0, |(_, index)| *index),
            Err(place) => place,
        };
        let index = u32::try_from(scratch.drafts.len()).unwrap_or(u32::MAX);
        if let Some(topic) = self.topics.get_mut(id.index()) {
            scratch.room = scratch.room.saturating_add(topic.footprint().min(APPEND_ROOM));
            scratch.drafts.push(TopicDraft { topic: id, created, draft: topic.draft(now) });
            scratch.by_topic.insert(place, (id, index));
        }
        index
    }

    /// A check failed: everything is as it was.
    fn take_back(&mut self, scratch: &Scratch) {
        for (key, _) in &scratch.cursors {
            if let Some(subscription) = self.subscriptions.get(key.index())
                && let Some(topic) = self.topics.get_mut(subscription.topic.index())
            {
                topic.cursors.set(subscription.cursor_id, subscription.cursor());
            }
        }
        for TopicDraft { topic: id, draft, .. } in &scratch.drafts {
            if let Some(topic) = self.topics.get_mut(id.index()) {
                topic.abandon(draft);
            }
            // The keys that were looked up may have taken memory.
            self.settle_topic(*id);
        }
        for _ in scratch.drafts.iter().filter(|draft| draft.created) {
            self.remove_last_topic();
        }
    }

    /// All checks have passed.
    fn apply_batch(
        &mut self,
        now: Timestamp,
        session: SessionId,
        batch: &Batch<'_>,
        scratch: &mut Scratch,
        effects: &mut Effects,
    ) {
        let mut duplicates = &scratch.duplicates[..];
        for (operation, plan) in batch.operations.iter().zip(&scratch.plans) {
            match (operation, *plan) {
                (Operation::Publish { records, .. }, Plan::Publish { draft, count, duplicates: own }) => {
                    let (own, rest) = duplicates.split_at_checked(own).unwrap_or_default();
                    duplicates = rest;
                    let Some(TopicDraft { topic: id, draft, .. }) = scratch.drafts.get(draft as usize) else {
                        continue;
                    };
                    let Some(topic) = self.topics.get_mut(id.index()) else {
                        continue;
                    };
                    topic.append(now, records, draft, own, &mut self.retired);
                    if count > 0 {
                        self.rings.splice(topic.waiting, self.woken);
                    }
                    self.stats.records_accepted = self.stats.records_accepted.saturating_add(count);
                    let bytes = records.as_bytes().len() as u64;
                    self.stats.bytes_accepted = self.stats.bytes_accepted.saturating_add(bytes);
                }
                (_, Plan::Commit { key, cursor }) => {
                    self.apply_commit(now, key, cursor);
                }
                (Operation::Commit { .. }, Plan::Publish { .. }) => {}
            }
        }
        let duplicates = scratch.duplicates.len() as u64;
        self.stats.duplicates = self.stats.duplicates.saturating_add(duplicates);
        for TopicDraft { topic: id, created, .. } in &scratch.drafts {
            if let Some(topic) = self.topics.get_mut(id.index()) {
                topic.appended(now, &mut self.retired);
            }
            self.settle_topic(*id);
            self.reclaim_if_pressed(now, *id);
            if *created {
                self.note_created(session, *id, effects);
            }
        }
    }
}

impl Scratch {
    /// Nothing is checked yet; the answer may cost so many bytes.
    fn clear(&mut self, room: usize) {
        self.plans.clear();
        self.drafts.clear();
        self.by_topic.clear();
        self.cursors.clear();
        self.duplicates.clear();
        self.results.clear();
        self.answered.clear();
        self.room = room;
    }
}

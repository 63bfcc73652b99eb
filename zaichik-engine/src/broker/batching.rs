//! Batches: several publishes and commits, all of them in one step or none (chapter X).
//!
//! Each operation is checked as if the previous ones had taken effect: topics are created, keys are remembered and
//! cursors are raised provisionally, and all of this can be undone. Only when the last check has passed do the effects
//! follow, in the same order, and none of them can fail.

mod acks;

use std::collections::BTreeMap;

use zaichik_proto::{
    Batch, BatchDuplicate, BatchResult, Duplicate, Limits, Operation, Records, Refusal, RefusalCode,
};

use super::counters::bump;
use super::producers::{Admission, Outcome, Stored};
use super::publishing::{Published, Publishing, Rejection, steps_of};
use super::run::APPEND_ROOM;
use super::sessions::Sessions;
use super::subscribing::check_commit;
use super::subscriptions::Subscriptions;
use crate::effects::Effects;
use crate::id::{MemberKey, SessionId, SubKey, TopicId};
use crate::topic::{AppendPlan, PublishContext};

/// The parts of the broker that a batch needs.
#[derive(Debug)]
pub(super) struct Batching<'b> {
    pub(super) publishing: Publishing<'b>,
    pub(super) sessions: &'b mut Sessions,
    pub(super) subscriptions: &'b mut Subscriptions,
    pub(super) scratch: &'b mut Scratch,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batched<'a> {
    /// One entry for each publish operation, in order.
    pub(crate) results: &'a [BatchResult],
    /// The records that were not appended, in order.
    pub(crate) duplicates: &'a [BatchDuplicate],
    /// Whether its producer had sent it before, so that the stored answer is repeated.
    pub(crate) is_repeat: bool,
}

/// The answer to a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BatchAnswer<'a> {
    /// Its outcome.
    Batched(Batched<'a>),
    /// Its sequence is that of a publish that was accepted: the stored answer tells what became of it.
    Published(Published<'a>),
}

/// The effects of a batch's operations checked so far; reused so that the next batch allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The effect of each operation that has passed its check.
    effects: Vec<Checked>,
    /// The topics concerned, in the order of their first operation.
    topics: Vec<TopicPlan>,
    /// The index of each topic in `topics`, by topic.
    by_topic: Vec<(TopicId, usize)>,
    /// Provisional cursors, by subscription.
    cursors: Vec<(SubKey, u64)>,
    /// What is acknowledged of shared subscriptions: the ends of the ranges, by their first offsets.
    acked: BTreeMap<(SubKey, u64), u64>,
    /// The duplicates of all operations, in order.
    duplicates: Vec<Duplicate>,
    /// Bytes that the checked operations may cost.
    room: usize,
}

/// The effect of a batch on one topic.
#[derive(Debug, Clone, Copy)]
struct TopicPlan {
    topic: TopicId,
    /// Whether the batch creates it.
    created: bool,
    plan: AppendPlan,
}

/// The effect of an operation that has passed its check.
#[derive(Debug, Clone, Copy)]
enum Checked {
    Publish {
        /// Index of its topic in [`Scratch::topics`].
        topic: usize,
        /// Records to append.
        count: u64,
        /// The number of duplicates that belong to it.
        duplicates: usize,
    },
    Commit {
        key: SubKey,
        cursor: u64,
    },
    Ack {
        key: SubKey,
        member: MemberKey,
    },
}

/// The parts of the broker that an acknowledgement needs when it is applied.
type Parts<'a, 'b> = (&'a mut Publishing<'b>, &'a mut Sessions, &'a mut Subscriptions);

impl<'b> Batching<'b> {
    /// Applies all operations of a batch in one step, or refuses it without effect; a producer's retry gets the stored
    /// answer.
    ///
    /// `recent` is the topic that the session published to last.
    pub(super) fn batch(
        mut self,
        session: SessionId,
        recent: &mut Option<TopicId>,
        batch: &Batch<'_>,
        effects: &mut Effects,
    ) -> Result<BatchAnswer<'b>, Rejection> {
        let mut is_repeat = false;
        match &batch.producer {
            None => self.accept(session, recent, batch, 0, effects)?,
            Some(producer) => match self.publishing.admit(producer)? {
                Admission::Fresh => {
                    let room = self.publishing.producer_room(0)?;
                    let accepted = self.accept(session, recent, batch, room, effects);
                    let Publishing { now, answer, producers, memory, .. } = &mut self.publishing;
                    let (results, duplicates) = (&answer.results[..], &answer.batch_duplicates[..]);
                    let outcome = accepted.map(|()| Outcome::Batched { results, duplicates });
                    producers.remember(*now, producer, outcome, memory);
                    accepted?;
                }
                Admission::Repeat(Stored::Batched) => is_repeat = true,
                Admission::Repeat(Stored::Refused(refusal)) => {
                    return Err(Rejection { refusal, is_repeat: true });
                }
                Admission::Repeat(Stored::Published { created, first_offset }) => {
                    let duplicates = &self.publishing.answer.duplicates[..];
                    let published = Published { created, first_offset, duplicates, is_repeat: true };
                    return Ok(BatchAnswer::Published(published));
                }
                Admission::Repeat(Stored::Lost) => {
                    return Err(Refusal::new(RefusalCode::SequenceTooOld).into());
                }
            },
        }
        let answer = self.publishing.answer;
        let (results, duplicates) = (&answer.results, &answer.batch_duplicates);
        Ok(BatchAnswer::Batched(Batched { results, duplicates, is_repeat }))
    }

    /// `room` is the maximum cost of remembering the answer, in bytes.
    fn accept(
        &mut self,
        session: SessionId,
        recent: &mut Option<TopicId>,
        batch: &Batch<'_>,
        room: usize,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.publishing.check_terms(batch.ack)?;
        if batch.operations.len() > Limits::MAX_OPERATIONS {
            let too_long = Refusal::with_value(RefusalCode::BatchTooLong, u64::from(Limits::MAX_OPERATIONS));
            return Err(Refusal { operation: Limits::MAX_OPERATIONS, ..too_long });
        }
        self.scratch.clear(room);
        self.publishing.answer.results.clear();
        self.publishing.answer.batch_duplicates.clear();
        let mut latest = *recent;
        let checked = self.check(session, &mut latest, batch);
        match checked {
            Ok(()) => {
                *recent = latest;
                self.apply(session, batch, effects);
            }
            Err(_) => self.undo(),
        }
        checked
    }

    fn check(
        &mut self,
        session: SessionId,
        recent: &mut Option<TopicId>,
        batch: &Batch<'_>,
    ) -> Result<(), Refusal> {
        for (operation, index) in batch.operations.iter().zip(0u32..) {
            let checked = match operation {
                Operation::Publish { topic, records } => self.check_publish(recent, index, topic, records),
                Operation::Commit { subscription, offset, rewind } => {
                    self.check_commit(session, (subscription, offset, rewind))
                }
                Operation::Ack { subscription, rewind, ranges } => {
                    self.check_ack(session, subscription, rewind, ranges)
                }
            };
            checked.map_err(|refusal| Refusal { operation: index, ..refusal })?;
        }
        Ok(())
    }

    fn check_publish(
        &mut self,
        recent: &mut Option<TopicId>,
        operation: u32,
        name: &[u8],
        records: Records<'_>,
    ) -> Result<(), Refusal> {
        self.publishing.topics.spend(steps_of(records));
        self.publishing.topics.check_space()?;
        let (id, created) = self.publishing.topic_of(*recent, name)?;
        *recent = Some(id);
        let index = self.begin_plan(id, created);
        let Self { publishing, scratch, .. } = self;
        // The records are copied into a tail that may have doubled for them.
        scratch.room = scratch.room.saturating_add(records.as_bytes().len().saturating_mul(2));
        publishing.memory.check(scratch.room)?;
        let before = scratch.duplicates.len();
        let mut plan = scratch.topic(index).plan;
        let mut context = PublishContext {
            max_message: publishing.config.wire.max_message,
            hash_key: publishing.topics.hash_key(),
            duplicates: &mut scratch.duplicates,
            retired: publishing.memory.retired(),
        };
        let accepted = publishing.topics[id].check(publishing.now, records, &mut plan, &mut context);
        scratch.topic_mut(index).plan = plan;
        let accepted = accepted?;
        let own = scratch.duplicates.get(before..).unwrap_or_default();
        let answered = own.iter().map(|duplicate| BatchDuplicate { operation, duplicate: *duplicate });
        publishing.answer.batch_duplicates.extend(answered);
        let first_offset = accepted.first_offset.unwrap_or(u64::MAX);
        publishing.answer.results.push(BatchResult { operation, created, first_offset });
        let duplicates = own.len();
        scratch.effects.push(Checked::Publish { topic: index, count: accepted.count, duplicates });
        Ok(())
    }

    /// Raises a cursor provisionally, so that the publishes after it find the room that it makes.
    fn check_commit(&mut self, session: SessionId, commit: (u32, u64, Option<u32>)) -> Result<(), Refusal> {
        let (key, cursor) = check_commit(self.sessions, self.subscriptions, session, commit)?;
        let subscription = &self.subscriptions[key];
        let (id, cursor_id) = (subscription.topic, subscription.cursor_id);
        // Beginning a plan frees committed records, so it must happen before the cursor is raised, which may be undone.
        self.begin_plan(id, false);
        let cursor = self.scratch.raise_cursor(key, cursor);
        self.publishing.topics[id].cursors.set(cursor_id, cursor);
        self.scratch.effects.push(Checked::Commit { key, cursor });
        Ok(())
    }

    /// The index of a topic's plan, which begins with the first operation that concerns the topic.
    fn begin_plan(&mut self, id: TopicId, created: bool) -> usize {
        let scratch = &mut *self.scratch;
        match scratch.by_topic.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => scratch.by_topic.get(place).map_or(0, |(_, index)| *index),
            Err(place) => {
                let (index, topic) = (scratch.topics.len(), &mut self.publishing.topics[id]);
                scratch.room = scratch.room.saturating_add(topic.footprint().min(APPEND_ROOM));
                let plan = topic.begin_plan(self.publishing.now);
                scratch.topics.push(TopicPlan { topic: id, created, plan });
                scratch.by_topic.insert(place, (id, index));
                index
            }
        }
    }

    /// A check failed: restores the previous state.
    fn undo(&mut self) {
        let Self { publishing, subscriptions, scratch, .. } = self;
        for (key, _) in &scratch.cursors {
            let subscription = &subscriptions[*key];
            publishing.topics[subscription.topic].cursors.set(subscription.cursor_id, subscription.cursor());
        }
        for TopicPlan { topic: id, plan, .. } in &scratch.topics {
            publishing.topics[*id].abandon(plan);
            // The key lookups may have allocated memory.
            publishing.topics.settle(*id, publishing.memory);
        }
        for _ in scratch.topics.iter().filter(|topic| topic.created) {
            publishing.topics.remove_last(publishing.memory, publishing.readiness);
        }
    }

    /// All checks have passed.
    fn apply(&mut self, session: SessionId, batch: &Batch<'_>, effects: &mut Effects) {
        let Self { publishing, sessions, subscriptions, scratch } = self;
        let now = publishing.now;
        let mut duplicates = &scratch.duplicates[..];
        for (operation, effect) in batch.operations.iter().zip(&scratch.effects) {
            match (operation, *effect) {
                (Operation::Publish { records, .. }, Checked::Publish { topic, count, duplicates: own }) => {
                    let (own, rest) = duplicates.split_at_checked(own).unwrap_or_default();
                    duplicates = rest;
                    let TopicPlan { topic: id, plan, .. } = scratch.topic(topic);
                    publishing.topics[*id].append(now, records, plan, own, publishing.memory.retired());
                    publishing.appended(*id, count, records.as_bytes().len());
                }
                (_, Checked::Commit { key, cursor }) => {
                    publishing.readers(subscriptions).commit(key, cursor);
                }
                (Operation::Ack { ranges, .. }, Checked::Ack { key, member }) => {
                    let parts = (&mut *publishing, &mut **sessions, &mut **subscriptions);
                    Self::apply_ack(parts, session, (key, member), ranges, effects);
                }
                (Operation::Commit { .. } | Operation::Ack { .. }, Checked::Publish { .. })
                | (Operation::Commit { .. } | Operation::Publish { .. }, Checked::Ack { .. }) => {}
            }
        }
        bump(&mut publishing.counters.stats.duplicates, scratch.duplicates.len() as u64);
        for TopicPlan { topic: id, created, .. } in &scratch.topics {
            publishing.topics[*id].appended(now, publishing.memory.retired());
            publishing.topics.settle(*id, publishing.memory);
            publishing.topics.reclaim_if_pressed(now, *id, publishing.memory);
            if *created {
                publishing.note_created(session, *id, effects);
            }
        }
    }
}

impl Scratch {
    /// Forgets the previous batch. Remembering the answer of the next one may cost `room` bytes.
    fn clear(&mut self, room: usize) {
        self.effects.clear();
        self.topics.clear();
        self.by_topic.clear();
        self.cursors.clear();
        self.acked.clear();
        self.duplicates.clear();
        self.room = room;
    }

    #[expect(clippy::indexing_slicing, reason = "indices come from begin_plan, and the list only grows")]
    fn topic(&self, index: usize) -> &TopicPlan {
        &self.topics[index]
    }

    #[expect(clippy::indexing_slicing, reason = "indices come from begin_plan, and the list only grows")]
    fn topic_mut(&mut self, index: usize) -> &mut TopicPlan {
        &mut self.topics[index]
    }

    /// Raises the provisional cursor of a subscription; returns the highest one so far.
    fn raise_cursor(&mut self, key: SubKey, cursor: u64) -> u64 {
        match self.cursors.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => {
                let known = self.cursors.get_mut(place);
                known.map_or(cursor, |(_, highest)| {
                    *highest = cursor.max(*highest);
                    *highest
                })
            }
            Err(place) => {
                self.cursors.insert(place, (key, cursor));
                cursor
            }
        }
    }
}

//! An application's requests, those that are no work of its own, and the effect of an answer on its records.

use zaichik_client::{PublishReceipt, RequestError};
use zaichik_proto::{CompactionMode, Start, Timestamp, TopicOptions};

use super::App;
use crate::sim::check::{Checker, Verdict};
use crate::sim::plan::{Plan, TopicPlan};
use crate::sim::{MILLI, SECOND};

/// Maximum messages that an application takes at a time.
pub(super) const TAKEN_AT_ONCE: usize = 16;

/// An unanswered request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) at: u64,
    pub(super) purpose: Purpose,
}

#[derive(Debug, Clone)]
pub(super) enum Purpose {
    Publish(Vec<u64>),
    /// The same, answered when it is durable.
    PublishDurably(Vec<u64>),
    /// The numbers of the records in each publish.
    Batch(Vec<Vec<u64>>),
    /// A reader's message was transformed: the number of the new record, and the offset of the message.
    Transform {
        reader: usize,
        id: u64,
        offset: u64,
    },
    Subscribe(usize),
    Unsubscribe,
    Commit {
        reader: usize,
        offset: u64,
        started: u32,
    },
    Nack,
    Seek,
    /// A membership.
    Join(usize),
    /// What a member holds.
    Settle,
    /// The number of a record that was published together with an acknowledgement.
    Transact(u64),
    Other,
}

impl App {
    /// Sends a ping, or a request about a topic: its settings, or a trim.
    pub(super) fn ask_other(&mut self, now: u64, plan: &Plan, checker: &Checker) {
        if !self.work.is_curious || self.is_finishing || self.next_question > now {
            return;
        }
        self.next_question = now + self.rng.between(1, 4 * SECOND);
        let topic = &plan.topics[self.rng.index(plan.topics.len())];
        let options = topic.options.unwrap_or_else(|| TopicOptions::new().retain_forever());
        let asked = match self.rng.below(8) {
            0 => self.client.alter_topic(at(now), &topic.name, &options),
            1 | 2 => self.client.create_topic(at(now), &topic.name, &options),
            3 => {
                let before = self.trim_point(now, topic, checker);
                self.client.trim_topic(at(now), &topic.name, before)
            }
            _ => self.client.ping(at(now)),
        };
        if let Ok(id) = asked {
            self.asked.insert(id, Ask { at: now, purpose: Purpose::Other });
        }
    }

    /// A point near the end of a topic, or a time, if the broker knows all times (rule C8).
    fn trim_point(&mut self, now: u64, topic: &TopicPlan, checker: &Checker) -> Start {
        let offset = Start::Offset(checker.end_of(&topic.name).saturating_sub(self.rng.below(12)));
        let time = Start::Time(now.saturating_sub(self.rng.pick(&[0, 100 * MILLI, 5 * SECOND])));
        let is_latest = topic.options.is_some_and(|one| one.compaction == Some(CompactionMode::Latest));
        self.rng.pick(&[
            Start::Earliest,
            Start::Latest,
            offset,
            offset,
            if is_latest { offset } else { time },
        ])
    }
}

pub(super) fn placed(ids: &[u64], receipt: &PublishReceipt, checker: &mut Checker) -> Verdict {
    for (record, id) in (0u32..).zip(ids).filter(|(_, id)| **id != 0) {
        checker.apps.acknowledged(*id, receipt.offset(record), receipt.is_duplicate(record))?;
    }
    Ok(())
}

/// After an error that rules out any effect, the records must not be in the log.
pub(super) fn denied<'a>(
    ids: impl Iterator<Item = &'a u64>,
    error: &RequestError,
    checker: &mut Checker,
) -> Verdict {
    let is_certain = matches!(
        error,
        RequestError::Refused { .. }
            | RequestError::HeldBack { .. }
            | RequestError::NotSent { .. }
            | RequestError::NotApplied { .. }
    );
    if !is_certain {
        return Ok(());
    }
    ids.filter(|id| **id != 0).try_for_each(|id| checker.apps.not_stored(*id))
}

pub(crate) const fn at(now: u64) -> Timestamp {
    Timestamp::from_micros(now)
}

//! Batches in the model (chapter X): operations are applied in sequence to a copy of the broker.

use std::collections::BTreeSet;

use zaichik_proto::{AckLevel, RefusalCode};

use crate::model::broker::Model;
use crate::model::words::{Answer, Operation, Refusal};

/// Maximum operations of a batch.
pub(crate) const MAX_OPERATIONS: usize = 1_000;

impl Model {
    pub(crate) fn batch(&mut self, session: u64, ack: AckLevel, operations: &[Operation]) -> Answer {
        if ack == AckLevel::Durable && !self.is_storing {
            return Answer::refused((RefusalCode::NotDurable, 0));
        }
        if operations.len() > MAX_OPERATIONS {
            let operation = u32::try_from(MAX_OPERATIONS).unwrap();
            return Answer::Refused {
                code: RefusalCode::BatchTooLong,
                value: u64::from(operation),
                operation,
            };
        }
        // Batches do not change producers, whose stored answers would be expensive to copy.
        let producers = std::mem::take(&mut self.producers);
        let (now, mut after) = (self.now, self.clone());
        self.producers = producers;
        let published = |operation: &Operation| match operation {
            Operation::Publish { topic, .. } => Some(*topic),
            Operation::Commit { .. } | Operation::Ack { .. } => None,
        };
        let topics: BTreeSet<_> = operations.iter().filter_map(published).collect();
        for id in &topics {
            let cursors = after.cursors(*id);
            if let Some(topic) = after.topic_mut(*id) {
                topic.begin(now, &cursors);
            }
        }
        let mut trial = Trial { after, results: Vec::new(), duplicates: Vec::new(), sums: Vec::new() };
        for (what, operation) in operations.iter().zip(0..) {
            if let Err((code, value)) = trial.apply(session, operation, what) {
                return Answer::Refused { code, value, operation };
            }
        }
        for id in topics {
            trial.after.settle(id);
        }
        trial.after.producers = std::mem::take(&mut self.producers);
        *self = trial.after;
        Answer::Batched { results: trial.results, duplicates: trial.duplicates }
    }
}

struct Trial {
    after: Model,
    results: Vec<(u32, bool, Option<u64>)>,
    duplicates: Vec<(u32, u32, u64)>,
    /// The count and bytes of the records that each operation appended to its topic.
    sums: Vec<(u32, u64, u64)>,
}

impl Trial {
    fn apply(&mut self, session: u64, operation: u32, what: &Operation) -> Result<(), Refusal> {
        match what {
            Operation::Publish { topic, records } => {
                let earlier = self.sums.iter().filter(|(other, ..)| other == topic);
                let earlier = earlier.fold((0, 0), |sum, (_, count, bytes)| (sum.0 + count, sum.1 + bytes));
                let (created, accepted) = self.after.append(*topic, records, earlier)?;
                self.sums.push((*topic, accepted.count, accepted.bytes));
                self.results.push((operation, created, accepted.first));
                let duplicates = accepted.duplicates.into_iter();
                self.duplicates.extend(duplicates.map(|(record, offset)| (operation, record, offset)));
                Ok(())
            }
            Operation::Commit { number, offset, rewind } => {
                self.after.held(session, *number)?.commit(*offset, *rewind).map(|_| ())
            }
            Operation::Ack { number, rewind, ranges } => {
                self.after.ack_in_batch(session, (*number, *rewind, ranges))
            }
        }
    }
}

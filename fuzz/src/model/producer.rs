//! Producers in the model (rule P3).

use zaichik_proto::{Producer, RefusalCode};

use crate::model::words::{Answer, Bounds};

/// Answers remembered for one producer. The bound in bytes is not modelled.
const MAX_ANSWERS: usize = 1_024;

/// The kind of a producer's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Publish,
    /// A batch on a connection of version 1, which the answer to a publish does not answer.
    OldBatch,
    Batch,
}

/// Every producer that is not forgotten.
#[derive(Debug, Clone, Default)]
pub(crate) struct Producers {
    known: Vec<Remembered>,
}

#[derive(Debug, Clone)]
struct Remembered {
    id: u128,
    epoch: u32,
    /// The next sequence.
    expected: u64,
    answers: Vec<(u64, Answer)>,
    used: u64,
    /// Its only request was refused for lack of memory, so the broker may not remember the producer.
    is_unsure: bool,
}

impl Producers {
    /// A producer's epoch and the sequence expected.
    pub(crate) fn expected(&self, id: u128) -> Option<(u32, u64)> {
        self.known.iter().find(|known| known.id == id).map(|known| (known.epoch, known.expected))
    }

    /// Whether a producer is not remembered.
    pub(crate) fn is_new(&mut self, id: u128, now: u64, bounds: &Bounds) -> bool {
        self.forget(now, bounds);
        self.expected(id).is_none()
    }

    /// A producer that is new is not remembered after all.
    pub(crate) fn take_back(&mut self, id: u128) {
        self.known.retain(|known| known.id != id);
    }

    /// Whether to run a publish or batch; if not, the error is its answer.
    pub(crate) fn judge(
        &mut self,
        claim: Producer,
        kind: Kind,
        now: u64,
        bounds: &Bounds,
    ) -> Result<(), Answer> {
        let refused = |code, value| Err(Answer::refused((code, value)));
        self.forget(now, bounds);
        let Some(known) = self.known.iter_mut().find(|known| known.id == claim.id) else {
            if self.known.len() >= bounds.max_producers as usize {
                return refused(RefusalCode::ProducersFull, u64::from(bounds.max_producers));
            }
            let Producer { id, epoch, sequence } = claim;
            self.known.push(Remembered {
                id,
                epoch,
                expected: sequence,
                answers: Vec::new(),
                used: now,
                is_unsure: true,
            });
            return Ok(());
        };
        if claim.epoch < known.epoch {
            return refused(RefusalCode::ProducerFenced, u64::from(known.epoch));
        }
        known.used = now;
        if claim.epoch > known.epoch {
            (known.epoch, known.expected) = (claim.epoch, claim.sequence);
            known.answers.clear();
        }
        if claim.sequence > known.expected {
            return refused(RefusalCode::SequenceGap, known.expected);
        }
        if claim.sequence == known.expected {
            return Ok(());
        }
        match known.answers.iter().find(|(sequence, _)| *sequence == claim.sequence) {
            Some((_, Answer::Published { .. })) if kind == Kind::OldBatch => {
                refused(RefusalCode::SequenceTooOld, 0)
            }
            Some((_, Answer::Batched { .. })) if kind == Kind::Publish => {
                refused(RefusalCode::SequenceTooOld, 0)
            }
            // Only the answer to a batch names an operation.
            Some((_, Answer::Refused { code, value, .. })) if kind == Kind::Publish => {
                Err(Answer::Repeated(Box::new(Answer::refused((*code, *value)))))
            }
            Some((_, answer)) => Err(Answer::Repeated(Box::new(answer.clone()))),
            None => refused(RefusalCode::SequenceTooOld, 0),
        }
    }

    /// All that are not forgotten count as heard now.
    pub(crate) fn heard(&mut self, now: u64) {
        self.known.iter_mut().for_each(|known| known.used = now);
    }

    /// Those that were silent for too long are forgotten.
    pub(crate) fn forget(&mut self, now: u64, bounds: &Bounds) {
        self.known.retain(|known| now < known.used.saturating_add(bounds.producer_ttl));
    }

    /// Finds out from the broker's answer whether it remembers the producers that are unsure.
    pub(crate) fn reveal(&mut self, claim: Producer, kind: Kind, now: u64, bounds: &Bounds, answer: &Answer) {
        if !self.known.iter().any(|known| known.is_unsure) {
            return;
        }
        let agrees = match (self.clone().judge(claim, kind, now, bounds), answer) {
            (Err(expected), _) => expected.plain() == answer.clone().plain(),
            (Ok(()), Answer::Refused { code, .. }) => !is_of_producers(*code),
            (Ok(()), _) => true,
        };
        if !agrees {
            self.known.retain(|known| !known.is_unsure);
        }
    }

    /// A request was run, and this is its answer.
    pub(crate) fn remember(&mut self, claim: Producer, answer: &Answer) {
        let code = if let Answer::Refused { code, .. } = answer { Some(*code) } else { None };
        if let Some(known) = self.known.iter_mut().find(|known| known.id == claim.id) {
            known.is_unsure &= code == Some(RefusalCode::Busy);
            if code.is_some_and(is_retryable) {
                return;
            }
            known.expected = claim.sequence + 1;
            known.answers.push((claim.sequence, answer.clone()));
            let surplus = known.answers.len().saturating_sub(MAX_ANSWERS);
            known.answers.drain(..surplus);
        }
    }
}

/// Refusals that depend on the remembered state of producers.
const fn is_of_producers(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::ProducersFull
            | RefusalCode::ProducerFenced
            | RefusalCode::SequenceGap
            | RefusalCode::SequenceTooOld
    )
}

/// Refusals that do not use up a sequence.
const fn is_retryable(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Busy
            | RefusalCode::TopicFull
            | RefusalCode::KeysFull
            | RefusalCode::TopicsFull
            | RefusalCode::Draining
            | RefusalCode::StorageFull
    )
}

//! What the naive model remembers of producers (P3).

use zaichik_proto::{Producer, RefusalCode};

use crate::words::{Answer, Bounds};

/// Answers remembered of one producer; the bound in bytes is out of reach here.
const MAX_ANSWERS: usize = 1_024;

/// Every producer that is not forgotten.
#[derive(Debug, Clone, Default)]
pub(crate) struct Producers {
    known: Vec<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    id: u128,
    epoch: u32,
    /// The next sequence; `None` if any will do.
    expected: Option<u64>,
    answers: Vec<(u64, Answer)>,
    used: u64,
    /// It was not known before the request at hand.
    is_new: bool,
}

impl Producers {
    /// A producer's epoch and the sequence expected.
    pub(crate) fn expected(&self, id: u128) -> Option<(u32, Option<u64>)> {
        self.known.iter().find(|known| known.id == id).map(|known| (known.epoch, known.expected))
    }

    /// Whether a request is to be run; otherwise its answer is this one.
    pub(crate) fn judge(&mut self, claim: Producer, now: u64, bounds: &Bounds) -> Result<(), Answer> {
        let refused = |code, value| Err(Answer::refused((code, value)));
        self.known.retain(|known| now < known.used.saturating_add(bounds.producer_ttl));
        let Some(known) = self.known.iter_mut().find(|known| known.id == claim.id) else {
            if self.known.len() >= bounds.max_producers as usize {
                return refused(RefusalCode::ProducersFull, u64::from(bounds.max_producers));
            }
            let (id, epoch) = (claim.id, claim.epoch);
            let (answers, used) = (Vec::new(), now);
            self.known.push(Known { id, epoch, expected: None, answers, used, is_new: true });
            return Ok(());
        };
        if claim.epoch < known.epoch {
            return refused(RefusalCode::ProducerFenced, u64::from(known.epoch));
        }
        known.used = now;
        if claim.epoch > known.epoch {
            (known.epoch, known.expected) = (claim.epoch, None);
            known.answers.clear();
        }
        match known.expected {
            Some(expected) if claim.sequence > expected => refused(RefusalCode::SequenceGap, expected),
            Some(expected) if claim.sequence < expected => {
                let stored = known.answers.iter().find(|(sequence, _)| *sequence == claim.sequence);
                stored.map_or_else(
                    || refused(RefusalCode::SequenceTooOld, 0),
                    |(_, answer)| Err(answer.clone()),
                )
            }
            _ => Ok(()),
        }
    }

    /// A request was run, and this is its answer.
    pub(crate) fn remember(&mut self, claim: Producer, answer: &Answer) {
        if let Answer::Refused { code, .. } = answer
            && is_retryable(*code)
        {
            self.known.retain(|known| !known.is_new);
            return;
        }
        if let Some(known) = self.known.iter_mut().find(|known| known.id == claim.id) {
            known.is_new = false;
            known.expected = Some(claim.sequence + 1);
            known.answers.push((claim.sequence, answer.clone()));
            let surplus = known.answers.len().saturating_sub(MAX_ANSWERS);
            known.answers.drain(..surplus);
        }
    }
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
    )
}

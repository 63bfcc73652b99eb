//! What each producer was answered (semantics P3).

use std::collections::BTreeMap;

use zaichik_proto::Producer;

use super::{Broken, Verdict};

#[derive(Debug)]
pub(crate) struct Producers {
    ttl: u64,
    known: BTreeMap<u128, Known>,
    /// Ids of which not every answer is known.
    vague: Vec<u128>,
}

#[derive(Debug)]
struct Known {
    epoch: u32,
    expected: u64,
    heard: u64,
    answers: BTreeMap<u64, u64>,
}

/// What an accepted request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Fresh,
    /// Answered before; a hash of that answer, if it is known.
    Repeat(Option<u64>),
    /// Not every answer to this producer is known.
    Unknown,
}

impl Producers {
    pub(crate) const fn new(ttl: u64) -> Self {
        Self { ttl, known: BTreeMap::new(), vague: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.vague.clear();
    }

    /// I6: which of its requests a producer's success answers.
    pub(crate) fn succeeded(&mut self, producer: &Producer, now: u64) -> Result<Turn, Broken> {
        if self.vague.contains(&producer.id) {
            return Ok(Turn::Unknown);
        }
        let Some(known) = self.lookup(producer, now) else {
            return Ok(Turn::Fresh);
        };
        if producer.epoch < known.epoch {
            return Broken::because(
                "P-07",
                format!("{producer:?} was accepted, the epoch is {}", known.epoch),
            );
        }
        if producer.epoch > known.epoch {
            return Ok(Turn::Fresh);
        }
        if producer.sequence > known.expected {
            return Broken::because(
                "P-02",
                format!("{producer:?} was accepted, {} is expected", known.expected),
            );
        }
        if producer.sequence == known.expected {
            return Ok(Turn::Fresh);
        }
        Ok(Turn::Repeat(known.answers.get(&producer.sequence).copied()))
    }

    /// A request used its sequence up, with this answer.
    pub(crate) fn used(&mut self, producer: &Producer, answer: u64, now: u64) {
        if self.vague.contains(&producer.id) {
            return;
        }
        let expected = producer.sequence.saturating_add(1);
        let is_other = self.lookup(producer, now).is_none_or(|known| known.epoch != producer.epoch);
        if is_other {
            let known = Known { epoch: producer.epoch, expected, heard: now, answers: BTreeMap::new() };
            self.known.insert(producer.id, known);
        }
        if let Some(known) = self.known.get_mut(&producer.id) {
            (known.expected, known.heard) = (expected, now);
            known.answers.insert(producer.sequence, answer);
            while known.answers.len() > 2_048 {
                known.answers.pop_first();
            }
        }
    }

    /// A request was refused without using its sequence up.
    pub(crate) fn heard(&mut self, producer: &Producer, now: u64) {
        match self.lookup(producer, now) {
            Some(known) if producer.epoch == known.epoch => known.heard = now,
            // A higher epoch begins anew, also if its first request is refused.
            Some(known) if producer.epoch > known.epoch => {
                let (epoch, expected) = (producer.epoch, producer.sequence);
                *known = Known { epoch, expected, heard: now, answers: BTreeMap::new() };
            }
            _ => {}
        }
    }

    /// Nobody was told what became of a request.
    pub(crate) fn lost(&mut self, producer: &Producer) {
        self.known.remove(&producer.id);
        self.vague.push(producer.id);
    }

    /// A sequence may be refused as a gap only if it is one.
    pub(crate) fn refused_as_gap(&mut self, producer: &Producer, expected: u64, now: u64) -> Verdict {
        match self.lookup(producer, now) {
            Some(known) if known.epoch == producer.epoch && known.expected != expected => Broken::because(
                "P-02",
                format!("{producer:?}: {expected} is told as expected, not {}", known.expected),
            ),
            _ => Ok(()),
        }
    }

    fn lookup(&mut self, producer: &Producer, now: u64) -> Option<&mut Known> {
        let ttl = self.ttl;
        self.known.get_mut(&producer.id).filter(|known| now < known.heard.saturating_add(ttl))
    }
}

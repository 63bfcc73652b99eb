//! An honest broker, as far as these tests need one.

use std::collections::{BTreeMap, VecDeque};

use zaichik_proto::RefusalCode;

use crate::client::tests::sent::{Op, Sent};

/// One subscription as the broker has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursor {
    pub(super) number: u32,
    pub(super) window: u32,
    /// The first offset that was not delivered.
    pub(super) next: u64,
    /// The first offset that is not committed.
    pub(super) done_to: u64,
    pub(super) rewind: u32,
    pub(super) epoch: u32,
    pub(super) name: Option<String>,
}

/// The answer to a Publish or Batch, which repeats it to each later request with its sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Published,
    /// Its publishes, which are its first operations.
    Batched {
        publishes: u32,
    },
    Refused(RefusalCode),
}

/// The outcome of a Publish or Batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applied {
    pub(super) stored: Stored,
    /// The value of a refusal.
    pub(super) value: u64,
    /// Whether an earlier request with its sequence number had this outcome.
    pub(super) is_repeated: bool,
}

/// An honest broker: the state that outlives a connection, and the state that does not.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) instance: u128,
    /// The sequence number of the producer's next request, and the answers to the earlier ones.
    expected: Option<u64>,
    answers: BTreeMap<u64, Stored>,
    pub(super) durables: BTreeMap<String, Cursor>,
    pub(super) unanswered: VecDeque<Sent>,
    pub(super) active: Vec<Cursor>,
}

impl Broker {
    pub(super) fn disconnect(&mut self) {
        self.unanswered.clear();
        for cursor in self.active.drain(..) {
            if let Some(name) = cursor.name.clone() {
                self.durables.insert(name, cursor);
            }
        }
    }

    pub(super) fn replace(&mut self) {
        *self = Self { instance: self.instance + 1, ..Self::default() };
    }

    pub(super) fn find(&mut self, number: u32) -> Option<&mut Cursor> {
        self.active.iter_mut().find(|cursor| cursor.number == number)
    }

    /// Applies a Publish or Batch, once for each sequence number.
    pub(super) fn apply(&mut self, sent: &Sent, refuse: bool) -> Applied {
        let (producer, publishes) = match sent {
            Sent::Publish { producer, .. } => (producer, None),
            Sent::Batch { producer, operations, .. } => {
                let is_publish = |operation: &Op| matches!(operation, Op::Publish { .. });
                assert!(operations.is_sorted_by_key(|operation| !is_publish(operation)), "{operations:?}");
                let publishes = operations.iter().filter(|operation| is_publish(operation)).count();
                (producer, Some(u32::try_from(publishes).unwrap()))
            }
            _ => panic!("{sent:?}"),
        };
        let refused = |code, value| Applied { stored: Stored::Refused(code), value, is_repeated: false };
        let sequence = producer.map(|producer| producer.sequence);
        match (sequence, self.expected) {
            (Some(sequence), Some(expected)) if sequence > expected => {
                return refused(RefusalCode::SequenceGap, expected);
            }
            (Some(sequence), Some(expected)) if sequence < expected => {
                let Some(stored) = self.answers.get(&sequence) else {
                    return refused(RefusalCode::SequenceTooOld, 0);
                };
                return Applied { stored: *stored, value: 0, is_repeated: true };
            }
            _ if refuse => return refused(RefusalCode::TopicFull, 0),
            _ => {}
        }
        let stored = match (self.commits(sent), publishes) {
            (Err(code), _) => Stored::Refused(code),
            (Ok(()), None) => Stored::Published,
            (Ok(()), Some(publishes)) => Stored::Batched { publishes },
        };
        if let Some(sequence) = sequence {
            self.expected = Some(sequence + 1);
            self.answers.insert(sequence, stored);
        }
        Applied { stored, value: 0, is_repeated: false }
    }

    /// All of a batch's commits, or none.
    fn commits(&mut self, sent: &Sent) -> Result<(), RefusalCode> {
        let Sent::Batch { operations, .. } = sent else {
            return Ok(());
        };
        for operation in operations {
            if let Op::Commit { subscription, offset } = operation {
                let cursor = self.find(*subscription).ok_or(RefusalCode::NotSubscribed)?;
                if *offset >= cursor.next {
                    return Err(RefusalCode::CommitAhead);
                }
                cursor.done_to = cursor.done_to.max(offset + 1);
            }
        }
        Ok(())
    }
}

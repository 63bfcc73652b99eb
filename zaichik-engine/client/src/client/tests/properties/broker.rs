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

/// An honest broker: the state that outlives a connection, and the state that does not.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) instance: u128,
    /// The sequence number of the producer's next request, and the answers to the earlier ones.
    expected: Option<u64>,
    answers: BTreeMap<u64, Option<RefusalCode>>,
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
    pub(super) fn apply(&mut self, sent: &Sent, refuse: bool) -> Result<(), (RefusalCode, u64)> {
        let (Sent::Publish { producer, .. } | Sent::Batch { producer, .. }) = sent else {
            panic!("{sent:?}");
        };
        let sequence = producer.map(|producer| producer.sequence);
        match (sequence, self.expected) {
            (Some(sequence), Some(expected)) if sequence > expected => {
                return Err((RefusalCode::SequenceGap, expected));
            }
            (Some(sequence), Some(expected)) if sequence < expected => {
                return match self.answers.get(&sequence) {
                    Some(Some(code)) => Err((*code, 0)),
                    Some(None) => Ok(()),
                    None => Err((RefusalCode::SequenceTooOld, 0)),
                };
            }
            _ if refuse => return Err((RefusalCode::TopicFull, 0)),
            _ => {}
        }
        let refusal = self.commits(sent).err();
        if let Some(sequence) = sequence {
            self.expected = Some(sequence + 1);
            self.answers.insert(sequence, refusal);
        }
        refusal.map_or(Ok(()), |code| Err((code, 0)))
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

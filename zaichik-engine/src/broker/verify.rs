//! The broker checked against itself.

use thiserror::Error;

use super::{Broker, Ledger, topics};
use crate::subscription::Subscription;

impl Broker {
    /// Counts everything again and compares it with what the broker kept count of; for tests and fuzzing,
    /// after any call. Cost: proportional to everything that the broker holds.
    ///
    /// # Errors
    /// [`Inconsistent`] names the first thing that does not agree. It is always a defect of the broker.
    pub fn verify(&self) -> Result<(), Inconsistent> {
        if let Some(topic) = self.topics.iter().find(|topic| !topic.is_consistent()) {
            return Err(Inconsistent::Topic { name: topic.name.to_string() });
        }
        if let Some((_, subscription)) = self.subscriptions.iter().find(|(_, one)| !one.is_consistent()) {
            return Err(Inconsistent::Subscription { number: subscription.terms.number });
        }
        let attached: usize =
            self.sessions.iter().map(|(_, attachment)| attachment.subscriptions.len()).sum();
        let of = |select: fn(&Subscription) -> bool| {
            self.subscriptions.iter().filter(|(_, subscription)| select(subscription)).count()
        };
        let detached = of(|subscription| subscription.session.is_none());
        let cursors = self.topics.iter().map(|topic| topic.cursors.len()).sum();
        let all = self.subscriptions.len();
        let counts = [
            ("attachments and the detached", attached.saturating_add(detached), all),
            ("cursors", cursors, all),
            ("durable names", self.durables.len(), of(|subscription| subscription.durable.is_some())),
        ];
        if let Some((name, found, expected)) =
            counts.into_iter().find(|(_, found, expected)| found != expected)
        {
            return Err(Inconsistent::Count { name, found, expected });
        }
        let producers = self.producers.recount().ok_or(Inconsistent::Producers)?;
        let recounted = Ledger {
            topics: sum(self.topics.iter().map(topics::footprint)),
            retired: self.retired.charged() as u64,
            subscriptions: sum(self.subscriptions.iter().map(|(_, subscription)| subscription.footprint())),
            producers: producers as u64,
            sessions: sum(self.sessions.iter().map(|(_, attachment)| attachment.footprint())),
        };
        if recounted != self.ledger() {
            return Err(Inconsistent::Ledger { kept: self.ledger(), recounted });
        }
        Ok(())
    }
}

fn sum(parts: impl Iterator<Item = usize>) -> u64 {
    parts.fold(0, |sum, part| sum.saturating_add(part as u64))
}

/// What does not agree in a broker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Inconsistent {
    /// A topic's log.
    #[error("the log of topic {name} contradicts itself")]
    Topic {
        /// The topic's name.
        name: String,
    },
    /// A subscription's cursor, window or position.
    #[error("subscription {number} contradicts itself")]
    Subscription {
        /// Its client's number for it.
        number: u32,
    },
    /// The producers: their order, their table, or what is remembered for one of them.
    #[error("the producers contradict themselves")]
    Producers,
    /// Two tables that hold the same things hold different numbers of them.
    #[error("{found} in {name}, but {expected} subscriptions")]
    Count {
        /// The table.
        name: &'static str,
        /// How many it holds.
        found: usize,
        /// How many it should hold.
        expected: usize,
    },
    /// The ledger.
    #[error("the ledger says {kept:?}, a recount {recounted:?}")]
    Ledger {
        /// What was kept.
        kept: Ledger,
        /// What was counted.
        recounted: Ledger,
    },
}

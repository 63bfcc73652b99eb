//! A self-check of the broker.

use thiserror::Error;

use super::ledger::Ledger;
use super::members::Member;
use super::memory::Memory;
use super::patterns::Pattern;
use super::producers::Producers;
use super::readiness::{Readiness, Waits};
use super::sessions::{SessionEntry, Sessions};
use super::subscriptions::Subscriptions;
use super::topics::{self, Topics};
use crate::subscription::Subscription;

/// Recounts everything that the parts of a broker count; see [`Broker::verify`](super::Broker::verify).
pub(super) fn verify(
    topics: &Topics,
    subscriptions: &Subscriptions,
    sessions: &Sessions,
    producers: &Producers,
    memory: &Memory,
    readiness: &Readiness,
) -> Result<(), Inconsistent> {
    let contradictory = topics.iter().find(|topic| !topic.is_consistent());
    topics.forget_steps();
    if let Some(topic) = contradictory {
        return Err(Inconsistent::Topic { name: topic.name.to_string() });
    }
    if let Some(subscription) = subscriptions.iter().find(|one| !one.is_consistent()) {
        return Err(Inconsistent::Subscription { number: subscription.terms.number });
    }
    let attached: usize = sessions.iter().map(|entry| entry.subscriptions.len()).sum();
    let of = |select: fn(&Subscription) -> bool| subscriptions.iter().filter(|one| select(one)).count();
    let detached = of(|subscription| subscription.holder().is_none());
    let cursors: usize = topics.iter().map(|topic| topic.cursors.len()).sum();
    let cursors = cursors.saturating_sub(topics.new_len());
    let all = subscriptions.len();
    check_patterns(subscriptions, sessions)?;
    let counts = [
        ("sessions and the detached", attached.saturating_add(detached), all),
        ("cursors", cursors, all),
        ("durable names", subscriptions.durable_count(), of(|subscription| subscription.durable.is_some())),
    ];
    if let Some((name, found, expected)) = counts.into_iter().find(|(_, found, expected)| found != expected) {
        return Err(Inconsistent::Count { name, found, expected });
    }
    let recounted = Ledger {
        topics: sum(topics.iter().map(topics::footprint)),
        retired: memory.ledger().retired,
        tables: sum([
            sessions.spare(),
            subscriptions.spare(),
            readiness.spare(),
            topics.fetching_footprint(),
            topics.new_footprint(),
        ]
        .into_iter()),
        subscriptions: sum(subscriptions.iter().map(Subscription::footprint))
            .saturating_add(subscriptions.members.len().saturating_mul(Member::FOOTPRINT) as u64)
            .saturating_add(sum(subscriptions.patterns.iter().map(Pattern::footprint))),
        producers: producers.recount().ok_or(Inconsistent::Producers)? as u64,
        sessions: sum(sessions.iter().map(SessionEntry::footprint)),
    };
    if recounted != memory.ledger() {
        return Err(Inconsistent::Ledger { kept: memory.ledger(), recounted });
    }
    check_lines(sessions, memory, readiness)
}

/// Whether each pattern counts what its subscriptions hold.
fn check_patterns(subscriptions: &Subscriptions, sessions: &Sessions) -> Result<(), Inconsistent> {
    for pattern in subscriptions.patterns.iter() {
        let (records, bytes, aliases) = pattern.held();
        let entry = sessions.get(pattern.session);
        let found = aliases.iter().filter_map(|alias| entry?.subscriptions.get(alias));
        let held = found.map(|key| subscriptions[*key].held());
        let held =
            held.fold((0u64, 0u64), |sum, held| (sum.0.saturating_add(held.0), sum.1.saturating_add(held.1)));
        // While a session ends, its subscriptions are taken from it first.
        if held != (records, bytes) && entry.is_some_and(|entry| entry.open) {
            return Err(Inconsistent::Subscription { number: pattern.number });
        }
    }
    Ok(())
}

/// Whether a connection in front of a line for memory waits for more than there is (rule S15).
fn check_lines(sessions: &Sessions, memory: &Memory, readiness: &Readiness) -> Result<(), Inconsistent> {
    let slots = [Waits::ForLittle, Waits::ForMuch].map(|waits| readiness.first_waiting(waits));
    let first = |entry: &&SessionEntry| slots.contains(&Some(entry.id.slot));
    let is_asleep = |entry: &SessionEntry| {
        let wanted = entry.fixed().saturating_add(entry.buffers.max(entry.lacks));
        memory.allowance(entry.charged, entry.fixed()) >= wanted
    };
    if sessions.iter().filter(first).any(is_asleep) { Err(Inconsistent::Asleep) } else { Ok(()) }
}

fn sum(parts: impl Iterator<Item = usize>) -> u64 {
    parts.fold(0, |sum, part| sum.saturating_add(part as u64))
}

/// An inconsistency in a broker; always a defect of the broker.
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
    /// The producers: their order, their table, or the history of one of them.
    #[error("the producers contradict themselves")]
    Producers,
    /// Two tables of the same things differ in length.
    #[error("{found} in {name}, but {expected} subscriptions")]
    Count {
        /// The table.
        name: &'static str,
        /// How many it holds.
        found: usize,
        /// How many it should hold.
        expected: usize,
    },
    /// A connection that waits for memory although there is enough.
    #[error("a connection waits for memory although there is enough")]
    Asleep,
    /// The ledger.
    #[error("the ledger says {kept:?}, a recount {recounted:?}")]
    Ledger {
        /// The ledger's figures.
        kept: Ledger,
        /// The recounted figures.
        recounted: Ledger,
    },
}

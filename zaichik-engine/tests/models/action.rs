//! Requests whose numbers are relative to what the model knows when they are sent.

use zaichik_proto::{AckLevel, Producer};

use crate::broker::Model;
use crate::subscription::Subscription;
use crate::words::{Durable, Operation, Options, Record, Request, Start, Subscribe, Target};

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Publish { topic: u8, ack: AckLevel, claim: Option<Claim>, records: Vec<Record> },
    Batch { ack: AckLevel, claim: Option<Claim>, parts: Vec<Part> },
    Subscribe { terms: Subscribe, from: From, epoch: Epoch },
    Unsubscribe { number: u32 },
    Commit { number: u32, ahead: i64 },
    Nack { number: u32, ahead: i64, delay: u64 },
    Seek { target: Target, to: From },
    Create { topic: u8, options: Options },
    Alter { topic: u8, options: Options },
}

/// An operation of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Publish {
        topic: u8,
        records: Vec<Record>,
    },
    /// Commits so many offsets after the cursor.
    Commit {
        number: u32,
        ahead: i64,
    },
}

/// A producer whose epoch and sequence are so far from what is expected of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) id: u128,
    pub(crate) epoch: i32,
    pub(crate) sequence: i64,
}

/// Under which epoch a durable subscription was held.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Epoch {
    /// It was not.
    First,
    /// So far from the current one.
    Current(i32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum From {
    Earliest,
    Latest,
    /// So many offsets before the end.
    BeforeEnd(i64),
    /// So long before now.
    Ago(i64),
}

/// First sequence of a producer that is not known.
const FIRST_SEQUENCE: u64 = 10;

impl Action {
    pub(crate) fn resolve(&self, model: &Model, peer: usize) -> Request {
        match self.clone() {
            Self::Publish { topic, ack, claim, records } => {
                let producer = claim.map(|claim| claim.resolve(model));
                Request::Publish { ack, producer, topic, records }
            }
            Self::Batch { ack, claim, parts } => {
                let producer = claim.map(|claim| claim.resolve(model));
                let operations = parts.into_iter().map(|part| match part {
                    Part::Publish { topic, records } => Operation::Publish { topic, records },
                    Part::Commit { number, ahead } => {
                        Operation::Commit { number, offset: ahead_of_cursor(model, peer, number, ahead) }
                    }
                });
                Request::Batch { ack, producer, operations: operations.collect() }
            }
            Self::Subscribe { terms, from, epoch } => {
                let start = from.resolve(model, terms.topic);
                let durable = terms.durable.map(|durable| {
                    let known = model.durable(terms.topic, durable.name);
                    let current = known.map_or(0, |index| model.subscriptions[index].epoch);
                    let epoch = match epoch {
                        Epoch::First => 0,
                        Epoch::Current(by) => current.saturating_add_signed(by),
                    };
                    Durable { epoch, ..durable }
                });
                Request::Subscribe(Subscribe { start, durable, ..terms })
            }
            Self::Unsubscribe { number } => Request::Unsubscribe { number },
            Self::Commit { number, ahead } => {
                Request::Commit { number, offset: ahead_of_cursor(model, peer, number, ahead) }
            }
            Self::Nack { number, ahead, delay } => {
                Request::Nack { number, offset: ahead_of_cursor(model, peer, number, ahead), delay }
            }
            Self::Seek { target, to } => {
                let topic = match target {
                    Target::Number(number) => held(model, peer, number).map_or(0, |one| one.topic),
                    Target::Name { topic, .. } => topic,
                };
                Request::Seek { target, to: to.resolve(model, topic) }
            }
            Self::Create { topic, options } => Request::Create { topic, options },
            Self::Alter { topic, options } => Request::Alter { topic, options },
        }
    }
}

impl Request {
    pub(crate) const fn wants_answer(&self) -> bool {
        !matches!(self, Self::Publish { ack: AckLevel::None, .. })
    }
}

impl Claim {
    fn resolve(self, model: &Model) -> Producer {
        let (epoch, expected) = model.producers.expected(self.id).unwrap_or((1, None));
        Producer {
            id: self.id,
            epoch: epoch.saturating_add_signed(self.epoch),
            sequence: expected.unwrap_or(FIRST_SEQUENCE).saturating_add_signed(self.sequence),
        }
    }
}

impl From {
    fn resolve(self, model: &Model, topic: u8) -> Start {
        let end = model.topic(topic).map_or(model.bounds.first_offset, crate::topic::Topic::end);
        match self {
            Self::Earliest => Start::Earliest,
            Self::Latest => Start::Latest,
            Self::BeforeEnd(by) => Start::Offset(end.saturating_sub_signed(by)),
            Self::Ago(by) => Start::Time(model.now.saturating_sub_signed(by)),
        }
    }
}

/// So many offsets after the first uncommitted one.
fn ahead_of_cursor(model: &Model, peer: usize, number: u32, ahead: i64) -> u64 {
    held(model, peer, number).map_or(0, Subscription::cursor).saturating_add_signed(ahead)
}

fn held(model: &Model, peer: usize, number: u32) -> Option<&Subscription> {
    model.subscriptions.iter().find(|one| one.is_held_by(peer, number))
}

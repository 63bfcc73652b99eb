//! Requests whose numbers are relative to the state of the model when they are sent.

use zaichik_proto::{AckLevel, Producer};

use crate::model::broker::Model;
use crate::model::sharing::{How, Range, Settle};
use crate::model::subscription::Subscription;
use crate::model::words::{
    Answer, Durable, Join, Operation, Options, Record, Request, Start, Subscribe, Target,
};

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Publish {
        topic: u32,
        ack: AckLevel,
        claim: Option<Claim>,
        records: Vec<Record>,
    },
    Batch {
        ack: AckLevel,
        claim: Option<Claim>,
        parts: Vec<Part>,
    },
    Subscribe {
        terms: Subscribe,
        from: Place,
        epoch: Epoch,
    },
    Unsubscribe {
        which: Which,
    },
    Commit {
        which: Which,
        ahead: i64,
    },
    Nack {
        which: Which,
        ahead: i64,
        delay: u64,
    },
    Seek {
        which: Which,
        to: Place,
    },
    SeekByName {
        topic: u32,
        name: u32,
        to: Place,
    },
    Create {
        topic: u32,
        options: Options,
    },
    Alter {
        topic: u32,
        options: Options,
    },
    /// On a connection of version 1, an Alter that changes nothing.
    Trim {
        topic: u32,
        before: Place,
    },
    Join {
        join: Join,
        from: Place,
    },
    /// With a rewind number that is lower than the current one by `behind`.
    Settle {
        how: How,
        which: Which,
        behind: u32,
        named: Vec<Named>,
    },
    DescribeShared {
        topic: u32,
        name: u32,
    },
}

/// An operation of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Publish {
        topic: u32,
        records: Vec<Record>,
    },
    /// Commits the offset `ahead` places after the cursor.
    Commit {
        which: Which,
        ahead: i64,
    },
    /// Acknowledges what a member holds.
    Ack {
        which: Which,
        named: Vec<Named>,
    },
}

/// Some offsets, from one that a member holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    /// Which of those that it may acknowledge; the cursor if there are none.
    pub(crate) place: usize,
    /// How far from it they begin.
    pub(crate) shift: i64,
    pub(crate) count: u32,
}

/// A subscription of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// One of the subscriptions that it holds, or held until it was fenced.
    Own(usize),
    /// The one with this number, if there is one.
    Number(u32),
}

/// A producer, and the distance of its epoch and sequence from the expected ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) id: u128,
    pub(crate) epoch: i32,
    pub(crate) sequence: i64,
}

/// The epoch under which a durable subscription was held before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Epoch {
    /// It was not held.
    First,
    /// The maximum epoch, or this much less.
    Huge(u32),
    /// An epoch at this distance from the current one.
    Current(i32),
}

/// Where a subscription begins, or a seek leads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Earliest,
    Latest,
    /// This many offsets before the end.
    BeforeEnd(i64),
    /// This many microseconds ago.
    Ago(i64),
}

/// First sequence of an unknown producer.
const FIRST_SEQUENCE: u64 = 10;

impl Action {
    pub(crate) fn resolve(&self, model: &Model, peer: u64) -> Request {
        match self.clone() {
            Self::Publish { topic, ack, claim, records } => {
                let producer = claim.map(|claim| claim.resolve(model));
                Request::Publish { ack, producer, topic, records }
            }
            Self::Batch { ack, claim, parts } => {
                let producer = claim.map(|claim| claim.resolve(model));
                let operations = parts.into_iter().map(|part| match part {
                    Part::Publish { topic, records } => Operation::Publish { topic, records },
                    Part::Commit { which, ahead } => {
                        let number = which.resolve(model, peer);
                        let offset = ahead_of_cursor(model, peer, number, ahead);
                        Operation::Commit { number, offset, rewind: rewind_of(model, peer, number) }
                    }
                    Part::Ack { which, named } => {
                        let number = which.resolve(model, peer);
                        let ranges = ranges(model, peer, number, &named);
                        Operation::Ack { number, rewind: group_rewind(model, peer, number), ranges }
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
                        Epoch::Huge(by) => u32::MAX.wrapping_sub(by),
                    };
                    Durable { epoch, ..durable }
                });
                Request::Subscribe(Subscribe { start, durable, ..terms })
            }
            Self::Unsubscribe { which } => Request::Unsubscribe { number: which.resolve(model, peer) },
            Self::Commit { which, ahead } => {
                let number = which.resolve(model, peer);
                let offset = ahead_of_cursor(model, peer, number, ahead);
                Request::Commit { number, offset, rewind: rewind_of(model, peer, number) }
            }
            Self::Nack { which, ahead, delay } => {
                let number = which.resolve(model, peer);
                Request::Nack { number, offset: ahead_of_cursor(model, peer, number, ahead), delay }
            }
            Self::Seek { which, to } => {
                let number = which.resolve(model, peer);
                let topic = held(model, peer, number).map_or(0, |one| one.topic);
                Request::Seek { target: Target::Number(number), to: to.resolve(model, topic) }
            }
            Self::SeekByName { topic, name, to } => {
                Request::Seek { target: Target::Name { topic, name }, to: to.resolve(model, topic) }
            }
            Self::Create { topic, options } => Request::Create { topic, options },
            Self::Alter { topic, options } => Request::Alter { topic, options },
            Self::Trim { topic, .. } if !model.newer.contains(&peer) => {
                Request::Alter { topic, options: Options::default() }
            }
            Self::Trim { topic, before } => {
                let before = match (before.resolve(model, topic), model.topic(topic)) {
                    // The broker does not know all times of superseded records (rule C8).
                    (Start::Time(time), Some(one)) if one.settings.latest => {
                        Start::Offset(one.first_since(time))
                    }
                    (other, _) => other,
                };
                Request::Trim { topic, before }
            }
            Self::Join { join, from } => {
                Request::Join(Join { start: from.resolve(model, join.topic), ..join })
            }
            Self::Settle { how, which, behind, named } => {
                let number = which.resolve(model, peer);
                let rewind = group_rewind(model, peer, number).saturating_sub(behind);
                Request::Settle(Settle { how, number, rewind, ranges: ranges(model, peer, number, &named) })
            }
            Self::DescribeShared { topic, name } => Request::DescribeShared { topic, name },
        }
    }
}

impl Action {
    /// Whether it joins a shared subscription, or is about one.
    pub(crate) fn is_of_members(&self) -> bool {
        match self {
            Self::Join { .. } | Self::Settle { .. } | Self::DescribeShared { .. } => true,
            Self::Batch { parts, .. } => parts.iter().any(|part| matches!(part, Part::Ack { .. })),
            Self::Publish { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::Commit { .. }
            | Self::Nack { .. }
            | Self::Seek { .. }
            | Self::SeekByName { .. }
            | Self::Create { .. }
            | Self::Alter { .. }
            | Self::Trim { .. } => false,
        }
    }
}

impl Request {
    /// Whether this answer of the model is sent.
    pub(crate) fn wants(&self, answer: &Answer) -> bool {
        let is_quiet = matches!(self, Self::Settle(Settle { how: How::Ack { quiet: true }, .. }));
        let is_silent = matches!(answer, Answer::Acked { not_held, .. } if not_held.is_empty());
        !(matches!(self, Self::Publish { ack: AckLevel::None, .. }) || is_quiet && is_silent)
    }
}

impl Which {
    fn resolve(self, model: &Model, peer: u64) -> u32 {
        let index = match self {
            Self::Own(index) => index,
            Self::Number(number) => return number,
        };
        let exclusive = model.subscriptions.iter().filter_map(|one| one.holder);
        let members = model.groups.iter().flat_map(|group| &group.members);
        let held = exclusive.chain(members.map(|one| (one.session, one.number)));
        let all = held.chain(model.fenced.iter().map(|(session, number, _)| (*session, *number)));
        let mut own: Vec<_> = all.filter(|(session, _)| *session == peer).map(|(_, number)| number).collect();
        own.sort_unstable();
        own.get(index % own.len().max(1)).copied().unwrap_or(1)
    }
}

impl Claim {
    fn resolve(self, model: &Model) -> Producer {
        let (epoch, expected) = model.producers.expected(self.id).unwrap_or((1, FIRST_SEQUENCE));
        Producer {
            id: self.id,
            epoch: epoch.saturating_add_signed(self.epoch),
            sequence: expected.saturating_add_signed(self.sequence),
        }
    }
}

impl Place {
    fn resolve(self, model: &Model, topic: u32) -> Start {
        let end = model.topic(topic).map_or(model.bounds.first_offset, crate::model::topic::Topic::end);
        match self {
            Self::Earliest => Start::Earliest,
            Self::Latest => Start::Latest,
            Self::BeforeEnd(by) => Start::Offset(end.saturating_sub_signed(by)),
            Self::Ago(by) => Start::Time(model.now.saturating_sub_signed(by)),
        }
    }
}

/// The offset `ahead` places after the first uncommitted one.
fn ahead_of_cursor(model: &Model, peer: u64, number: u32, ahead: i64) -> u64 {
    held(model, peer, number).map_or(0, Subscription::cursor).saturating_add_signed(ahead)
}

/// The rewind number of a commit, if the connection's version has one: the current one, or for even offsets of the
/// cursor the one before.
fn rewind_of(model: &Model, peer: u64, number: u32) -> Option<u32> {
    let (rewind, cursor) = held(model, peer, number).map_or((0, 0), |one| (one.rewind, one.cursor()));
    model.newer.contains(&peer).then(|| rewind.saturating_sub(u32::from(cursor % 2 == 0)))
}

fn held(model: &Model, peer: u64, number: u32) -> Option<&Subscription> {
    model.subscriptions.iter().find(|one| one.is_held_by(peer, number))
}

/// What is named of the shared subscription of this number.
fn ranges(model: &Model, peer: u64, number: u32, named: &[Named]) -> Vec<Range> {
    let member = model.member(peer, number);
    let group = member.map(|(index, member)| (&model.groups[index], &model.groups[index].members[member]));
    let ackable = group.map_or_else(Vec::new, |(group, member)| group.ackable(member.id, 0, u64::MAX));
    let cursor = group.map_or(0, |(group, _)| group.cursor);
    let range = |one: &Named| {
        let at = ackable.get(one.place % ackable.len().max(1)).copied().unwrap_or(cursor);
        let first = at.saturating_add_signed(one.shift).min(u64::MAX - 1);
        // The last offset is below the highest number.
        let most = u32::try_from(u64::MAX - first).unwrap_or(u32::MAX);
        (first, one.count.min(most))
    };
    named.iter().map(range).collect()
}

fn group_rewind(model: &Model, peer: u64, number: u32) -> u32 {
    model.member(peer, number).map_or(0, |(index, _)| model.groups[index].rewind)
}

//! Generates requests of members of shared subscriptions.

use super::{ack, action, claim, name, number, peer, place, published, records, which};
use crate::choices::Choices;
use crate::model::action::{Action, Named, Part};
use crate::model::script::Step;
use crate::model::sharing::How;
use crate::model::words::{FOREVER, INVALID, Join, Start};
use zaichik_proto::AckLevel;

/// Begins a script with members.
pub(super) fn opening(choices: &mut Choices<'_>) -> Step {
    Step::Send(peer(choices), choices.some(1, 2, join))
}

pub(super) fn step(choices: &mut Choices<'_>) -> Step {
    Step::Send(peer(choices), choices.some(1, 3, one))
}

fn one(choices: &mut Choices<'_>) -> Action {
    match choices.weighted(&[8, 5, 4, 3, 2, 2, 1, 6]) {
        0 => Action::Publish {
            topic: published(choices),
            ack: ack(choices),
            claim: claim(choices),
            records: records(choices),
        },
        1 => join(choices),
        2 => {
            let quiet = choices.chance(30);
            settle(choices, How::Ack { quiet })
        }
        3 => {
            let delay = choices.one_of(&[0, 0, 0, 1, 3, 10, 1_000_000, FOREVER]);
            settle(choices, How::GiveBack { delay })
        }
        4 => settle(choices, How::Extend),
        5 => Action::DescribeShared { topic: topic(choices), name: name(choices) },
        6 => Action::Batch {
            ack: AckLevel::Accepted,
            claim: claim(choices),
            parts: choices.some(1, 3, |choices| match choices.weighted(&[2, 3]) {
                0 => Part::Publish { topic: published(choices), records: records(choices) },
                _ => Part::Ack { which: which(choices), named: choices.some(1, 2, named) },
            }),
        },
        _ => action(choices),
    }
}

fn join(choices: &mut Choices<'_>) -> Action {
    let join = Join {
        number: number(choices),
        topic: topic(choices),
        name: name(choices),
        start: Start::Earliest,
        window: choices.one_of(&[3, 1, 2, 10, 100, 0]),
        window_bytes: choices.one_of(&[1 << 20, 1 << 20, 1 << 20, 1 << 20, 1, 60]),
        max_attempts: choices.one_of(&[0, 1, 2, 2, 3]),
        dead_letter: choices.maybe(60, |choices| choices.one_of(&[3, 3, 3, 3, 3, 2, 0, INVALID])),
        ack_deadline: choices.one_of(&[0, 1, 3, 3, 5, 10, 1_000_000, FOREVER]),
        max_span: choices.one_of(&[0, 0, 0, 1, 2, 3, 5, u32::MAX]),
        inactive_ttl: choices.one_of(&[FOREVER, 0, 0, 1, 3, 10]),
        by_key: choices.chance(40),
    };
    Action::Join { join, from: place(choices) }
}

fn settle(choices: &mut Choices<'_>, how: How) -> Action {
    let (which, behind) = (which(choices), choices.one_of(&[0, 0, 0, 0, 0, 0, 0, 1]));
    Action::Settle { how, which, behind, named: choices.some(1, 3, named) }
}

fn named(choices: &mut Choices<'_>) -> Named {
    Named {
        place: choices.below(4),
        shift: choices.one_of(&[0, 0, 0, 0, 0, 1, -1, 5]),
        count: choices.one_of(&[1, 1, 1, 2, 3, 20, u32::MAX]),
    }
}

/// Most often the same, so that its members are many.
fn topic(choices: &mut Choices<'_>) -> u32 {
    choices.one_of(&[0, 0, 0, 0, 0, 0, 1, 2])
}

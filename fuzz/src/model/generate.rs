//! Generates scripts. Everything in them is small, because bugs occur at limits.
//!
//! A script is decoded from bytes, so that a property test and a fuzzer draw from the same scripts. Zeros and missing
//! bytes mean the simplest choice.

mod members;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_proto::AckLevel;

use crate::choices::Choices;
use crate::model::action::{Action, Claim, Epoch, Part, Place, Which};
use crate::model::script::{PEERS, Script, Step};
use crate::model::words::{Bounds, Durable, FOREVER, INVALID, Options, Record, Settings, Start, Subscribe};

/// Maximum message size of these brokers.
const MAX_MESSAGE: u32 = 100_000;

/// Bytes for a broker's limits, and for one step: more than most steps use.
const HEAD_BYTES: usize = 24;
const STEP_BYTES: usize = 64;

/// Maximum steps of a script: subscriptions at the beginning, and others.
const MAX_OPENINGS: usize = 3;
const MAX_STEPS: usize = 60;

/// Scripts that use every kind of request.
pub fn scripts() -> impl Strategy<Value = Script> {
    let steps = |most| vec_of(vec_of(any::<u8>(), STEP_BYTES), 0..=most);
    (vec_of(any::<u8>(), HEAD_BYTES), steps(MAX_OPENINGS), steps(MAX_STEPS)).prop_map(
        |(head, first, then)| {
            let empty = empty(&mut Choices::new(&head));
            let has_members = empty.has_members;
            let first = first.iter().map(|bytes| opening(&mut Choices::new(bytes), has_members));
            let then = then.iter().map(|bytes| step(&mut Choices::new(bytes), has_members));
            Script { steps: first.chain(then).collect(), ..empty }
        },
    )
}

impl Script {
    /// Decodes a script; any bytes are one.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        let mut choices = Choices::new(data);
        let mut script = empty(&mut choices);
        let has_members = script.has_members;
        script.steps = choices.some(0, MAX_OPENINGS, |choices| opening(choices, has_members));
        while !choices.is_empty() && script.steps.len() < MAX_STEPS {
            script.steps.push(step(&mut choices, has_members));
        }
        script
    }
}

fn empty(choices: &mut Choices<'_>) -> Script {
    let (defaults, bounds) = (settings(choices), bounds(choices));
    let byte = choices.byte();
    let (output_buffer, has_members) = ([256 << 10, 4 << 10][usize::from(byte % 2)], byte >= 128);
    Script { defaults, bounds, output_buffer, has_members, steps: Vec::new() }
}

fn bounds(choices: &mut Choices<'_>) -> Bounds {
    Bounds {
        first_offset: [0, u64::MAX - 8][choices.weighted(&[6, 1])],
        max_message: MAX_MESSAGE,
        max_topics: choices.one_of(&[100, 2, 4, 100, 100, 100]),
        max_subscriptions: choices.one_of(&[100, 2, 100, 100]),
        max_window: 1_024,
        max_window_size: 1 << 20,
        max_durables: choices.one_of(&[100, 1, 2, 100]),
        inactive_ttl: choices.one_of(&[2_000_000, 3, 10]),
        max_producers: choices.one_of(&[100, 1, 2, 100]),
        producer_ttl: choices.one_of(&[2_000_000, 3, 10]),
    }
}

/// Begins a script with subscriptions, without which most requests would only be refused.
fn opening(choices: &mut Choices<'_>, has_members: bool) -> Step {
    if has_members {
        return members::opening(choices);
    }
    Step::Send(peer(choices), choices.some(1, 2, subscribe))
}

fn step(choices: &mut Choices<'_>, has_members: bool) -> Step {
    match choices.weighted(&[28, 12, 4, 2, 2, 2, 2, 1, 2]) {
        0 if has_members => members::step(choices),
        0 => Step::Send(peer(choices), choices.some(1, 3, action)),
        1 => Step::Time(choices.one_of(&[0, 1, 1, 2, 3, 3, 5, 10, -4, 999_998, 1_000_000])),
        2 => Step::Housekeep,
        3 => Step::Reconnect(peer(choices)),
        4 => Step::Shrink,
        6 => Step::Restart,
        7 => Step::Full(true),
        8 => Step::Full(false),
        _ => {
            // Sent alone, because one exchange applies a bounded number of bytes, and then delivers.
            let len = choices.one_of(&[30_000, 70_000, 100_001]);
            let (ack, records) = (AckLevel::Accepted, vec![record(choices, len)]);
            Step::Send(peer(choices), vec![Action::Publish { topic: 0, ack, claim: None, records }])
        }
    }
}

/// A connection, most often the first, so that many requests share one connection.
fn peer(choices: &mut Choices<'_>) -> usize {
    choices.one_of(&[0, 0, 0, 1, 1, PEERS - 1])
}

fn action(choices: &mut Choices<'_>) -> Action {
    match choices.weighted(&[10, 5, 7, 4, 4, 2, 2, 1, 1, 1]) {
        0 => Action::Publish {
            topic: published(choices),
            ack: ack(choices),
            claim: claim(choices),
            records: records(choices),
        },
        1 => subscribe(choices),
        2 => Action::Commit { which: which(choices), ahead: choices.one_of(&[0, -1, 1, 2, 3]) },
        3 => Action::Nack {
            which: which(choices),
            ahead: choices.one_of(&[0, 0, 0, 1, 2, -1, 3]),
            delay: choices.one_of(&[0, 0, 0, 0, 0, 1, 3, 10, FOREVER]),
        },
        4 => Action::Batch {
            ack: match ack(choices) {
                AckLevel::Durable => AckLevel::Durable,
                AckLevel::Accepted | AckLevel::None => AckLevel::Accepted,
            },
            claim: claim(choices),
            parts: choices.some(0, 4, part),
        },
        5 => match choices.weighted(&[2, 1]) {
            0 => Action::Seek { which: which(choices), to: place(choices) },
            _ => Action::SeekByName { topic: topic(choices), name: name(choices), to: place(choices) },
        },
        6 => Action::Alter { topic: topic(choices), options: options(choices) },
        7 => Action::Unsubscribe { which: which(choices) },
        9 => Action::Trim { topic: topic(choices), before: place(choices) },
        _ => Action::Create { topic: topic(choices), options: options(choices) },
    }
}

fn part(choices: &mut Choices<'_>) -> Part {
    match choices.weighted(&[3, 1]) {
        0 => Part::Publish { topic: published(choices), records: records(choices) },
        _ => Part::Commit { which: which(choices), ahead: choices.one_of(&[0, -1, 1]) },
    }
}

fn subscribe(choices: &mut Choices<'_>) -> Action {
    let terms = Subscribe {
        number: number(choices),
        topic: topic(choices),
        start: Start::Earliest,
        window: choices.one_of(&[1, 0, 1, 1, 3, 3, 3]),
        window_bytes: choices.one_of(&[1 << 20, 1 << 20, 1, 40, 60]),
        max_attempts: choices.one_of(&[0, 1, 1, 1, 2, 2, 3]),
        dead_letter: choices.maybe(60, |choices| choices.one_of(&[3, 0, 2, 3, 3, 3, 3, 3, INVALID])),
        durable: choices.maybe(60, |choices| Durable {
            name: name(choices),
            reject: choices.chance(20),
            epoch: 0,
            inactive_ttl: choices.one_of(&[FOREVER, 0, 0, 1, 3, 10]),
        }),
    };
    let epoch = match choices.weighted(&[6, 2, 2, 2, 1]) {
        0 => Epoch::First,
        1 => Epoch::Current(0),
        2 => Epoch::Current(1),
        3 => Epoch::Current(-1),
        _ => Epoch::Huge(choices.one_of(&[0, 1, 2, 1 << 30])),
    };
    Action::Subscribe { terms, from: place(choices), epoch }
}

fn place(choices: &mut Choices<'_>) -> Place {
    match choices.weighted(&[4, 1, 2, 2]) {
        0 => Place::Earliest,
        1 => Place::Latest,
        2 => Place::BeforeEnd(choices.between(-3, 8)),
        _ => Place::Ago(choices.between(-2, 12)),
    }
}

fn ack(choices: &mut Choices<'_>) -> AckLevel {
    [AckLevel::Accepted, AckLevel::None, AckLevel::Durable][choices.weighted(&[16, 4, 1])]
}

fn claim(choices: &mut Choices<'_>) -> Option<Claim> {
    choices.maybe(40, |choices| Claim {
        id: choices.one_of(&[0, 1, 2]),
        epoch: choices.one_of(&[0, 0, 0, 0, 0, 1, -1]),
        sequence: choices.one_of(&[0, 0, 0, 0, -1, -1, -2, -5, 1]),
    })
}

/// A subscription that may or may not be held.
fn which(choices: &mut Choices<'_>) -> Which {
    match choices.weighted(&[9, 1]) {
        0 => Which::Own(choices.below(3)),
        _ => Which::Number(number(choices)),
    }
}

fn number(choices: &mut Choices<'_>) -> u32 {
    choices.one_of(&[1, 2, 3])
}

/// The name of a durable subscription.
fn name(choices: &mut Choices<'_>) -> u32 {
    choices.one_of(&[0, 1])
}

fn topic(choices: &mut Choices<'_>) -> u32 {
    choices.one_of(&[0, 0, 0, 0, 1, 1, 2, 3])
}

/// A topic to publish to.
fn published(choices: &mut Choices<'_>) -> u32 {
    match choices.weighted(&[30, 1]) {
        0 => topic(choices),
        _ => INVALID,
    }
}

fn records(choices: &mut Choices<'_>) -> Vec<Record> {
    let most = choices.one_of(&[1, 1, 4]);
    choices.some(1, most, |choices| {
        let len = match choices.weighted(&[20, 1]) {
            0 => choices.below(24),
            _ => 700,
        };
        record(choices, len)
    })
}

fn record(choices: &mut Choices<'_>, len: usize) -> Record {
    let key = choices.maybe(60, |choices| choices.one_of(&["", "a", "b", "c", "long"]));
    let tombstone = key.is_some() && choices.chance(20);
    let ttl = choices.maybe(30, |choices| choices.one_of(&[1, 3, 5, 10, 2_000_000, FOREVER]));
    let header = choices.maybe(10, Choices::byte);
    Record {
        key: key.map(|key| key.as_bytes().to_vec()),
        headers: header.map(|value| ("h".to_owned(), vec![value; 2])).into_iter().collect(),
        body: if tombstone { Vec::new() } else { vec![choices.byte(); len] },
        ttl,
        tombstone,
    }
}

fn settings(choices: &mut Choices<'_>) -> Settings {
    Settings {
        ttl: ttl(choices),
        window: window(choices),
        latest: choices.chance(50),
        max_messages: max_messages(choices),
        max_bytes: max_bytes(choices),
        reject: choices.chance(50),
        max_keys: max_keys(choices),
        tombstone_ttl: tombstone_ttl(choices),
    }
}

fn options(choices: &mut Choices<'_>) -> Options {
    let or_zero = |choices: &mut Choices<'_>, some: fn(&mut Choices<'_>) -> u64| {
        choices.maybe(30, |choices| [some(choices), 0][choices.weighted(&[30, 1])])
    };
    Options {
        ttl: choices.maybe(40, ttl),
        window: choices.maybe(30, window),
        latest: choices.maybe(30, |choices| choices.chance(50)),
        max_messages: or_zero(choices, max_messages),
        max_bytes: or_zero(choices, max_bytes),
        reject: choices.maybe(30, |choices| choices.chance(50)),
        max_keys: or_zero(choices, max_keys),
        tombstone_ttl: choices.maybe(20, tombstone_ttl),
    }
}

fn ttl(choices: &mut Choices<'_>) -> u64 {
    choices.one_of(&[FOREVER, FOREVER, 0, 0, 1, 3, 5, 10, 2_000_000])
}

fn window(choices: &mut Choices<'_>) -> u64 {
    choices.one_of(&[0, 3, 5, 10, 2_000_000, FOREVER])
}

fn tombstone_ttl(choices: &mut Choices<'_>) -> u64 {
    choices.one_of(&[FOREVER, 0, 1, 3, 10, 2_000_000])
}

fn max_messages(choices: &mut Choices<'_>) -> u64 {
    choices.one_of(&[FOREVER, FOREVER, FOREVER, FOREVER, 1, 2, 3, 5])
}

fn max_bytes(choices: &mut Choices<'_>) -> u64 {
    choices.one_of(&[FOREVER, FOREVER, FOREVER, FOREVER, 20, 50, 100, 200])
}

fn max_keys(choices: &mut Choices<'_>) -> u64 {
    choices.one_of(&[FOREVER, 1, 2, 3])
}

//! Hot paths whose instructions are counted, because times are noisy on a shared machine.
//!
//! `instructions SCENARIO ROUNDS` runs a scenario for a number of rounds; `.ci/instructions` does so twice under
//! callgrind, with few and with many rounds, and compares the difference with the figures in `instructions.tsv`.

#![expect(clippy::arithmetic_side_effects, clippy::expect_used, clippy::print_stdout, reason = "a benchmark")]

use zaichik_proto::{AckLevel, ClientFrame, Commit, TopicOptions};
use zaichik_testkit::{Connections, encoded, publish_equal};

/// Messages of one round: the frames of 128 bytes that one read of 64 KiB holds.
const MESSAGES: usize = 400;

/// A name, and a function that runs the scenario for a number of rounds.
type Scenario = (&'static str, fn(usize));

/// All scenarios.
const SCENARIOS: &[Scenario] = &[
    ("publish", |rounds| fan_out(rounds, 0, AckLevel::None)),
    ("one_to_one", |rounds| fan_out(rounds, 1, AckLevel::None)),
    ("one_to_ten", |rounds| fan_out(rounds, 10, AckLevel::None)),
    ("acknowledged", |rounds| fan_out(rounds, 1, AckLevel::Accepted)),
    ("one_at_a_time", one_at_a_time),
    ("committed", committed),
];

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let Some(name) = args.next() else {
        for (name, _) in SCENARIOS {
            println!("{name} {MESSAGES}");
        }
        return;
    };
    let rounds = args.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let (_, run) = SCENARIOS.iter().find(|(known, _)| *known == name).expect("a scenario");
    run(rounds);
}

/// One connection publishes a full read of messages to `subscribers` others; nothing is kept.
fn fan_out(rounds: usize, subscribers: usize, ack: AckLevel) {
    let (mut connections, publisher) = prepare();
    for _ in 0..subscribers {
        let subscriber = connections.connect();
        connections.subscribe(subscriber, "topic", 0);
    }
    let bytes = publish_equal("topic", ack, 1, None).repeat(MESSAGES);
    for _ in 0..rounds {
        connections.send(publisher, &bytes);
    }
}

/// Each message is delivered before the next one arrives.
fn one_at_a_time(rounds: usize) {
    let (mut connections, publisher) = prepare();
    let subscriber = connections.connect();
    connections.subscribe(subscriber, "topic", 0);
    let bytes = publish_equal("topic", AckLevel::None, 1, None);
    for _ in 0..rounds * MESSAGES {
        connections.send(publisher, &bytes);
    }
}

/// A window of 256, and a commit for each 100 messages.
fn committed(rounds: usize) {
    let (mut connections, publisher) = prepare();
    let subscriber = connections.connect();
    connections.subscribe(subscriber, "topic", 256);
    let bytes = publish_equal("topic", AckLevel::None, 1, None).repeat(MESSAGES / 4);
    let mut offset = 0;
    for _ in 0..rounds * 4 {
        connections.send(publisher, &bytes);
        offset += (MESSAGES / 4) as u64;
        let commit = Commit { request: 1, subscription: 1, offset: offset - 1, rewind: None, quiet: false };
        connections.send(subscriber, &encoded(&ClientFrame::Commit(commit)));
    }
}

fn prepare() -> (Connections, usize) {
    let mut connections = Connections::new();
    let publisher = connections.connect();
    connections.create(publisher, "topic", TopicOptions::new());
    (connections, publisher)
}

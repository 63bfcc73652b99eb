//! Hot paths whose instructions are counted, because times are noisy on a shared machine.
//!
//! `instructions SCENARIO ROUNDS` runs a scenario for a number of rounds; `.ci/instructions` does so twice under
//! callgrind, with few and with many rounds, and compares the difference with the figures in `instructions.tsv`.

#![expect(clippy::arithmetic_side_effects, clippy::expect_used, clippy::print_stdout, reason = "a benchmark")]

use std::collections::BTreeMap;

use bytes::Buf;
use zaichik_engine::Outbound;
use zaichik_proto::{AckLevel, ClientFrame, Commit, FrameHeader, HEADER_LEN, TopicOptions, Version};
use zaichik_testkit::{Connections, Member, encoded, publish_equal, requests};

/// Messages of one round: the frames of 128 bytes that one read of 64 KiB holds.
const MESSAGES: usize = 400;

/// Members of a shared subscription.
const MEMBERS: usize = 10;

/// The kind of a Delivery.
const DELIVERY: u8 = 0x49;

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
    ("workers", |rounds| workers(rounds, false)),
    ("workers_by_key", |rounds| workers(rounds, true)),
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

/// Ten members of a shared subscription with a window of 256: each acknowledges what it got of a full read of messages. With
/// `by_key` each message has another key.
fn workers(rounds: usize, by_key: bool) {
    let (mut connections, publisher) = prepare();
    for _ in 0..MEMBERS {
        let connection = connections.accept();
        connections.send(connection, &requests(|client| client.hello_as(Version::Two, b"")));
        let member = Member::new(1, "topic", "workers").window(256).deadline(30_000_000);
        let member = if by_key { member.by_key() } else { member };
        connections.send(connection, &requests(|client| client.join(member)));
    }
    let publish = |message: usize| {
        let key = message.to_le_bytes();
        publish_equal("topic", AckLevel::None, 1, by_key.then_some(&key[..]))
    };
    let bytes: Vec<u8> = (0..MESSAGES).flat_map(publish).collect();
    let mut acknowledged = 0;
    let mut got: BTreeMap<usize, Vec<(u64, u32)>> = BTreeMap::new();
    for _ in 0..rounds {
        let mut left = &bytes[..];
        while !left.is_empty() {
            connections.read(publisher, &mut left, usize::MAX);
            connections.settle(publisher, |connection, output| {
                take_deliveries(output, got.entry(connection).or_default());
            });
        }
        for (connection, ranges) in core::mem::take(&mut got) {
            acknowledged += ranges.iter().map(|(_, count)| *count as usize).sum::<usize>();
            if !ranges.is_empty() {
                connections.send(connection, &requests(|client| client.ack(1, &ranges)));
            }
        }
    }
    assert_eq!(acknowledged, rounds * MESSAGES, "each message goes to one member");
}

/// Reads output, and lists the first offset and the number of messages of each Delivery in it.
fn take_deliveries(output: &mut Outbound, ranges: &mut Vec<(u64, u32)>) {
    while output.has_remaining() {
        let mut header = [0; HEADER_LEN];
        output.copy_to_slice(&mut header);
        let mut left = FrameHeader::from_bytes(header).expect("a header").body_len as usize;
        if header[4] == DELIVERY {
            // The number of the subscription, its rewind number and the attempt.
            output.advance(12);
            let count = output.get_u32_le();
            ranges.push((output.get_u64_le(), count));
            left -= 24;
        }
        output.advance(left);
    }
}

fn prepare() -> (Connections, usize) {
    let mut connections = Connections::new();
    let publisher = connections.connect();
    connections.create(publisher, "topic", TopicOptions::new());
    (connections, publisher)
}

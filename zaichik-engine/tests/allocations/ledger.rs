//! The ledger matches the heap closely enough for the memory budget to hold.

use allocation_counter::measure;
use bytes::BytesMut;
use zaichik_engine::Ledger;
use zaichik_proto::{AckLevel, Producer, Record, TopicOptions};
use zaichik_testkit::{Connections, Sub, requests};

use crate::world::{publish, with_topic};

/// The number of items of a kind: enough for the spare capacity of tables to be negligible.
const MANY: u32 = 1_000;

/// Bounds of the ledger, in percent of the heap: tables double, and allocators round.
const RANGE: std::ops::RangeInclusive<u64> = 45..=160;

#[test]
fn records_that_are_kept_are_charged() {
    let mut world = with_topic(TopicOptions::new().retain_forever());
    let publisher = world.connect();
    let bytes = publish(AckLevel::None).repeat(100);
    assert_charged(
        &mut world,
        |ledger| ledger.topics,
        |world| (0..100).for_each(|_| world.send(publisher, &bytes)),
    );
}

#[test]
fn topics_that_are_empty_are_charged() {
    let mut world = with_topic(TopicOptions::new());
    let publisher = world.connect();
    assert_charged(
        &mut world,
        |ledger| ledger.topics,
        |world| {
            for index in 0..MANY {
                let bytes = publish_to(&format!("a topic of many, number {index}"), None, None);
                world.send(publisher, &bytes);
            }
        },
    );
}

#[test]
fn keys_that_are_remembered_are_charged() {
    let hour = core::time::Duration::from_hours(1);
    let mut world = with_topic(TopicOptions::new().compaction_window(hour));
    let publisher = world.connect();
    assert_charged(
        &mut world,
        |ledger| ledger.topics,
        |world| {
            for index in 0..MANY {
                world.send(publisher, &publish_to("topic", Some(format!("key {index}").as_bytes()), None));
            }
        },
    );
}

#[test]
fn subscriptions_with_full_windows_are_charged() {
    let mut world = with_topic(TopicOptions::new().retain_forever());
    let publisher = world.connect();
    world.send(publisher, &publish(AckLevel::None).repeat(500));
    let subscriber = world.connect();
    assert_charged(
        &mut world,
        |ledger| ledger.subscriptions,
        |world| {
            for index in 0..MANY {
                // One connection may subscribe to a topic many times under different names.
                let name = format!("durable {index}");
                let sub = Sub::new(index + 1, "topic").window(400).durable(&name).inactive(u64::MAX);
                world.send(subscriber, &requests(|client| client.subscribe_to(sub)));
            }
        },
    );
}

#[test]
fn producers_and_their_answers_are_charged() {
    let mut world = with_topic(TopicOptions::new());
    let publisher = world.connect();
    assert_charged(
        &mut world,
        |ledger| ledger.producers,
        |world| {
            for id in 1..=MANY {
                for sequence in 0..4 {
                    let producer = Producer { id: u128::from(id), epoch: 0, sequence };
                    // Two alternating topics, so that each answer is remembered separately.
                    let topic = if sequence % 2 == 0 { "topic" } else { "other" };
                    world.send(publisher, &publish_to(topic, None, Some(producer)));
                }
            }
        },
    );
}

/// Half of a large frame: the whole frame is reserved, and allocated.
#[test]
fn pending_input_is_charged() {
    let mut world = with_topic(TopicOptions::new());
    let body = vec![7; 100_000];
    let record = Record { body: &body, ..Record::default() };
    let frame = requests(|client| client.publish_with("topic", AckLevel::None, &[record]));
    let peers: Vec<_> = (0..MANY / 10).map(|_| world.connect()).collect();
    assert_charged(
        &mut world,
        |ledger| ledger.sessions,
        |world| {
            for peer in &peers {
                for part in frame[..frame.len() / 2].chunks(8 << 10) {
                    world.send(*peer, part);
                }
            }
        },
    );
}

/// A byte of the next frame does not hide the allocation in which the last one was.
#[test]
fn input_that_was_applied_is_charged_as_long_as_it_is_allocated() {
    let mut world = with_topic(TopicOptions::new());
    let bytes = publish(AckLevel::None).repeat(400);
    let peers: Vec<_> = (0..MANY / 10).map(|_| world.connect()).collect();
    assert_charged(
        &mut world,
        |ledger| ledger.sessions,
        |world| {
            for peer in &peers {
                for part in bytes.chunks(8 << 10) {
                    world.send(*peer, part);
                }
                world.send(*peer, &[5]);
            }
        },
    );
}

#[test]
fn pending_output_is_charged() {
    let mut world = with_topic(TopicOptions::new());
    let pings = requests(|client| client.ping(1)).repeat(500);
    let peers: Vec<_> = (0..MANY / 10).map(|_| world.connect()).collect();
    assert_charged(
        &mut world,
        |ledger| ledger.sessions,
        |world| {
            for peer in &peers {
                for _ in 0..30 {
                    world.send_unread(*peer, &pings);
                }
            }
        },
    );
}

/// Compares the heap's growth during a call with the ledger's growth.
fn assert_charged(world: &mut Connections, part: fn(&Ledger) -> u64, act: impl FnOnce(&mut Connections)) {
    let before = part(&world.broker.ledger());
    let held = measure(|| act(world)).bytes_current;
    let held = u64::try_from(held).expect("more than before");
    let charged = part(&world.broker.ledger()) - before;
    let percent = charged * 100 / held;
    assert!(RANGE.contains(&percent), "{charged} bytes are charged, {held} are allocated: {percent} %");
    world.broker.verify().expect("the ledger is a recount");
}

fn publish_to(topic: &str, key: Option<&[u8]>, producer: Option<Producer>) -> BytesMut {
    let record = Record { key, body: b"b", ..Record::default() };
    requests(|client| client.publish_as(producer, topic, AckLevel::Accepted, &[record]))
}

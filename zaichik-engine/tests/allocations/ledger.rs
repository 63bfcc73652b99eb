//! The ledger matches the heap closely enough for the memory budget to hold.

use allocation_counter::measure;
use bytes::BytesMut;
use zaichik_engine::{Ledger, Turn};
use zaichik_proto::{
    AckLevel, ClientFrame, CompactionMode, Nack, Producer, Publish, Record, Records, TopicOptions,
};
use zaichik_testkit::{Connections, Sub, requests};

use crate::world::{publish, subscriber, with_topic};

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
fn deliveries_before_a_rewind_are_charged() {
    const RECORDS: u32 = 200;
    let mut world = with_topic(TopicOptions::new().retain_forever());
    let publisher = world.connect();
    let subscribers: Vec<_> = (0..20).map(|_| subscriber(&mut world, RECORDS)).collect();
    world.send(publisher, &publish(AckLevel::None).repeat(RECORDS as usize));
    // The deliveries so far are not measured here, nor are the buffers that they left.
    for subscriber in &subscribers {
        world.shrink(*subscriber);
    }
    assert_charged(
        &mut world,
        |ledger| ledger.subscriptions,
        |world| {
            for subscriber in subscribers {
                // Each nack redelivers what follows, so in the end every record has another number of attempts.
                for offset in (0..u64::from(RECORDS)).rev() {
                    let nack = Nack { request: 1, subscription: 1, offset, delay_micros: 0 };
                    world.send(subscriber, &requests(|client| client.send(&ClientFrame::Nack(nack))));
                }
                world.shrink(subscriber);
            }
        },
    );
}

#[test]
fn records_that_newer_ones_will_remove_are_charged() {
    let hour = core::time::Duration::from_hours(1);
    let options = TopicOptions::new().retain_forever().compaction(CompactionMode::Latest);
    let mut world = with_topic(options.compaction_window(hour));
    let publisher = world.connect();
    assert_charged(
        &mut world,
        |ledger| ledger.topics,
        |world| (0..MANY).for_each(|_| world.send(publisher, &publish_to("topic", Some(b"key"), None))),
    );
}

#[test]
fn records_with_their_own_time_to_live_are_charged() {
    let mut world = with_topic(TopicOptions::new().retain_forever().compaction(CompactionMode::Latest));
    let publisher = world.connect();
    let mut record = Vec::new();
    Record { ttl_micros: Some(3_600_000_000), ..Record::default() }.encode(&mut record);
    let (records, topic) = (Records::from_encoded(1, &record), b"topic");
    let publish = Publish { request: 1, ack: AckLevel::Accepted, producer: None, topic, records };
    let bytes = requests(|client| client.send(&ClientFrame::Publish(publish)));
    assert_charged(
        &mut world,
        |ledger| ledger.topics,
        |world| (0..MANY).for_each(|_| world.send(publisher, &bytes)),
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

/// All but one are forgotten, so nearly all that is left are the tables that find and order the producers.
#[test]
fn tables_of_producers_that_were_forgotten_are_charged() {
    let mut world = with_topic(TopicOptions::new());
    let publisher = world.connect();
    assert_charged(
        &mut world,
        |ledger| ledger.producers,
        |world| {
            for id in 1..=MANY {
                let producer = Producer { id: u128::from(id), epoch: 0, sequence: 0 };
                world.send(publisher, &publish_to("topic", None, Some(producer)));
            }
            world.now = world.now + world.broker.config().producer_ttl / 2;
            let last = Producer { id: u128::from(MANY), epoch: 0, sequence: 1 };
            world.send(publisher, &publish_to("topic", None, Some(last)));
            world.now = world.now + world.broker.config().producer_ttl / 2;
            while world.housekeep() == Turn::More {}
            world.shrink(publisher);
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

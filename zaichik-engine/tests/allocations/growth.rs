//! Rule S14: tables grow in parts, so that no call allocates and copies more because the broker holds more.

use allocation_counter::measure;
use core::time::Duration;
use zaichik_engine::{Broker, Effects, Seed, Timestamp, Turn};
use zaichik_proto::{AckLevel, Producer, Record, TopicOptions};
use zaichik_testkit::{Connections, Sub, requests};

use crate::world::with_topic;

/// Entries of a table: enough for one of 16 bytes each that doubles to need more than [`MOST`].
const MANY: u32 = 20_000;

/// Maximum bytes that a call may allocate: a hash table's next size, with 9 bytes for each place, and little besides. It
/// is allocated at once and filled in steps.
const MOST: u64 = 320 << 10;

#[test]
fn s14_topics() {
    assert_steady(&mut with_topic(TopicOptions::new()), |world, number| {
        world.send(0, &requests(|client| client.create(&number.to_string(), TopicOptions::new())));
    });
}

#[test]
fn s14_subscriptions_to_one_topic_that_are_paused_commit_and_end() {
    let mut world = with_topic(TopicOptions::new().retain_forever());
    world.send(0, &requests(|client| client.publish("topic", "a")));
    let peers: Vec<_> = (0..4).map(|_| world.connect()).collect();
    let peer = |number: u32| peers[number as usize % 4];
    assert_steady(&mut world, |world, number| {
        let name = number.to_string();
        let sub = Sub::new(number, "topic").durable(&name);
        world.send(peer(number), &requests(|client| client.subscribe_to(sub)));
    });
    assert_steady(&mut world, |world, subscription| {
        world.send(peer(subscription), &requests(|client| client.nack(subscription, 0, 1_000_000)));
    });
    assert_steady(&mut world, |world, number| {
        world.send(peer(number), &requests(|client| client.unsubscribe(number)));
    });
    world.now = world.now + Duration::from_hours(100);
    assert_steady(&mut world, |world, _| while world.housekeep() == Turn::More {});
    assert_eq!(world.broker.ledger().subscriptions, 0);
}

#[test]
fn s14_connections() {
    let mut config = Connections::new().broker.config().clone();
    config.max_handshakes = MANY;
    let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
    let mut broker = Broker::new(config, Seed::new(1, 2)).expect("a valid configuration");
    let mut sessions = Vec::with_capacity(MANY as usize);
    for _ in 0..MANY {
        let allocated = measure(|| sessions.push(broker.accept(now, &mut effects))).bytes_total;
        assert!(allocated <= MOST, "{allocated} bytes for the connection after {}", sessions.len());
    }
}

#[test]
fn s14_keys_of_a_topic() {
    let window = Duration::from_hours(1);
    assert_steady(&mut with_topic(TopicOptions::new().compaction_window(window)), |world, number| {
        let record = Record { key: Some(&number.to_le_bytes()), ..Record::default() };
        world.send(0, &requests(|client| client.publish_with("topic", AckLevel::Accepted, &[record])));
    });
}

#[test]
fn s14_producers() {
    let mut config = Connections::new().broker.config().clone();
    config.max_producers = u32::MAX;
    let mut world = Connections::with(config, Seed::new(1, 2), Timestamp::from_micros(1));
    world.connect();
    assert_steady(&mut world, |world, number| {
        let producer = Producer { id: u128::from(number), epoch: 0, sequence: 0 };
        let record = Record::default();
        world.send(
            0,
            &requests(|client| client.publish_as(Some(producer), "topic", AckLevel::Accepted, &[record])),
        );
    });
}

/// Checks that none of many calls allocates much.
fn assert_steady(world: &mut Connections, mut act: impl FnMut(&mut Connections, u32)) {
    for number in 0..MANY {
        let allocated = measure(|| act(world, number)).bytes_total;
        assert!(allocated <= MOST, "call {number} allocates {allocated} bytes");
    }
    world.verify();
}

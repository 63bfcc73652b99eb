//! A broker that has warmed up allocates nothing per message: it reuses its memory.

use allocation_counter::{measure, opt_out};
use bytes::BytesMut;
use zaichik_proto::{
    AckLevel, Batch, ClientFrame, Operation, OperationsBuilder, Producer, Publish, Record, Records,
    TopicOptions,
};

use crate::world::{commit, publish, record, subscriber, with_topic};

/// Publishes to warm up, and publishes to measure.
const PUBLISHES: u64 = 20_000;

#[test]
fn publishing_without_readers_allocates_nothing() {
    let bytes = publish(AckLevel::Accepted);
    let mut world = with_topic(TopicOptions::new());
    let publisher = world.connect();
    assert_few(|_| world.send(publisher, &bytes));
}

#[test]
fn a_full_log_allocates_a_chunk_for_many_messages() {
    let bytes = publish(AckLevel::Accepted);
    let mut world = with_topic(TopicOptions::new().retain_forever().max_bytes(1 << 20));
    let publisher = world.connect();
    assert_few(|_| world.send(publisher, &bytes));
}

#[test]
fn a_delivery_of_each_message_to_a_subscriber_that_does_not_commit_allocates_nothing() {
    let bytes = publish(AckLevel::None);
    let mut world = with_topic(TopicOptions::new());
    let publisher = world.connect();
    subscriber(&mut world, 0);
    assert_few(|_| world.send(publisher, &bytes));
}

#[test]
fn a_delivery_of_each_message_to_a_subscriber_that_commits_allocates_nothing() {
    let bytes = publish(AckLevel::Accepted);
    let mut world = with_topic(TopicOptions::new());
    let publisher = world.connect();
    let subscriber = subscriber(&mut world, 64);
    let mut commits = BytesMut::new();
    assert_few(|index| {
        world.send(publisher, &bytes);
        if index % 32 == 31 {
            commits.clear();
            commit(index).encode(&mut commits);
            world.send(subscriber, &commits);
        }
    });
}

#[test]
fn many_messages_at_once_to_both_kinds_of_subscribers_allocate_nothing() {
    let bytes = publish(AckLevel::Accepted).repeat(50);
    let mut world = with_topic(TopicOptions::new().retain_forever().max_bytes(1 << 20));
    let publisher = world.connect();
    subscriber(&mut world, 0);
    let subscriber = subscriber(&mut world, 64);
    let mut commits = BytesMut::new();
    assert_few(|index| {
        if index % 50 == 49 {
            world.send(publisher, &bytes);
            commits.clear();
            commit(index).encode(&mut commits);
            world.send(subscriber, &commits);
        }
    });
}

#[test]
fn publishes_of_a_producer_allocate_nothing() {
    let mut world = with_topic(TopicOptions::new());
    let publisher = world.connect();
    let (record, mut bytes) = (record(), BytesMut::new());
    let records = Records::from_encoded(1, &record);
    assert_few(|sequence| {
        bytes.clear();
        // Two alternating topics, so that each answer is remembered separately.
        let topic = if sequence % 2 == 0 { b"topic" } else { b"other" };
        let (ack, producer) = (AckLevel::Accepted, Some(Producer { id: 1, epoch: 0, sequence }));
        ClientFrame::Publish(Publish { request: 1, ack, producer, topic, records }).encode(&mut bytes);
        world.send(publisher, &bytes);
    });
}

#[test]
fn duplicates_and_refusals_of_a_producer_and_their_repeats_allocate_nothing() {
    let mut world = with_topic(TopicOptions::new().compaction_window(core::time::Duration::from_hours(1)));
    let publisher = world.connect();
    let mut record = Vec::new();
    Record { key: Some(b"key"), ..Record::default() }.encode(&mut record);
    let records = Records::from_encoded(1, &record);
    let mut bytes = BytesMut::new();
    assert_few(|index| {
        bytes.clear();
        let producer = Some(Producer { id: 1, epoch: 0, sequence: index / 2 });
        let topic: &[u8] = if index % 4 < 2 { b"topic" } else { b"$refused" };
        let ack = AckLevel::Accepted;
        ClientFrame::Publish(Publish { request: 1, ack, producer, topic, records }).encode(&mut bytes);
        world.send(publisher, &bytes);
    });
}

#[test]
fn batches_of_publishes_and_commits_allocate_nothing() {
    let mut world = with_topic(TopicOptions::new());
    let publisher = subscriber(&mut world, 64);
    let record = record();
    let records = Records::from_encoded(1, &record);
    let mut bytes = BytesMut::new();
    assert_few(|sequence| {
        // Encoding it is not measured.
        opt_out(|| {
            let mut operations = OperationsBuilder::default();
            for topic in [b"topic", b"other", b"third"] {
                operations.push(Operation::Publish { topic, records });
            }
            if let Some(offset) = sequence.checked_sub(1) {
                operations.push(Operation::Commit { subscription: 1, offset, rewind: None });
            }
            bytes.clear();
            let (ack, operations) = (AckLevel::Accepted, operations.operations());
            let producer = Some(Producer { id: 1, epoch: 0, sequence });
            ClientFrame::Batch(Batch { request: 1, ack, producer, operations }).encode(&mut bytes);
        });
        world.send(publisher, &bytes);
    });
    assert_eq!(world.broker.stats().refused, 0);
    assert_eq!(world.broker.stats().records_delivered, PUBLISHES * 2);
}

/// Calls `publish` with 0, 1, 2 …, first to warm up and then to measure.
fn assert_few(mut publish: impl FnMut(u64)) {
    (0..PUBLISHES).for_each(&mut publish);
    let allocations = measure(|| (PUBLISHES..PUBLISHES * 2).for_each(&mut publish)).count_total;
    assert!(allocations < PUBLISHES / 100, "{allocations} allocations for {PUBLISHES} publishes");
}

//! The vectors of the client's frames.

use std::collections::BTreeMap;
use std::time::Duration;

use zaichik_proto::{
    AckLevel, AlterTopic, Batch, ClientFrame, Commit, CompactionMode, Describe, Durable, Hello, Nack,
    OnConflict, Operation, Overflow, Publish, Record, RemoveDurable, Seek, SeekTarget, Start, Subject,
    Subscribe, TopicOptions, Unsubscribe,
};

use crate::build::{MINUTE, NEW_YEAR, body, create, operations, producer, records};

pub(crate) fn frames() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let mut frames = topics();
    frames.extend(publishes());
    frames.extend(subscribes());
    frames.extend(on_subscriptions());
    frames.extend(batches());
    frames.extend(descriptions());
    frames.extend(connection());
    frames
}

fn connection() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let hello = Hello { version: 1, name: "probe", token: b"" };
    BTreeMap::from([
        ("hello", ClientFrame::Hello(hello)),
        ("hello_token", ClientFrame::Hello(Hello { token: b"open sesame", ..hello })),
        ("ping", ClientFrame::Ping { nonce: 22 }),
        ("pong", ClientFrame::Pong { nonce: 0xfedc_ba98_7654_3210 }),
        ("close", ClientFrame::Close),
        ("extension", ClientFrame::Extension { kind: 0x80, body: b"\x01\x02\x03" }),
    ])
}

fn topics() -> BTreeMap<&'static str, ClientFrame<'static>> {
    BTreeMap::from([
        ("create_topic_defaults", create(2, TopicOptions::new())),
        ("create_topic_retention", create(3, TopicOptions::new().retain_forever().max_messages(1_000))),
        (
            "create_topic_all",
            create(
                0x0102_0304,
                TopicOptions::new()
                    .retention_ttl(Duration::from_secs(10))
                    .compaction_window(Duration::from_secs(5))
                    .compaction(CompactionMode::Latest)
                    .max_messages(1_000)
                    .max_bytes(65_536)
                    .overflow(Overflow::Reject)
                    .max_keys(500)
                    .tombstone_ttl(Duration::from_micros(MINUTE)),
            ),
        ),
        (
            "alter_topic",
            ClientFrame::AlterTopic(AlterTopic {
                request: 4,
                topic: "café".as_bytes(),
                options: TopicOptions::new().overflow(Overflow::DropOldest),
            }),
        ),
    ])
}

fn publishes() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let publish = Publish {
        request: 5,
        ack: AckLevel::Accepted,
        producer: None,
        topic: b"orders",
        records: records(&[body(b"hello")]),
    };
    BTreeMap::from([
        ("publish", ClientFrame::Publish(publish)),
        ("publish_records", ClientFrame::Publish(publish_records(publish))),
        (
            "publish_unacknowledged",
            ClientFrame::Publish(Publish {
                request: 0,
                ack: AckLevel::None,
                records: records(&[body(b"")]),
                ..publish
            }),
        ),
        (
            "publish_producer",
            ClientFrame::Publish(Publish {
                request: 8,
                ack: AckLevel::Durable,
                producer: Some(producer()),
                ..publish
            }),
        ),
    ])
}

fn subscribes() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let subscribe = Subscribe {
        request: 9,
        subscription: 1,
        topic: b"orders",
        start: Start::Earliest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    };
    BTreeMap::from([
        ("subscribe", ClientFrame::Subscribe(subscribe)),
        (
            "subscribe_no_commits",
            ClientFrame::Subscribe(Subscribe {
                request: 10,
                subscription: 2,
                start: Start::Latest,
                window: 0,
                ..subscribe
            }),
        ),
        (
            "subscribe_offset",
            ClientFrame::Subscribe(Subscribe {
                request: 11,
                subscription: 3,
                start: Start::Offset(42),
                window: 256,
                window_bytes: 65_536,
                ..subscribe
            }),
        ),
        (
            "subscribe_time",
            ClientFrame::Subscribe(Subscribe {
                request: 12,
                subscription: 4,
                start: Start::Time(NEW_YEAR),
                ..subscribe
            }),
        ),
        (
            "subscribe_durable",
            ClientFrame::Subscribe(Subscribe {
                request: 13,
                subscription: 5,
                max_attempts: 3,
                dead_letter: b"orders.dead",
                durable: Some(Durable {
                    name: "billing",
                    on_conflict: OnConflict::Reject,
                    epoch: 2,
                    inactive_ttl_micros: 60 * MINUTE,
                }),
                ..subscribe
            }),
        ),
    ])
}

fn on_subscriptions() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let commit = Commit { request: 15, subscription: 1, offset: 41, rewind: None, quiet: false };
    BTreeMap::from([
        ("unsubscribe", ClientFrame::Unsubscribe(Unsubscribe { request: 14, subscription: 1 })),
        ("commit", ClientFrame::Commit(commit)),
        ("commit_quiet", ClientFrame::Commit(Commit { request: 16, quiet: true, ..commit })),
        (
            "nack",
            ClientFrame::Nack(Nack { request: 17, subscription: 1, offset: 40, delay_micros: 1_500_000 }),
        ),
        (
            "seek_subscription",
            ClientFrame::Seek(Seek {
                request: 18,
                target: SeekTarget::Subscription(1),
                to: Start::Offset(7),
            }),
        ),
        (
            "seek_durable",
            ClientFrame::Seek(Seek {
                request: 19,
                target: SeekTarget::Durable { topic: b"orders", name: "billing" },
                to: Start::Latest,
            }),
        ),
    ])
}

fn batches() -> BTreeMap<&'static str, ClientFrame<'static>> {
    BTreeMap::from([
        (
            "batch",
            ClientFrame::Batch(Batch {
                request: 20,
                ack: AckLevel::Accepted,
                producer: Some(producer()),
                operations: operations(&[
                    Operation::Publish { topic: b"paid", records: records(&[body(b"a"), body(b"b")]) },
                    Operation::Commit { subscription: 1, offset: 41, rewind: None },
                ]),
            }),
        ),
        (
            "batch_empty",
            ClientFrame::Batch(Batch {
                request: 21,
                ack: AckLevel::Accepted,
                producer: None,
                operations: operations(&[]),
            }),
        ),
    ])
}

fn descriptions() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let (topic, name) = (b"orders", "billing");
    let describe = |request, subject| ClientFrame::Describe(Describe { request, subject });
    BTreeMap::from([
        ("describe_broker", describe(23, Subject::Broker)),
        ("describe_topics", describe(24, Subject::Topics { from: 7 })),
        ("describe_topic", describe(25, Subject::Topic { topic })),
        ("describe_subscriptions", describe(26, Subject::Subscriptions { from: 0, topic: b"" })),
        ("describe_durable", describe(27, Subject::Durable { topic, name })),
        ("remove_durable", ClientFrame::RemoveDurable(RemoveDurable { request: 28, topic, name })),
    ])
}

fn publish_records(publish: Publish<'static>) -> Publish<'static> {
    Publish {
        request: 6,
        records: records(&[
            Record {
                key: Some(b"user-7"),
                headers: &[("trace", b"\x01\x02"), ("empty", b"")],
                body: b"hello",
                ttl_micros: Some(1_000_000),
                ..Record::default()
            },
            Record { key: Some(b""), body: b"the empty key is a key", ..Record::default() },
            Record { key: Some(b"user-8"), tombstone: true, ..Record::default() },
        ]),
        ..publish
    }
}

//! The frames of the vectors of version 2.

use std::collections::BTreeMap;

use zaichik_proto::{
    Ack, AckLevel, Acked, Batch, BatchResult, Batched, ClientFrame, Commit, DescribeShared, Durable, Extend,
    Limits, List, Matched, MemberItem, Members, NackShared, NotMatched, OffsetRange, OnConflict, Operation,
    PatternSubscribed, Published, Refusal, RefusalCode, Refused, ServerFrame, Shard, SharedState, Start,
    SubscribePattern, SubscribeShared, TrimTopic, Trimmed, Welcome,
};

use crate::build::{items, list, operations, producer};

pub(crate) fn client_frames() -> BTreeMap<&'static str, ClientFrame<'static>> {
    let commit = Commit { request: 15, subscription: 1, offset: 41, rewind: Some(3), quiet: false };
    BTreeMap::from([
        ("commit", ClientFrame::Commit(commit)),
        (
            "batch",
            ClientFrame::Batch(Batch {
                request: 20,
                ack: AckLevel::Accepted,
                producer: Some(producer()),
                operations: operations(&[Operation::Commit { subscription: 1, offset: 41, rewind: Some(3) }]),
            }),
        ),
        (
            "batch_ack",
            ClientFrame::Batch(Batch {
                request: 28,
                ack: AckLevel::Accepted,
                producer: None,
                operations: operations(&[Operation::Ack {
                    subscription: 4,
                    rewind: 1,
                    ranges: ranges([(43, 1)]),
                }]),
            }),
        ),
        (
            "subscribe_shared",
            ClientFrame::SubscribeShared(SubscribeShared {
                request: 23,
                subscription: 4,
                topic: b"orders",
                name: "workers",
                start: Start::Earliest,
                window: 64,
                window_bytes: 0,
                max_attempts: 5,
                dead_letter: b"dead",
                ack_deadline_micros: 30_000_000,
                max_span: 0,
                inactive_ttl_micros: 0,
                by_key: true,
            }),
        ),
        (
            "ack",
            ClientFrame::Ack(Ack {
                request: 24,
                subscription: 4,
                rewind: 1,
                quiet: true,
                ranges: ranges([(40, 2), (44, 1)]),
            }),
        ),
        (
            "nack_shared",
            ClientFrame::NackShared(NackShared {
                request: 25,
                subscription: 4,
                rewind: 1,
                delay_micros: 1_000_000,
                ranges: ranges([(42, 1)]),
            }),
        ),
        (
            "extend",
            ClientFrame::Extend(Extend {
                request: 26,
                subscription: 4,
                rewind: 1,
                ranges: ranges([(43, 1)]),
            }),
        ),
        (
            "describe_shared",
            ClientFrame::DescribeShared(DescribeShared { request: 27, topic: b"orders", name: "workers" }),
        ),
        ("subscribe_pattern", ClientFrame::SubscribePattern(subscribe_pattern())),
        ("shard", ClientFrame::Shard(Shard { request: 1, shard: 7 })),
        (
            "trim_topic",
            ClientFrame::TrimTopic(TrimTopic { request: 21, topic: b"orders", before: Start::Offset(1_000) }),
        ),
        (
            "trim_topic_time",
            ClientFrame::TrimTopic(TrimTopic {
                request: 22,
                topic: b"orders",
                before: Start::Time(1_767_225_600_000_000),
            }),
        ),
    ])
}

fn subscribe_pattern() -> SubscribePattern<'static> {
    SubscribePattern {
        request: 29,
        subscription: 5,
        pattern: b"orders.*",
        start: Start::Earliest,
        window: 64,
        window_bytes: 0,
        max_attempts: 5,
        dead_letter: b"dead",
        durable: Some(Durable {
            name: "billing",
            on_conflict: OnConflict::TakeOver,
            epoch: 0,
            inactive_ttl_micros: 0,
        }),
    }
}

fn ranges<const N: usize>(ranges: [(u64, u32); N]) -> List<'static, OffsetRange> {
    list(ranges.map(|(first, count)| OffsetRange { first, count }))
}

fn members() -> Members<'static> {
    let (window, in_flight, oldest_micros) = (64, 5, 2_000_000);
    let state = SharedState {
        by_key: true,
        ack_deadline_micros: 30_000_000,
        max_span: 65_536,
        rewind: 1,
        cursor: 42,
        next: 50,
        end: 60,
        in_flight: 5,
        waiting: 2,
        blocked: 1,
        blocked_by: u64::MAX,
        oldest_micros,
        members: 1,
    };
    let member = MemberItem { client: "w1", window, in_flight, oldest_micros, stuck: false };
    Members { request: 27, state, members: items(&[member]) }
}

pub(crate) fn server_frames() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let (created, repeated) = (false, Some(true));
    let results = list([BatchResult { operation: 0, created: true, first_offset: 40 }]);
    let refusal = Refusal::with_value(RefusalCode::TooLarge, 1_000);
    BTreeMap::from([
        (
            "welcome",
            ServerFrame::Welcome(Welcome {
                version: 2,
                instance: 1,
                limits: Limits::default(),
                capabilities: 0,
                server: "zaichik",
            }),
        ),
        (
            "welcome_trim",
            ServerFrame::Welcome(Welcome {
                version: 2,
                instance: 1,
                limits: Limits::default(),
                capabilities: Welcome::TRIM,
                server: "zaichik",
            }),
        ),
        ("acked", ServerFrame::Acked(Acked { request: 24, cursor: 42, not_held: ranges([(44, 1)]) })),
        ("members", ServerFrame::Members(members())),
        (
            "pattern_subscribed",
            ServerFrame::PatternSubscribed(PatternSubscribed {
                request: 29,
                subscription: 5,
                epoch: 1,
                topics: 2,
            }),
        ),
        (
            "matched",
            ServerFrame::Matched(Matched {
                subscription: 5,
                alias: SubscribePattern::FIRST_ALIAS,
                epoch: 1,
                rewind: 0,
                start: 40,
                end: 42,
                topic: b"orders.new",
            }),
        ),
        (
            "not_matched",
            ServerFrame::NotMatched(NotMatched {
                subscription: 5,
                code: RefusalCode::SubscriptionsFull,
                value: 100_000,
                others: 3,
                topic: b"orders.new",
            }),
        ),
        ("trimmed", ServerFrame::Trimmed(Trimmed { request: 21, start: 1_000, removed: 250 })),
        (
            "published_repeated",
            ServerFrame::Published(Published {
                request: 5,
                created,
                repeated,
                first_offset: Some(41),
                duplicates: List::EMPTY,
            }),
        ),
        (
            "batched",
            ServerFrame::Batched(Batched {
                request: 20,
                repeated: Some(false),
                results,
                duplicates: List::EMPTY,
            }),
        ),
        (
            "refused_storage_full",
            ServerFrame::Refused(Refused {
                request: 7,
                count: 1,
                refusal: Refusal::with_value(RefusalCode::StorageFull, 1_000_000),
                repeated: Some(false),
            }),
        ),
        ("refused_repeated", ServerFrame::Refused(Refused { request: 6, count: 1, refusal, repeated })),
    ])
}

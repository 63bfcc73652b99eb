//! The vectors of the broker's frames.

use std::collections::BTreeMap;

use zaichik_proto::{
    AckRun, Acks, BatchDuplicate, BatchResult, Batched, Counter, CounterValue, Counters, Delivery, Done,
    Duplicate, Fatal, FaultCode, Fenced, Gap, GapReason, Goodbye, GoodbyeReason, Limits, List, Page,
    Published, Record, Refusal, RefusalCode, ServerFrame, Subscribed, SubscriptionItem, TopicItem,
    TopicOptions, TopicReady, TopicStatus, Unsubscribed, Welcome,
};

use crate::build::{MINUTE, items, list, records, refused, stamped};

pub(crate) fn frames() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let mut frames = answers();
    frames.extend(refusals());
    frames.extend(stream_frames());
    frames.extend(descriptions());
    frames.extend([
        (
            "welcome",
            ServerFrame::Welcome(Welcome {
                version: 1,
                instance: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
                limits: Limits::default(),
                capabilities: 0,
                server: "zaichik 0.1.0",
            }),
        ),
        ("ping", ServerFrame::Ping { nonce: 0xfedc_ba98_7654_3210 }),
        ("pong", ServerFrame::Pong { nonce: 22 }),
        ("goodbye_closed", ServerFrame::Goodbye(Goodbye { reason: GoodbyeReason::Closed, grace_millis: 0 })),
        (
            "goodbye_draining",
            ServerFrame::Goodbye(Goodbye { reason: GoodbyeReason::Draining, grace_millis: 10_000 }),
        ),
        (
            "fatal",
            ServerFrame::Fatal(Fatal {
                code: FaultCode::UnknownKind,
                offset: 25,
                text: "frame kind 0x3f is unknown",
            }),
        ),
        ("extension", ServerFrame::Extension { kind: 0xff, body: b"" }),
    ]);
    frames
}

fn answers() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let ready = |request, status| ServerFrame::TopicReady(TopicReady { request, status });
    BTreeMap::from([
        ("topic_ready_unchanged", ready(2, TopicStatus::Unchanged)),
        ("topic_ready_created", ready(3, TopicStatus::Created)),
        ("topic_ready_adopted", ready(4, TopicStatus::Adopted)),
        (
            "acks",
            ServerFrame::Acks(Acks { runs: list([AckRun { request: 5, requests: 1, first_offset: 0 }]) }),
        ),
        (
            "acks_runs",
            ServerFrame::Acks(Acks {
                runs: list([
                    AckRun { request: 5, requests: 3, first_offset: 40 },
                    AckRun { request: 30, requests: 1, first_offset: 7 },
                ]),
            }),
        ),
        (
            "published_created",
            ServerFrame::Published(Published {
                repeated: None,
                request: 5,
                created: true,
                first_offset: Some(0),
                duplicates: List::EMPTY,
            }),
        ),
        (
            "published_duplicate",
            ServerFrame::Published(Published {
                repeated: None,
                request: 6,
                created: false,
                first_offset: Some(43),
                duplicates: list([Duplicate { record: 1, offset: 40 }]),
            }),
        ),
        (
            "published_all_duplicates",
            ServerFrame::Published(Published {
                repeated: None,
                request: 7,
                created: false,
                first_offset: None,
                duplicates: list([Duplicate { record: 0, offset: 41 }, Duplicate { record: 1, offset: 40 }]),
            }),
        ),
        (
            "batched",
            ServerFrame::Batched(Batched {
                repeated: None,
                request: 20,
                results: list([BatchResult { operation: 0, created: true, first_offset: 0 }]),
                duplicates: list([BatchDuplicate {
                    operation: 0,
                    duplicate: Duplicate { record: 1, offset: 0 },
                }]),
            }),
        ),
        ("done", ServerFrame::Done(Done { request: 15, value: 42 })),
    ])
}

fn descriptions() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let counter = |counter, value| CounterValue { counter, value };
    let values = list([
        counter(Counter::Topics, 1),
        counter(Counter::RecordsIn, 43),
        counter(Counter::refusals(RefusalCode::Busy), 2),
    ]);
    let topic = TopicItem {
        name: "orders",
        explicit: true,
        settings: TopicOptions::new().retain_forever().max_messages(1_000),
        start: 40,
        end: 43,
        messages: 3,
        bytes: 63,
        keys: 0,
        subscriptions: 1,
        memory: 1_024,
    };
    let subscription = SubscriptionItem {
        topic: "orders",
        name: "billing",
        attached: false,
        epoch: 2,
        window: 8,
        cursor: 41,
        next: 41,
        end: 43,
        expires_in_micros: MINUTE,
    };
    BTreeMap::from([
        ("counters", ServerFrame::Counters(Counters { request: 23, values })),
        ("topics", ServerFrame::Topics(Page { request: 24, next: Some(8), items: items(&[topic]) })),
        (
            "subscriptions",
            ServerFrame::Subscriptions(Page { request: 26, next: None, items: items(&[subscription]) }),
        ),
    ])
}

fn refusals() -> BTreeMap<&'static str, ServerFrame<'static>> {
    BTreeMap::from([
        ("refused", refused(3, 1, Refusal::with_value(RefusalCode::SettingsDiffer, 0b1001))),
        (
            "refused_operation",
            refused(20, 1, Refusal { code: RefusalCode::TooLarge, operation: 3, value: 1 << 20 }),
        ),
        ("refused_unacknowledged", refused(0, 17, Refusal::with_value(RefusalCode::Busy, 50_000))),
    ])
}

fn stream_frames() -> BTreeMap<&'static str, ServerFrame<'static>> {
    let subscribed =
        Subscribed { request: 9, subscription: 1, epoch: 0, rewind: 0, created: false, start: 40, end: 43 };
    let delivery = Delivery {
        subscription: 1,
        rewind: 0,
        attempt: 1,
        first_offset: 40,
        records: records(&[stamped(0, b"hello")]),
    };
    let gap = Gap { subscription: 1, rewind: 0, reason: GapReason::Expired, from: 41, to: 43 };
    let ended = Unsubscribed { request: 14, subscription: 1, last_offset: Some(41) };
    BTreeMap::from([
        ("subscribed", ServerFrame::Subscribed(subscribed)),
        (
            "subscribed_created",
            ServerFrame::Subscribed(Subscribed {
                request: 13,
                subscription: 5,
                epoch: 3,
                created: true,
                start: 0,
                end: 0,
                ..subscribed
            }),
        ),
        ("delivery", ServerFrame::Delivery(delivery)),
        (
            "delivery_records",
            ServerFrame::Delivery(Delivery {
                rewind: 2,
                attempt: 3,
                records: records(&[
                    stamped(0, b"one"),
                    Record {
                        key: Some(b"k"),
                        headers: &[("h", b"v")],
                        ttl_micros: Some(MINUTE),
                        ..stamped(1, b"two")
                    },
                ]),
                ..delivery
            }),
        ),
        ("gap_expired", ServerFrame::Gap(gap)),
        ("gap_limit", ServerFrame::Gap(Gap { rewind: 2, reason: GapReason::Limit, from: 0, to: 40, ..gap })),
        ("fenced", ServerFrame::Fenced(Fenced { subscription: 5, epoch: 4 })),
        ("unsubscribed", ServerFrame::Unsubscribed(ended)),
        (
            "unsubscribed_by_broker",
            ServerFrame::Unsubscribed(Unsubscribed { request: 0, last_offset: None, ..ended }),
        ),
    ])
}

//! The frames of the vectors of version 2.

use std::collections::BTreeMap;

use zaichik_proto::{
    AckLevel, Batch, BatchResult, Batched, ClientFrame, Commit, Limits, List, Operation, Published, Refusal,
    RefusalCode, Refused, ServerFrame, Shard, Start, TrimTopic, Trimmed, Welcome,
};

use crate::build::{list, operations, producer};

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

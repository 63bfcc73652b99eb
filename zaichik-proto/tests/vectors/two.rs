//! The frames of the vectors of version 2.

use std::collections::BTreeMap;

use zaichik_proto::{
    AckLevel, Batch, BatchResult, Batched, ClientFrame, Commit, Limits, List, Operation, Published, Refusal,
    RefusalCode, Refused, ServerFrame, Shard, Welcome,
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
        ("refused_repeated", ServerFrame::Refused(Refused { request: 6, count: 1, refusal, repeated })),
    ])
}

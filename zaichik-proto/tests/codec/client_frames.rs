//! Arbitrary frames from the client.

use proptest::prelude::*;
use zaichik_proto::{
    AckLevel, AlterTopic, Batch, ClientFrame, Commit, CompactionMode, CreateTopic, Describe, Durable, Hello,
    Nack, OnConflict, Operation, OperationsBuilder, Overflow, Producer, Publish, RemoveDurable, Seek,
    SeekTarget, Start, Subject, Subscribe, TopicOptions, Unsubscribe,
};

use crate::records::records;
use crate::{edgy_u32, edgy_u64, keep, keep_bytes, label, request, short_bytes};

/// Every frame but Hello.
pub(crate) fn client_frame() -> BoxedStrategy<ClientFrame<'static>> {
    prop_oneof![
        topic_request().prop_map(ClientFrame::CreateTopic),
        topic_request().prop_map(|CreateTopic { request, topic, options }| {
            ClientFrame::AlterTopic(AlterTopic { request, topic, options })
        }),
        publish().prop_map(ClientFrame::Publish),
        subscribe().prop_map(ClientFrame::Subscribe),
        (request(), edgy_u32()).prop_map(|(request, subscription)| {
            ClientFrame::Unsubscribe(Unsubscribe { request, subscription })
        }),
        (request(), edgy_u32(), edgy_u64(), any::<bool>()).prop_map(
            |(request, subscription, offset, quiet)| {
                ClientFrame::Commit(Commit { request, subscription, offset, rewind: None, quiet })
            }
        ),
        (request(), edgy_u32(), edgy_u64(), edgy_u64()).prop_map(
            |(request, subscription, offset, delay_micros)| {
                ClientFrame::Nack(Nack { request, subscription, offset, delay_micros })
            }
        ),
        seek().prop_map(ClientFrame::Seek),
        batch().prop_map(ClientFrame::Batch),
        (request(), subject())
            .prop_map(|(request, subject)| ClientFrame::Describe(Describe { request, subject })),
        (request(), short_bytes(), label(1)).prop_map(|(request, topic, name)| {
            ClientFrame::RemoveDurable(RemoveDurable { request, topic, name })
        }),
        edgy_u64().prop_map(|nonce| ClientFrame::Ping { nonce }),
        edgy_u64().prop_map(|nonce| ClientFrame::Pong { nonce }),
        Just(ClientFrame::Close),
        (0x80u8.., prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, body)| { ClientFrame::Extension { kind, body: keep_bytes(body) } }),
    ]
    .boxed()
}

pub(crate) fn hello() -> impl Strategy<Value = Hello<'static>> {
    let token = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 1_024),
    ];
    (any::<u16>(), label(0), token.prop_map(keep_bytes)).prop_map(|(version, name, token)| Hello {
        version,
        name,
        token,
    })
}

fn subject() -> impl Strategy<Value = Subject<'static>> {
    prop_oneof![
        Just(Subject::Broker),
        edgy_u32().prop_map(|from| Subject::Topics { from }),
        short_bytes().prop_map(|topic| Subject::Topic { topic }),
        (edgy_u32(), short_bytes()).prop_map(|(from, topic)| Subject::Subscriptions { from, topic }),
        (short_bytes(), label(1)).prop_map(|(topic, name)| Subject::Durable { topic, name }),
    ]
}

fn topic_request() -> impl Strategy<Value = CreateTopic<'static>> {
    (request(), short_bytes(), options()).prop_map(|(request, topic, options)| CreateTopic {
        request,
        topic,
        options,
    })
}

pub(crate) fn options() -> impl Strategy<Value = TopicOptions> {
    let number = || prop::option::of(edgy_u64());
    let mode = prop_oneof![Just(CompactionMode::First), Just(CompactionMode::Latest)];
    let overflow = prop_oneof![Just(Overflow::DropOldest), Just(Overflow::Reject)];
    let times = (number(), number(), number());
    let limits = (number(), number(), number());
    (times, limits, prop::option::of(mode), prop::option::of(overflow)).prop_map(
        |((retention, window, tombstone), (messages, bytes, keys), compaction, overflow)| {
            let mut options = TopicOptions::new();
            options.retention_ttl_micros = retention;
            options.compaction_window_micros = window;
            options.compaction = compaction;
            options.max_messages = messages;
            options.max_bytes = bytes;
            options.overflow = overflow;
            options.max_keys = keys;
            options.tombstone_ttl_micros = tombstone;
            options
        },
    )
}

fn producer() -> impl Strategy<Value = Option<Producer>> {
    let producer = (any::<u128>(), edgy_u32(), edgy_u64());
    prop::option::of(producer.prop_map(|(id, epoch, sequence)| Producer { id, epoch, sequence }))
}

fn publish() -> impl Strategy<Value = Publish<'static>> {
    let ack = prop_oneof![Just(AckLevel::None), Just(AckLevel::Accepted), Just(AckLevel::Durable)];
    (request(), ack, any::<bool>(), producer(), short_bytes(), records(false)).prop_map(
        |(request, ack, no_id, producer, topic, records)| Publish {
            request: if no_id && ack == AckLevel::None { 0 } else { request },
            ack,
            producer,
            topic,
            records,
        },
    )
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::Earliest),
        Just(Start::Latest),
        edgy_u64().prop_map(Start::Offset),
        edgy_u64().prop_map(Start::Time),
    ]
}

fn durable() -> impl Strategy<Value = Durable<'static>> {
    let on_conflict = prop_oneof![Just(OnConflict::TakeOver), Just(OnConflict::Reject)];
    (label(1), on_conflict, edgy_u32(), edgy_u64()).prop_map(
        |(name, on_conflict, epoch, inactive_ttl_micros)| Durable {
            name,
            on_conflict,
            epoch,
            inactive_ttl_micros,
        },
    )
}

fn subscribe() -> impl Strategy<Value = Subscribe<'static>> {
    let ids = (request(), edgy_u32());
    let bounds = (edgy_u32(), edgy_u32(), edgy_u32());
    let names = (short_bytes(), short_bytes(), prop::option::of(durable()));
    (ids, start(), bounds, names).prop_map(|(ids, start, bounds, (topic, dead_letter, durable))| Subscribe {
        request: ids.0,
        subscription: ids.1,
        topic,
        start,
        window: bounds.0,
        window_bytes: bounds.1,
        max_attempts: bounds.2,
        dead_letter,
        durable,
    })
}

fn seek() -> impl Strategy<Value = Seek<'static>> {
    let target = prop_oneof![
        edgy_u32().prop_map(SeekTarget::Subscription),
        (short_bytes(), label(1)).prop_map(|(topic, name)| SeekTarget::Durable { topic, name }),
    ];
    (request(), target, start()).prop_map(|(request, target, to)| Seek { request, target, to })
}

fn batch() -> impl Strategy<Value = Batch<'static>> {
    let operation = prop_oneof![
        (short_bytes(), records(false)).prop_map(|(topic, records)| Operation::Publish { topic, records }),
        (edgy_u32(), edgy_u64()).prop_map(|(subscription, offset)| Operation::Commit {
            subscription,
            offset,
            rewind: None
        }),
    ];
    let ack = prop_oneof![Just(AckLevel::Accepted), Just(AckLevel::Durable)];
    (request(), ack, producer(), prop::collection::vec(operation, 0..5)).prop_map(
        |(request, ack, producer, operations)| Batch {
            request,
            ack,
            producer,
            operations: keep(operations.into_iter().collect::<OperationsBuilder>()).operations(),
        },
    )
}

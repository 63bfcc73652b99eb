//! The example conversation.

use std::time::Duration;

use bytes::BytesMut;
use zaichik_proto::{
    AckLevel, AckRun, Acks, ClientFrame, Commit, Delivery, Done, Goodbye, GoodbyeReason, Hello, Limits,
    MAGIC, Publish, Record, ServerFrame, Start, Subscribe, Subscribed, TopicOptions, TopicReady, TopicStatus,
    Welcome,
};

use crate::build::{MINUTE, body, create, list, records, stamped};

/// The example conversation as frames: the bytes of the client and those of the broker.
pub(crate) fn halves() -> (BytesMut, BytesMut) {
    let mut client = BytesMut::from(&MAGIC[..]);
    for frame in [
        ClientFrame::Hello(Hello { version: 1, name: "doc", token: b"" }),
        create(1, TopicOptions::new().retention_ttl(Duration::from_micros(MINUTE))),
        ClientFrame::Subscribe(Subscribe {
            request: 2,
            subscription: 1,
            topic: b"orders",
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        }),
        ClientFrame::Publish(Publish {
            request: 3,
            ack: AckLevel::Accepted,
            producer: None,
            topic: b"orders",
            records: records(&[Record { key: Some(b"k1"), ..body(b"hello") }]),
        }),
        ClientFrame::Commit(Commit { request: 4, subscription: 1, offset: 0, rewind: None, quiet: false }),
        ClientFrame::Close,
    ] {
        frame.encode(&mut client);
    }
    let mut broker = BytesMut::new();
    for frame in [
        ServerFrame::Welcome(Welcome {
            version: 1,
            instance: 1,
            limits: Limits::default(),
            capabilities: 0,
            server: "zaichik",
        }),
        ServerFrame::TopicReady(TopicReady { request: 1, status: TopicStatus::Created }),
        ServerFrame::Subscribed(Subscribed {
            request: 2,
            subscription: 1,
            epoch: 0,
            rewind: 0,
            created: false,
            start: 0,
            end: 0,
        }),
        ServerFrame::Acks(Acks { runs: list([AckRun { request: 3, requests: 1, first_offset: 0 }]) }),
        ServerFrame::Delivery(Delivery {
            subscription: 1,
            rewind: 0,
            attempt: 1,
            first_offset: 0,
            records: records(&[Record { key: Some(b"k1"), ..stamped(0, b"hello") }]),
        }),
        ServerFrame::Done(Done { request: 4, value: 1 }),
        ServerFrame::Goodbye(Goodbye { reason: GoodbyeReason::Closed, grace_millis: 0 }),
    ] {
        frame.encode(&mut broker);
    }
    (client, broker)
}

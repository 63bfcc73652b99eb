//! The bytes that attackers send.

use bytes::BytesMut;
use zaichik_proto::{
    AckLevel, ClientFrame, Describe, FrameHeader, Hello, MAGIC, PROTOCOL_VERSION, Publish, Record, Records,
    Seek, SeekTarget, Start, Subject, Subscribe, Unsubscribe,
};

/// Equal requests of one block; a write that ends within it continues at the same byte.
const BLOCK: usize = 500;

/// The kind of a Publish.
const PUBLISH: u8 = 0x04;

/// The handshake of a client.
pub(super) fn hello() -> Vec<u8> {
    let hello = ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "attacker", token: b"" });
    [MAGIC.to_vec(), encoded(&hello)].concat()
}

/// All but the last byte of a frame of 1 MiB.
pub(super) fn unfinished() -> Vec<u8> {
    let header = FrameHeader { body_len: 1 << 20, kind: PUBLISH }.to_bytes();
    [&header[..], &vec![0; (1 << 20) - 1]].concat()
}

/// Two publishes of 1.03 MB and the first byte of a third.
pub(super) fn leftover() -> Vec<u8> {
    let record = Record { body: &vec![7; 1_030_000], ..Record::default() };
    let mut bytes = publish("leftover", AckLevel::None, &[record]).repeat(2);
    bytes.push(5);
    bytes
}

pub(super) fn descriptions() -> Vec<u8> {
    encoded(&ClientFrame::Describe(Describe { request: 1, subject: Subject::Broker })).repeat(BLOCK)
}

/// Subscriptions that begin and end.
pub(super) fn subscriptions() -> Vec<u8> {
    let unsubscribe = ClientFrame::Unsubscribe(Unsubscribe { request: 2, subscription: 1 });
    [subscribe("subscribed", Start::Latest, 1), encoded(&unsubscribe)].concat().repeat(BLOCK)
}

/// Seeks of the subscription with number 1.
pub(super) fn seeks(to: Start) -> Vec<u8> {
    let seek = Seek { request: 1, target: SeekTarget::Subscription(1), to };
    encoded(&ClientFrame::Seek(seek)).repeat(BLOCK)
}

/// Publishes of one small record, each of which is answered.
pub(super) fn publishes() -> Vec<u8> {
    let record = Record { body: b"x", ..Record::default() };
    publish("published", AckLevel::Accepted, &[record]).repeat(BLOCK)
}

/// A subscription with number 1.
pub(super) fn subscribe(topic: &str, start: Start, window: u32) -> Vec<u8> {
    encoded(&ClientFrame::Subscribe(Subscribe {
        request: 1,
        subscription: 1,
        topic: topic.as_bytes(),
        start,
        window,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    }))
}

pub(super) fn publish(topic: &str, ack: AckLevel, records: &[Record<'_>]) -> Vec<u8> {
    let mut encoded_records = Vec::new();
    for record in records {
        record.encode(&mut encoded_records);
    }
    let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
    encoded(&ClientFrame::Publish(Publish {
        request: 1,
        ack,
        producer: None,
        topic: topic.as_bytes(),
        records: Records::from_encoded(count, &encoded_records),
    }))
}

pub(super) fn encoded(frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes.to_vec()
}

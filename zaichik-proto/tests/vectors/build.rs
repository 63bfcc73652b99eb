//! Short forms for the frames of vectors. They leak what frames borrow: tests are short-lived.

#![expect(clippy::unwrap_used, reason = "a wrong vector fails the test")]

use bytes::BytesMut;
use zaichik_proto::{
    ClientFrame, CreateTopic, Entry, Item, Items, List, Operation, Operations, OperationsBuilder, Producer,
    Record, Records, Refusal, Refused, ServerFrame, TopicOptions,
};

/// 2026-01-01T00:00:00Z.
pub(crate) const NEW_YEAR: u64 = 1_767_225_600_000_000;

pub(crate) const MINUTE: u64 = 60_000_000;

pub(crate) fn create(request: u32, options: TopicOptions) -> ClientFrame<'static> {
    ClientFrame::CreateTopic(CreateTopic { request, topic: b"orders", options })
}

pub(crate) const fn producer() -> Producer {
    Producer { id: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100, epoch: 1, sequence: 99 }
}

pub(crate) const fn refused(request: u32, count: u32, refusal: Refusal) -> ServerFrame<'static> {
    ServerFrame::Refused(Refused { request, count, refusal, repeated: None })
}

pub(crate) const fn body(body: &[u8]) -> Record<'_> {
    Record { key: None, headers: &[], body, ttl_micros: None, tombstone: false, timestamp: 0 }
}

pub(crate) fn stamped(second: u64, bytes: &[u8]) -> Record<'_> {
    Record { timestamp: NEW_YEAR.saturating_add(second.saturating_mul(1_000_000)), ..body(bytes) }
}

pub(crate) fn records(records: &[Record<'_>]) -> Records<'static> {
    let mut bytes = BytesMut::new();
    for record in records {
        record.check().unwrap();
        record.encode(&mut bytes);
    }
    Records::from_encoded(records.len().try_into().unwrap(), bytes.to_vec().leak())
}

pub(crate) fn list<T: Entry>(entries: impl IntoIterator<Item = T>) -> List<'static, T> {
    List::encode_into(Box::leak(Box::default()), entries)
}

pub(crate) fn items<T: Item<'static>>(items: &[T]) -> Items<'static, T> {
    let mut bytes = Vec::new();
    for item in items {
        item.write(&mut bytes);
    }
    Items::from_encoded(items.len().try_into().unwrap(), bytes.leak())
}

pub(crate) fn operations(operations: &[Operation<'_>]) -> Operations<'static> {
    let builder: OperationsBuilder = operations.iter().copied().collect();
    Box::leak(Box::new(builder)).operations()
}

//! Batches in short notation for tests.

use zaichik_proto::{AckLevel, Batch, ClientFrame, Operation, OperationsBuilder, Producer, Record};

use crate::client::RawClient;
use crate::requests::Encoded;
use crate::shared::list;
use crate::sub::record;

/// An operation of a batch.
#[derive(Debug, Clone)]
pub enum Op<'a> {
    /// Publishes records to a topic.
    Publish(&'a [u8], Vec<Record<'a>>),
    /// Commits a subscription up to and including an offset.
    Commit(u32, u64),
    /// Acknowledges ranges, of a first offset and a number, on a shared subscription.
    Ack(u32, &'a [(u64, u32)]),
}

/// Publishes one record without a key.
#[must_use]
pub fn put<'a>(topic: &'a str, body: &'a str) -> Op<'a> {
    put_all(topic, &[record(body.as_bytes())])
}

/// Publishes records.
#[must_use]
pub fn put_all<'a>(topic: &'a str, records: &[Record<'a>]) -> Op<'a> {
    Op::Publish(topic.as_bytes(), records.to_vec())
}

/// Commits.
#[must_use]
pub const fn done<'a>(subscription: u32, offset: u64) -> Op<'a> {
    Op::Commit(subscription, offset)
}

/// Each call returns the request's id.
impl RawClient {
    /// A batch that is acknowledged.
    pub fn batch(&self, operations: &[Op<'_>]) -> u32 {
        self.batch_with(None, AckLevel::Accepted, operations)
    }

    /// The same with a producer.
    pub fn batch_as(&self, producer: Producer, operations: &[Op<'_>]) -> u32 {
        self.batch_with(Some(producer), AckLevel::Accepted, operations)
    }

    /// A batch with all of its fields.
    pub fn batch_with(&self, producer: Option<Producer>, ack: AckLevel, operations: &[Op<'_>]) -> u32 {
        let mut builder = OperationsBuilder::default();
        for operation in operations {
            match operation {
                Op::Publish(topic, records) => {
                    let records = Encoded::new(records);
                    builder.push(Operation::Publish { topic, records: records.as_records() });
                }
                Op::Ack(subscription, ranges) => {
                    let (mut bytes, subscription) = (Vec::new(), *subscription);
                    let rewind = self.rewind(subscription).unwrap_or_default();
                    let ranges = list(&mut bytes, ranges);
                    builder.push(Operation::Ack { subscription, rewind, ranges });
                }
                Op::Commit(subscription, offset) => {
                    builder.push(Operation::Commit {
                        subscription: *subscription,
                        offset: *offset,
                        rewind: self.rewind(*subscription),
                    });
                }
            }
        }
        let operations = builder.operations();
        self.request(|request| ClientFrame::Batch(Batch { request, ack, producer, operations }))
    }
}

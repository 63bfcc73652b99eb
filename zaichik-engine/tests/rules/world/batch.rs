//! Batches as a test writes them.

use zaichik_proto::{AckLevel, Batch, ClientFrame, Operation, OperationsBuilder, Producer, Record, Records};

use super::{Peer, record};

/// An operation.
#[derive(Debug, Clone)]
pub(crate) enum Op<'a> {
    Publish(&'a [u8], Vec<Record<'a>>),
    Commit(u32, u64),
}

/// Publishes one record without a key.
pub(crate) fn put<'a>(topic: &'a str, body: &'a str) -> Op<'a> {
    put_all(topic, &[record(body.as_bytes())])
}

pub(crate) fn put_all<'a>(topic: &'a str, records: &[Record<'a>]) -> Op<'a> {
    Op::Publish(topic.as_bytes(), records.to_vec())
}

pub(crate) const fn done<'a>(subscription: u32, offset: u64) -> Op<'a> {
    Op::Commit(subscription, offset)
}

impl Peer {
    pub(crate) fn batch(&self, operations: &[Op<'_>]) -> u32 {
        self.batch_with(None, AckLevel::Accepted, operations)
    }

    pub(crate) fn batch_as(&self, producer: Producer, operations: &[Op<'_>]) -> u32 {
        self.batch_with(Some(producer), AckLevel::Accepted, operations)
    }

    pub(crate) fn batch_with(&self, producer: Option<Producer>, ack: AckLevel, operations: &[Op<'_>]) -> u32 {
        let request = self.request();
        let mut builder = OperationsBuilder::default();
        for operation in operations {
            match operation {
                Op::Publish(topic, records) => {
                    let mut bytes = Vec::new();
                    for record in records {
                        record.encode(&mut bytes);
                    }
                    let records = Records::from_encoded(u32::try_from(records.len()).unwrap(), &bytes);
                    builder.push(Operation::Publish { topic, records });
                }
                Op::Commit(subscription, offset) => {
                    builder.push(Operation::Commit { subscription: *subscription, offset: *offset });
                }
            }
        }
        let operations = builder.operations();
        self.send(&ClientFrame::Batch(Batch { request, ack, producer, operations }));
        request
    }
}

//! Publishes and batches that both brokers of a pair get.

use bytes::BytesMut;
use zaichik_engine::store::ProducerRow;
use zaichik_proto::{
    AckLevel, Batch, ClientFrame, Operation, OperationsBuilder, Producer, Publish, Record, Records,
};
use zaichik_testkit::RawClient;

use super::inputs::Inputs;
use crate::sim::{MILLI, SECOND};

impl Inputs {
    fn record(&mut self, encoded: &mut Vec<u8>) {
        let key = format!("k{}", self.rng.below(6)).into_bytes();
        let is_tombstone = self.rng.once_in(6);
        let body = vec![7; usize::try_from(self.rng.pick(&[0, 20, 100])).unwrap_or(0)];
        let record = Record {
            key: (is_tombstone || self.rng.once_in(2)).then_some(&key[..]),
            body: if is_tombstone { &[] } else { &body },
            tombstone: is_tombstone,
            ttl_micros: self.rng.pick(&[None, None, None, Some(MILLI), Some(SECOND)]),
            ..Record::default()
        };
        record.encode(encoded);
    }

    /// A producer's request: the next one, a retry of one of the last, or one that is wrong.
    fn producer(&mut self) -> Option<Producer> {
        let at = self.rng.index(self.producers.len());
        let known = self.producers[at];
        let kind = self.rng.below(8);
        let producer = match kind {
            0 | 1 => return None,
            2 | 3 => Producer { sequence: known.sequence.saturating_sub(self.rng.between(1, 4)), ..known },
            4 => Producer { sequence: known.sequence.saturating_add(1), ..known },
            5 => Producer { epoch: known.epoch.saturating_sub(u32::from(self.rng.once_in(2))), ..known },
            _ => known,
        };
        if producer == known {
            self.producers[at].sequence = known.sequence.saturating_add(1);
        }
        Some(producer)
    }

    pub(super) fn publish(&mut self, topic: &str, out: &mut BytesMut) {
        let mut encoded = Vec::new();
        let count = u32::try_from(self.rng.between(1, 2)).unwrap_or(1);
        (0..count).for_each(|_| self.record(&mut encoded));
        let producer = self.producer();
        let ack = self.rng.pick(&[AckLevel::Accepted, AckLevel::Accepted, AckLevel::Durable]);
        let (request, topic) = (self.request, topic.as_bytes());
        self.published.insert(request, count);
        let records = Records::from_encoded(count, &encoded);
        ClientFrame::Publish(Publish { request, ack, producer, topic, records }).encode(out);
    }

    pub(super) fn batch(
        &mut self,
        topic: &str,
        (number, offset, rewind): (u32, u64, Option<u32>),
        out: &mut BytesMut,
    ) {
        let mut encoded = Vec::new();
        self.record(&mut encoded);
        let mut operations = OperationsBuilder::default();
        let records = Records::from_encoded(1, &encoded);
        operations.push(Operation::Publish { topic: topic.as_bytes(), records });
        if self.rng.once_in(2) {
            operations.push(Operation::Commit { subscription: number, offset, rewind });
        }
        let (request, producer, ack) = (self.request, self.producer(), AckLevel::Accepted);
        let operations = operations.operations();
        ClientFrame::Batch(Batch { request, ack, producer, operations }).encode(out);
    }
}

/// A request of a known producer that is refused, because others are missing before it.
pub(super) fn publish_far_ahead(client: &RawClient, row: &ProducerRow) {
    let producer = Producer { id: row.producer, epoch: row.epoch, sequence: u64::MAX };
    client.publish_as(Some(producer), "t", AckLevel::Accepted, &[Record::default()]);
}

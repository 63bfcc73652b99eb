//! Meaningless requests about shared subscriptions.

use zaichik_proto::{
    Ack, AckLevel, Batch, ClientFrame, DescribeShared, Extend, List, NackShared, OffsetRange, Operation,
    OperationsBuilder, Start, SubscribeShared, Version,
};

use super::Raw;
use crate::sim::plan::Plan;
use crate::sim::{MILLI, SECOND};

impl Raw {
    /// Now and then sends a request about a shared subscription: in the wrong mode, or about what it does not hold.
    pub(super) fn share(&mut self, plan: &Plan) {
        if !plan.has_members || self.version == Version::One || !self.share_rng.once_in(3) {
            return;
        }
        self.request += 1;
        let request = self.request;
        let rng = &mut self.share_rng;
        let topic = if self.keeps_apart {
            format!("x{}-{}", self.index, rng.below(3))
        } else {
            plan.topics[rng.index(plan.topics.len())].name.clone()
        };
        let (topic, name) = (topic.as_bytes(), rng.pick(&["g0", "g1", "g2", "shared", "d0-0"]));
        let subscription = u32::try_from(rng.below(4)).unwrap_or(0);
        let rewind = u32::try_from(rng.below(3)).unwrap_or(0);
        let named: Vec<_> = (0..rng.between(1, 3))
            .map(|_| {
                let first = plan.limits.first_offset + rng.below(40);
                OffsetRange { first, count: u32::try_from(rng.pick(&[1, 1, 2, 10, 1 << 31])).unwrap_or(1) }
            })
            .collect();
        let mut bytes = Vec::new();
        let ranges = List::encode_into(&mut bytes, named);
        let frame = match rng.below(9) {
            0..=2 => ClientFrame::SubscribeShared(SubscribeShared {
                request,
                subscription,
                topic,
                name,
                start: rng.pick(&[Start::Earliest, Start::Latest]),
                window: u32::try_from(rng.pick(&[0, 1, 2, 5_000])).unwrap_or(0),
                window_bytes: 0,
                max_attempts: 0,
                dead_letter: b"",
                ack_deadline_micros: rng.pick(&[0, MILLI, SECOND, u64::MAX]),
                max_span: u32::try_from(rng.pick(&[0, 0, 1, 5])).unwrap_or(0),
                inactive_ttl_micros: rng.pick(&[0, 0, SECOND]),
                by_key: rng.once_in(2),
            }),
            3 | 4 => {
                let quiet = rng.once_in(2);
                ClientFrame::Ack(Ack { request, subscription, rewind, quiet, ranges })
            }
            5 => {
                let delay_micros = rng.pick(&[0, SECOND, u64::MAX]);
                ClientFrame::NackShared(NackShared { request, subscription, rewind, delay_micros, ranges })
            }
            6 => ClientFrame::Extend(Extend { request, subscription, rewind, ranges }),
            7 => ClientFrame::DescribeShared(DescribeShared { request, topic, name }),
            _ => {
                let mut operations = OperationsBuilder::default();
                operations.push(Operation::Ack { subscription, rewind, ranges });
                let (ack, producer, operations) = (AckLevel::Accepted, None, operations.operations());
                let batch = Batch { request, ack, producer, operations };
                ClientFrame::Batch(batch).encode(&mut self.outbound);
                return;
            }
        };
        frame.encode(&mut self.outbound);
    }
}

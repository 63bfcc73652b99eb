//! Deliveries and gaps: every offset is accounted for, in order.

use zaichik_proto::{Delivery, Gap};

use super::{Book, Received};
use crate::show::{self, numbered};

impl Book {
    /// Checks that every offset from `start` on is accounted for, in order.
    pub(super) fn delivered(&mut self, delivery: &Delivery<'_>) {
        let (subscription, first) = (delivery.subscription, delivery.first_offset);
        let end = first.checked_add(delivery.records.len().into()).expect("offsets do not wrap");
        if !self.goes_on(subscription, delivery.rewind, first, end) {
            return;
        }
        let attempt = if delivery.attempt > 1 { format!(" #{}", delivery.attempt) } else { String::new() };
        for (record, offset) in delivery.records.iter().zip(first..) {
            self.stream(format!(
                "{}/{}{attempt}",
                numbered(subscription),
                show::message(offset, record.body())
            ));
            let headers = record.headers().iter();
            self.records.push(Received {
                subscription,
                offset,
                timestamp: record.timestamp(),
                attempt: delivery.attempt,
                key: record.key().map(<[u8]>::to_vec),
                headers: headers.map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
                body: record.body().to_vec(),
                tombstone: record.is_tombstone(),
            });
        }
    }

    pub(super) fn skipped(&mut self, gap: &Gap) {
        assert!(gap.to > gap.from, "{gap:?}");
        if self.goes_on(gap.subscription, gap.rewind, gap.from, gap.to) {
            self.stream(format!(
                "{}/{}",
                numbered(gap.subscription),
                show::gap(gap.from, gap.to, gap.reason)
            ));
        }
    }

    /// Whether offsets `from..to` belong to the current rewind of a subscription; older frames are dropped.
    fn goes_on(&mut self, subscription: u32, rewind: u32, from: u64, to: u64) -> bool {
        let place = self.places.get_mut(&subscription).expect("frames of an existing subscription");
        place.rewound(rewind);
        if rewind < place.rewind {
            return false;
        }
        match (place.next, &mut self.silent) {
            (Some(next), Some(silent)) => {
                let passed = from.checked_sub(next).expect("no repetition");
                *silent = silent.saturating_add(passed);
            }
            (Some(next), None) => assert_eq!(from, next, "no hole, no repetition, gaps in their place"),
            (None, _) => {}
        }
        place.next = Some(to).filter(|_| !place.is_shared);
        true
    }
}

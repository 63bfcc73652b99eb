//! Frames encoded again from the values that a reader gets: every field, and every entry that a list yields.
//!
//! A list keeps the bytes that it was decoded from, and encodes to them whatever its iterator yields. So a decoder that
//! checks only some entries is found only by encoding the entries themselves.

use std::fmt::Debug;

use bytes::BytesMut;
use zaichik_proto::{
    Ack, Acked, Acks, Batch, Batched, ClientFrame, Counters, Delivery, Entry, Extend, Item, Items, List,
    Members, NackShared, Operation, OperationsBuilder, Page, Publish, Published, Record, Records,
    ServerFrame,
};

use crate::requests::encoded;

/// Encodes a client's frame from its decoded values.
///
/// # Panics
/// If a list yields more or fewer entries than it counts, or a record that no publisher may send.
#[must_use]
pub fn rebuilt_client_frame(frame: &ClientFrame<'_>) -> BytesMut {
    let mut ranges = Vec::new();
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no list")]
    match frame {
        ClientFrame::Publish(publish) => {
            let bytes = rebuilt_records(&publish.records);
            let records = Records::from_encoded(publish.records.len(), &bytes);
            encoded(&ClientFrame::Publish(Publish { records, ..*publish }))
        }
        ClientFrame::Batch(batch) => {
            let mut builder = OperationsBuilder::default();
            for operation in batch.operations.iter() {
                match operation {
                    Operation::Publish { topic, records } => {
                        let bytes = rebuilt_records(&records);
                        let records = Records::from_encoded(records.len(), &bytes);
                        builder.push(Operation::Publish { topic, records });
                    }
                    Operation::Commit { .. } => builder.push(operation),
                    Operation::Ack { subscription, rewind, ranges } => {
                        let mut bytes = Vec::new();
                        let ranges = rebuilt_list(&ranges, &mut bytes);
                        builder.push(Operation::Ack { subscription, rewind, ranges });
                    }
                }
            }
            assert_complete(batch, batch.operations.iter().count(), batch.operations.len() as usize);
            encoded(&ClientFrame::Batch(Batch { operations: builder.operations(), ..*batch }))
        }
        ClientFrame::Ack(ack) => {
            let ranges = rebuilt_list(&ack.ranges, &mut ranges);
            encoded(&ClientFrame::Ack(Ack { ranges, ..*ack }))
        }
        ClientFrame::NackShared(nack) => {
            let ranges = rebuilt_list(&nack.ranges, &mut ranges);
            encoded(&ClientFrame::NackShared(NackShared { ranges, ..*nack }))
        }
        ClientFrame::Extend(extend) => {
            let ranges = rebuilt_list(&extend.ranges, &mut ranges);
            encoded(&ClientFrame::Extend(Extend { ranges, ..*extend }))
        }
        frame => encoded(frame),
    }
}

/// Encodes a broker's frame from its decoded values.
///
/// # Panics
/// As [`rebuilt_client_frame`].
#[must_use]
pub fn rebuilt_server_frame(frame: &ServerFrame<'_>) -> BytesMut {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no list")]
    let frame = match frame {
        ServerFrame::Acks(acks) => ServerFrame::Acks(Acks { runs: rebuilt_list(&acks.runs, &mut first) }),
        ServerFrame::Published(published) => ServerFrame::Published(Published {
            duplicates: rebuilt_list(&published.duplicates, &mut first),
            ..*published
        }),
        ServerFrame::Batched(batched) => ServerFrame::Batched(Batched {
            results: rebuilt_list(&batched.results, &mut first),
            duplicates: rebuilt_list(&batched.duplicates, &mut second),
            ..*batched
        }),
        ServerFrame::Counters(counters) => ServerFrame::Counters(Counters {
            values: rebuilt_list(&counters.values, &mut first),
            ..*counters
        }),
        ServerFrame::Topics(page) => {
            ServerFrame::Topics(Page { items: rebuilt_items(&page.items, &mut first), ..*page })
        }
        ServerFrame::Subscriptions(page) => {
            ServerFrame::Subscriptions(Page { items: rebuilt_items(&page.items, &mut first), ..*page })
        }
        ServerFrame::Acked(acked) => {
            ServerFrame::Acked(Acked { not_held: rebuilt_list(&acked.not_held, &mut first), ..*acked })
        }
        ServerFrame::Members(members) => {
            ServerFrame::Members(Members { members: rebuilt_items(&members.members, &mut first), ..*members })
        }
        ServerFrame::Delivery(delivery) => {
            first = rebuilt_records(&delivery.records);
            let records = Records::from_encoded(delivery.records.len(), &first);
            ServerFrame::Delivery(Delivery { records, ..*delivery })
        }
        frame => *frame,
    };
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

fn rebuilt_list<'a, T: Entry + Debug>(list: &List<'_, T>, bytes: &'a mut Vec<u8>) -> List<'a, T> {
    assert_complete(list, list.iter().count(), list.len());
    assert_eq!(list.is_empty(), list.iter().next().is_none(), "{list:?}");
    List::encode_into(bytes, list.iter())
}

fn rebuilt_items<'a, T: Item<'a> + Debug>(items: &Items<'a, T>, bytes: &'a mut Vec<u8>) -> Items<'a, T> {
    assert_complete(items, items.iter().count(), items.len() as usize);
    assert_eq!(items.is_empty(), items.iter().next().is_none(), "{items:?}");
    items.iter().for_each(|item| item.write(bytes));
    Items::from_encoded(items.len(), bytes)
}

fn rebuilt_records(records: &Records<'_>) -> Vec<u8> {
    assert_complete(records, records.iter().count(), records.len() as usize);
    assert_complete(records, records.heads().count(), records.len() as usize);
    let mut bytes = BytesMut::new();
    for record in records.iter() {
        let headers = record.headers().iter().collect::<Vec<_>>();
        let rebuilt = Record {
            key: record.key(),
            headers: &headers,
            body: record.body(),
            ttl_micros: record.ttl_micros(),
            tombstone: record.is_tombstone(),
            timestamp: record.timestamp(),
        };
        assert_eq!(rebuilt.check(), Ok(()), "{record:?}");
        rebuilt.encode(&mut bytes);
    }
    bytes.into()
}

fn assert_complete(list: &impl Debug, yielded: usize, counted: usize) {
    assert_eq!(yielded, counted, "entries of {list:?}");
}

//! A decoded list returns every entry that it counts, and encoding the entries again results in the same frame.

use bytes::BytesMut;
use proptest::prelude::*;
use zaichik_proto::{
    Acks, Batch, Batched, ClientDecoder, ClientFrame, Counters, Delivery, Entry, Item, Items, Limits, List,
    Operation, OperationsBuilder, Page, Publish, Published, Record, Records, ServerDecoder, ServerFrame,
    SubscriptionItem, TopicItem, TopicOptions,
};

use crate::client_frames::client_frame;
use crate::server_frames::server_frame;
use crate::{client_bytes, flipped, flips, server_bytes};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_entries_of_a_client_frame_make_up_the_frame(frame in client_frame(), flips in flips()) {
        let bytes = flipped(client_bytes(&frame), &flips);
        if let Ok(Some((frame, taken))) = ClientDecoder::new(&Limits::default()).decode(&bytes) {
            prop_assert_eq!(rebuilt_client_frame(&frame)?, &bytes[..taken]);
        }
    }

    #[test]
    fn the_entries_of_a_broker_frame_make_up_the_frame(frame in server_frame(), flips in flips()) {
        let bytes = flipped(server_bytes(&frame), &flips);
        if let Ok(Some((frame, taken))) = ServerDecoder::new(&Limits::default()).decode(&bytes) {
            prop_assert_eq!(rebuilt_server_frame(&frame)?, &bytes[..taken]);
        }
    }
}

#[test]
fn the_minimum_size_of_an_item_is_the_size_of_the_smallest_one() {
    let topic = TopicItem {
        name: "",
        explicit: false,
        settings: TopicOptions::new(),
        start: 0,
        end: 0,
        messages: 0,
        bytes: 0,
        keys: 0,
        subscriptions: 0,
        memory: 0,
    };
    let subscription = SubscriptionItem {
        topic: "",
        name: "",
        attached: false,
        epoch: 0,
        window: 0,
        cursor: 0,
        next: 0,
        end: 0,
        expires_in_micros: 0,
    };
    assert_eq!(TopicItem::MIN_SIZE, written(&topic).len());
    assert_eq!(SubscriptionItem::MIN_SIZE, written(&subscription).len());
}

fn written<'a>(item: &impl Item<'a>) -> Vec<u8> {
    let mut bytes = Vec::new();
    item.write(&mut bytes);
    bytes
}

fn rebuilt_client_frame(frame: &ClientFrame<'_>) -> Result<Vec<u8>, TestCaseError> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no list")]
    match frame {
        ClientFrame::Publish(publish) => {
            let bytes = rebuilt_records(&publish.records)?;
            let records = Records::from_encoded(publish.records.len(), &bytes);
            Ok(client_bytes(&ClientFrame::Publish(Publish { records, ..*publish })))
        }
        ClientFrame::Batch(batch) => {
            let mut builder = OperationsBuilder::default();
            for operation in batch.operations.iter() {
                match operation {
                    Operation::Publish { topic, records } => {
                        let bytes = rebuilt_records(&records)?;
                        let records = Records::from_encoded(records.len(), &bytes);
                        builder.push(Operation::Publish { topic, records });
                    }
                    Operation::Commit { .. } => builder.push(operation),
                }
            }
            prop_assert_eq!(batch.operations.iter().count(), batch.operations.len() as usize);
            let operations = builder.operations();
            Ok(client_bytes(&ClientFrame::Batch(Batch { operations, ..*batch })))
        }
        frame => Ok(client_bytes(frame)),
    }
}

fn rebuilt_server_frame(frame: &ServerFrame<'_>) -> Result<Vec<u8>, TestCaseError> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no list")]
    let frame = match frame {
        ServerFrame::Acks(acks) => ServerFrame::Acks(Acks { runs: rebuilt_list(&acks.runs, &mut first)? }),
        ServerFrame::Published(published) => ServerFrame::Published(Published {
            duplicates: rebuilt_list(&published.duplicates, &mut first)?,
            ..*published
        }),
        ServerFrame::Batched(batched) => ServerFrame::Batched(Batched {
            results: rebuilt_list(&batched.results, &mut first)?,
            duplicates: rebuilt_list(&batched.duplicates, &mut second)?,
            ..*batched
        }),
        ServerFrame::Counters(counters) => ServerFrame::Counters(Counters {
            values: rebuilt_list(&counters.values, &mut first)?,
            ..*counters
        }),
        ServerFrame::Topics(page) => {
            ServerFrame::Topics(Page { items: rebuilt_items(&page.items, &mut first)?, ..*page })
        }
        ServerFrame::Subscriptions(page) => {
            ServerFrame::Subscriptions(Page { items: rebuilt_items(&page.items, &mut first)?, ..*page })
        }
        ServerFrame::Delivery(delivery) => {
            first = rebuilt_records(&delivery.records)?;
            let records = Records::from_encoded(delivery.records.len(), &first);
            ServerFrame::Delivery(Delivery { records, ..*delivery })
        }
        frame => *frame,
    };
    Ok(server_bytes(&frame))
}

fn rebuilt_list<'a, T: Entry>(
    list: &List<'_, T>,
    bytes: &'a mut Vec<u8>,
) -> Result<List<'a, T>, TestCaseError> {
    prop_assert_eq!(list.iter().count(), list.len());
    prop_assert_eq!(list.is_empty(), list.iter().next().is_none());
    Ok(List::encode_into(bytes, list.iter()))
}

fn rebuilt_items<'a, T: Item<'a>>(
    items: &Items<'a, T>,
    bytes: &'a mut Vec<u8>,
) -> Result<Items<'a, T>, TestCaseError> {
    prop_assert_eq!(items.iter().count(), items.len() as usize);
    prop_assert_eq!(items.is_empty(), items.iter().next().is_none());
    items.iter().for_each(|item| item.write(bytes));
    Ok(Items::from_encoded(items.len(), bytes))
}

fn rebuilt_records(records: &Records<'_>) -> Result<Vec<u8>, TestCaseError> {
    prop_assert_eq!(records.iter().count(), records.len() as usize);
    prop_assert_eq!(records.heads().count(), records.len() as usize);
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
        prop_assert_eq!(rebuilt.check(), Ok(()));
        rebuilt.encode(&mut bytes);
    }
    Ok(bytes.into())
}

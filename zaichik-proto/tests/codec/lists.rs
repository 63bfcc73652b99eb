//! A decoded list yields every entry that it counts, and encoding the entries again results in the same frame.

use proptest::prelude::*;
use zaichik_proto::{ClientDecoder, Item, Limits, ServerDecoder, SubscriptionItem, TopicItem, TopicOptions};
use zaichik_testkit::{rebuilt_client_frame, rebuilt_server_frame};

use crate::client_frames::client_frame;
use crate::server_frames::server_frame;
use crate::{Step, client_bytes, client_steps, flipped, flips, raw_frame, server_bytes, server_steps};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_entries_of_a_client_frame_make_up_the_frame(frame in client_frame(), flips in flips()) {
        let bytes = flipped(client_bytes(&frame), &flips);
        if let Ok(Some((frame, taken))) = ClientDecoder::new(&Limits::default()).decode(&bytes) {
            prop_assert_eq!(&rebuilt_client_frame(&frame)[..], &bytes[..taken]);
        }
    }

    #[test]
    fn the_entries_of_a_broker_frame_make_up_the_frame(frame in server_frame(), flips in flips()) {
        let bytes = flipped(server_bytes(&frame), &flips);
        if let Ok(Some((frame, taken))) = ServerDecoder::new(&Limits::default()).decode(&bytes) {
            prop_assert_eq!(&rebuilt_server_frame(&frame)[..], &bytes[..taken]);
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

/// A record with a body of `body`, and with `flags`.
fn record(flags: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(12);
    [&size.to_le_bytes()[..], &[flags], &[0; 11], body].concat()
}

/// A record with two headers, the second of which has the name `name`.
fn record_with_headers(name: &[u8]) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let headers = [&[2, 0, 1, b'a', 0, 0, len][..], name, &[0, 0]].concat();
    let size = u32::try_from(headers.len()).unwrap_or(u32::MAX);
    record(2, &[&size.to_le_bytes()[..], &headers].concat())
}

#[test]
fn s13_every_entry_of_a_client_frame_is_checked() {
    let publish = |last: &[u8]| {
        raw_frame(0x04, &[&[1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, b't'][..], &record(0, b"a"), last].concat())
    };
    let last_is_checked = |frame: &dyn Fn(&[u8]) -> Vec<u8>, valid: &[u8], invalid: &[u8]| {
        is_checked(client_steps, &frame(valid), &frame(invalid));
    };
    last_is_checked(&publish, &record(0, b"b"), &record(0x10, b"b"));
    last_is_checked(&publish, &record(0, b"b"), &record(1 << 3, b"b"));
    last_is_checked(&publish, &record_with_headers(b"b"), &record_with_headers(b""));
    last_is_checked(&publish, &record_with_headers(b"b"), &record_with_headers(b"\xff"));

    let batch =
        |last: &[u8]| raw_frame(0x0a, &[&[1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1][..], &[0; 12], last].concat());
    let operation = |record: &[u8]| {
        let len = u8::try_from(record.len()).unwrap_or(u8::MAX);
        [&[0, 1, 0, 0, 0, len, 0, 0, 0, 1, b't'][..], record].concat()
    };
    last_is_checked(&batch, &[1; 13], &[2; 13]);
    last_is_checked(&batch, &operation(&record(0, b"")), &operation(&record(0x10, b"")));
    last_is_checked(&batch, &operation(&record_with_headers(b"b")), &operation(&record_with_headers(b"")));
}

#[test]
fn s13_every_entry_of_a_broker_frame_is_checked() {
    let two = |kind: u8, head: &[u8], first: &[u8], last: &[u8]| {
        raw_frame(kind, &[head, &[2, 0, 0, 0], first, last].concat())
    };
    let last_is_checked = |kind: u8, head: &[u8], valid: &[u8], invalid: &[u8]| {
        is_checked(server_steps, &two(kind, head, valid, valid), &two(kind, head, valid, invalid));
    };
    let run = |request: u8, requests: u8| [&[request, 0, 0, 0, requests, 0, 0, 0][..], &[0; 8]].concat();
    last_is_checked(0x43, &[], &run(1, 1), &run(0, 1));
    last_is_checked(0x43, &[], &run(1, 1), &run(1, 0));

    let result = |created: u8| [&[0, 0, 0, 0, created][..], &[0; 8]].concat();
    let batched =
        |last: &[u8]| raw_frame(0x45, &[&[1, 0, 0, 0, 2, 0, 0, 0][..], &result(0), last, &[0; 4]].concat());
    is_checked(server_steps, &batched(&result(1)), &batched(&result(2)));

    // Name, explicit flag, no settings, five numbers of 8 bytes, one of 4 and one of 8.
    let topic = |name: u8, explicit: u8| [&[1, name, explicit, 0, 0][..], &[0; 52]].concat();
    last_is_checked(0x52, &[1, 0, 0, 0, 0, 0, 0, 0], &topic(b't', 1), &topic(0xff, 1));
    last_is_checked(0x52, &[1, 0, 0, 0, 0, 0, 0, 0], &topic(b't', 1), &topic(b't', 2));
    // Topic, name, attached flag, two numbers of 4 bytes and four of 8.
    let subscription = |name: u8, attached: u8| [&[1, b't', 1, name, attached][..], &[0; 40]].concat();
    last_is_checked(0x53, &[1, 0, 0, 0, 0, 0, 0, 0], &subscription(b'n', 1), &subscription(0xff, 1));
    last_is_checked(0x53, &[1, 0, 0, 0, 0, 0, 0, 0], &subscription(b'n', 1), &subscription(b'n', 2));

    let delivery = |last: &[u8]| {
        raw_frame(0x49, &[&[0; 12][..], &[2, 0, 0, 0], &[0; 8], &record(0, b"a"), last].concat())
    };
    is_checked(server_steps, &delivery(&record(0, b"b")), &delivery(&record(0x10, b"b")));
    is_checked(server_steps, &delivery(&record_with_headers(b"b")), &delivery(&record_with_headers(b"")));
}

fn is_checked<F: FnMut(&[u8]) -> Step>(decoder: fn() -> F, valid: &[u8], invalid: &[u8]) {
    assert_eq!(decoder()(valid), Ok(Some((valid.to_vec(), valid.len()))));
    let step = decoder()(invalid);
    assert!(step.is_err(), "{invalid:?} decodes: {step:?}");
}

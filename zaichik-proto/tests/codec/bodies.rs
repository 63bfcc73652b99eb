//! Invalid bodies are refused with the name of the field (docs/protocol.md §6, §7).

#![expect(clippy::indexing_slicing, reason = "a frame has a header")]

use proptest::prelude::*;
use zaichik_proto::{FaultCode, ProtocolError, ProtocolFault, RecordError};

use crate::client_frames::client_frame;
use crate::server_frames::server_frame;
use crate::{Step, client_bytes, client_steps, raw_frame, server_bytes, server_steps};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn s13_a_body_that_is_too_short_or_too_long_is_refused(
        client in client_frame(),
        server in server_frame(),
        less in 1..40usize,
        more in 1..40usize,
    ) {
        resized(&client_bytes(&client), less, more, client_steps)?;
        resized(&server_bytes(&server), less, more, server_steps)?;
    }
}

fn resized<F: FnMut(&[u8]) -> Step>(
    frame: &[u8],
    less: usize,
    more: usize,
    decoder: fn() -> F,
) -> Result<(), TestCaseError> {
    let (kind, body) = (frame[4], &frame[8..]);
    if kind >= 0x80 {
        return Ok(());
    }
    let shorter = &body[..body.len().saturating_sub(less)];
    if shorter.len() < body.len() {
        prop_assert!(decoder()(&raw_frame(kind, shorter)).is_err(), "truncated to {:?}", shorter);
    }
    let longer = [body, &vec![0; more]].concat();
    prop_assert!(decoder()(&raw_frame(kind, &longer)).is_err(), "{} bytes too many", more);
    Ok(())
}

#[test]
fn s13_undefined_values_from_a_client_are_refused() {
    for (kind, name) in [
        (0x02, "create_topic"),
        (0x03, "alter_topic"),
        (0x04, "publish"),
        (0x05, "subscribe"),
        (0x06, "unsubscribe"),
        (0x07, "commit"),
        (0x08, "nack"),
        (0x09, "seek"),
        (0x0a, "batch"),
    ] {
        client_value(kind, &client_body(kind), 0, &[0, 0, 0, 0], "request id");
        assert!(client_steps()(&raw_frame(kind, &client_body(kind))).is_ok(), "{name}");
    }
    let publish = client_body(0x04);
    client_value(0x04, &publish, 8, &[3], "acknowledgement level");
    client_value(0x04, &publish, 9, &[2], "producer flag");
    let subscribe = client_body(0x05);
    client_value(0x05, &subscribe, 8, &[4], "start");
    client_value(0x05, &subscribe, 9, &[1], "value for this start");
    client_value(0x05, &subscribe, 8, &[1, 0, 0, 0, 0, 0, 0, 0, 1], "value for this start");
    client_value(0x05, &subscribe, 32, &[2], "durable flag");
    client_value(0x05, &subscribe, 33, &[0, 0], "durable name length");
    client_value(0x05, &subscribe, 35, &[2], "conflict rule");
    client_value(0x07, &client_body(0x07), 16, &[2], "quiet flag");
    let seek = client_body(0x09);
    client_value(0x09, &seek, 4, &[4], "start");
    client_value(0x09, &seek, 13, &[2], "seek target");
    let batch = client_body(0x0a);
    client_value(0x0a, &batch, 8, &[0], "acknowledgement of a batch");
    client_value(0x0a, &batch, 8, &[3], "acknowledgement level");
    client_value(0x0a, &batch, 10, &[2], "operation");
    let settings = client_body(0x02);
    client_value(0x02, &settings, 8, &[2], "compaction");
    client_value(0x02, &settings, 16, &[2], "overflow");
}

#[test]
fn s13_undefined_values_from_the_broker_are_refused() {
    for kind in [0x42, 0x44, 0x45, 0x47, 0x48] {
        server_value(kind, &server_body(kind), 0, &[0, 0, 0, 0], "request id");
    }
    server_value(0x42, &server_body(0x42), 4, &[3], "topic status");
    server_value(0x43, &server_body(0x43), 4, &[0, 0, 0, 0], "acknowledgement runs");
    server_value(0x43, &server_body(0x43), 8, &[0, 0, 0, 0], "acknowledgement runs");
    server_value(0x43, &[0; 4], 0, &[], "count of acknowledgement runs");
    server_value(0x44, &server_body(0x44), 4, &[2], "created flag");
    server_value(0x46, &server_body(0x46), 4, &[0], "count of refused requests");
    server_value(0x46, &server_body(0x46), 4, &[2], "count of refused requests");
    server_value(0x48, &server_body(0x48), 16, &[2], "created flag");
    server_value(0x49, &server_body(0x49), 16, &[0xff; 8], "first offset");
    server_value(0x4a, &server_body(0x4a), 8, &[2], "gap reason");
    server_value(0x4a, &server_body(0x4a), 9, &[5], "end of a gap");
    server_value(0x4f, &server_body(0x4f), 0, &[2], "goodbye reason");
    let text = [&[0; 10][..], &1_025u16.to_le_bytes(), &[b'a'; 1_025]].concat();
    server_value(0x50, &text, 0, &[], "text length");
}

#[test]
fn s13_counts_that_no_frame_can_hold_are_refused() {
    let bombs = [1_000u32, 65_537, 1 << 31, u32::MAX];
    for count in bombs {
        let count = count.to_le_bytes();
        client_count(0x04, 4, &count, "records");
        client_count(0x0a, 4, &count, "operations");
        client_count(0x0a, 11, &count, "records");
        server_count(0x43, 0, &count, "acknowledgement runs");
        server_count(0x44, 13, &count, "duplicates");
        server_count(0x45, 4, &count, "batch results");
        server_count(0x45, 8, &count, "batch duplicates");
        server_count(0x49, 12, &count, "records");
        server_count(0x51, 4, &count, "counters");
        server_count(0x52, 8, &count, "topics");
        server_count(0x53, 8, &count, "subscriptions");
    }
    client_count(0x04, 4, &[0; 4], "records");
    client_count(0x0a, 11, &[0; 4], "records");
    server_count(0x49, 12, &[0; 4], "records");
}

#[test]
fn s13_counts_above_their_limit_are_refused_even_if_they_fit() {
    let commit = [1; 13];
    let batch = |count: u32| {
        let operations = commit.repeat(count as usize);
        [&1u32.to_le_bytes()[..], &count.to_le_bytes(), &[1, 0], &operations].concat()
    };
    assert!(client_steps()(&raw_frame(0x0a, &batch(1_024))).is_ok(), "the broker refuses it (rule X-09)");
    assert_eq!(code(client_steps()(&raw_frame(0x0a, &batch(1_025)))), FaultCode::CountTooLarge);

    let acks = |count: u32| [&count.to_le_bytes()[..], &[1; 16].repeat(count as usize)].concat();
    assert!(server_steps()(&raw_frame(0x43, &acks(1_024))).is_ok());
    assert_eq!(code(server_steps()(&raw_frame(0x43, &acks(1_025)))), FaultCode::CountTooLarge);

    for (kind, smallest) in [(0x52, 56), (0x53, 43)] {
        let page = |count: u32| {
            let items = vec![0; smallest * count as usize];
            [&[1, 0, 0, 0][..], &[0xff; 4], &count.to_le_bytes(), &items].concat()
        };
        assert!(server_steps()(&raw_frame(kind, &page(1_024))).is_ok());
        assert_eq!(code(server_steps()(&raw_frame(kind, &page(1_025)))), FaultCode::CountTooLarge);
    }

    let record = [12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let publish = |count: u32| {
        let records = record.repeat(count as usize);
        [&1u32.to_le_bytes()[..], &count.to_le_bytes(), &[1, 0, 1, b't'], &records].concat()
    };
    assert!(client_steps()(&raw_frame(0x04, &publish(65_536))).is_ok());
    assert_eq!(code(client_steps()(&raw_frame(0x04, &publish(65_537)))), FaultCode::CountTooLarge);

    let delivery = |count: u32| {
        let records = record.repeat(count as usize);
        [&[0; 12][..], &count.to_le_bytes(), &[0; 8], &records].concat()
    };
    assert!(server_steps()(&raw_frame(0x49, &delivery(65_536))).is_ok());
    assert_eq!(code(server_steps()(&raw_frame(0x49, &delivery(65_537)))), FaultCode::CountTooLarge);
}

#[test]
fn s13_the_records_of_a_batch_are_counted_together() {
    let record = [12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let operation = |count: u32| {
        let records = record.repeat(count as usize);
        let len = u32::try_from(records.len()).unwrap_or(u32::MAX);
        [&[0][..], &count.to_le_bytes(), &len.to_le_bytes(), &[1, b't'], &records].concat()
    };
    let batch = |last: u32| {
        let operations = [operation(65_000), operation(536), operation(last)].concat();
        [&1u32.to_le_bytes()[..], &[3, 0, 0, 0, 1, 0], &operations].concat()
    };
    let whole = [&1u32.to_le_bytes()[..], &[2, 0, 0, 0, 1, 0], &operation(65_000), &operation(536)].concat();
    assert!(client_steps()(&raw_frame(0x0a, &whole)).is_ok());
    assert_eq!(code(client_steps()(&raw_frame(0x0a, &batch(1)))), FaultCode::CountTooLarge);
}

#[test]
fn s13_reserved_bits_of_a_settings_mask_are_refused() {
    for bit in 8..16 {
        let mask = (1u16 << bit).to_le_bytes();
        let body = [&[1, 0, 0, 0, 1, b't'][..], &mask].concat();
        for kind in [0x02, 0x03] {
            assert_eq!(code(client_steps()(&raw_frame(kind, &body))), FaultCode::ReservedBits);
        }
    }
}

#[test]
fn s13_text_that_is_not_utf_8_is_refused_except_in_topic_names() {
    let body = [&[1, 0, 0, 0, 3][..], b"\xff\xfe\0", &[0, 0]].concat();
    assert!(client_steps()(&raw_frame(0x02, &body)).is_ok(), "the broker refuses the topic's name");
    let mut subscribe = client_body(0x05);
    subscribe[34] = 0xff;
    assert_eq!(code(client_steps()(&raw_frame(0x05, &subscribe))), FaultCode::NotUtf8);
    let fatal = [&[0; 10][..], &[1, 0, 0xff]].concat();
    assert_eq!(code(server_steps()(&raw_frame(0x50, &fatal))), FaultCode::NotUtf8);
}

#[test]
fn s_04_a_record_that_is_shorter_than_its_fixed_fields_is_refused() {
    let last = [12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for size in 0..12u8 {
        // Zeros follow, so that the next record would also be valid at the place where this one claims to end.
        let short = [size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let publish = [&[1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, b't'][..], &short, &last].concat();
        assert_eq!(bad_record(client_steps()(&raw_frame(0x04, &publish))), (0, RecordError::BadSize));
        let operation = [&[0, 2, 0, 0, 0, 32, 0, 0, 0, 1, b't'][..], &short, &last].concat();
        let batch = [&[1, 0, 0, 0, 1, 0, 0, 0, 1, 0][..], &operation].concat();
        assert_eq!(bad_record(client_steps()(&raw_frame(0x0a, &batch))), (0, RecordError::BadSize));
        let delivery = [&[0; 12][..], &[2, 0, 0, 0], &[0; 8], &short, &last].concat();
        assert_eq!(bad_record(server_steps()(&raw_frame(0x49, &delivery))), (0, RecordError::BadSize));
    }
}

#[test]
fn s_04_a_timestamp_from_a_client_is_refused() {
    let mut publish = client_body(0x04);
    let at = publish.len() - 8;
    publish[at] = 1;
    assert_eq!(code(client_steps()(&raw_frame(0x04, &publish))), FaultCode::BadRecord);
    let mut batch = client_body(0x0a);
    let at = batch.len() - 8;
    batch[at] = 1;
    assert_eq!(code(client_steps()(&raw_frame(0x0a, &batch))), FaultCode::BadRecord);
}

/// A valid body of a client's frame.
fn client_body(kind: u8) -> Vec<u8> {
    let record = [12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let body: &[&[u8]] = match kind {
        // topic "t", then the settings compaction and overflow
        0x02 | 0x03 => &[&[1, b't', 0b10_0100, 0], &[0; 16]],
        // count 1, ack 1, no producer, topic "t"
        0x04 => &[&[1, 0, 0, 0, 1, 0, 1, b't'], &record],
        // subscription, start, windows, attempts, topic "t", no dead letter, durable "n"
        0x05 => &[&[0; 25], &[1, b't', 0, 1, 1, b'n', 0], &[0; 12]],
        0x06 => &[&[0; 4]],
        0x07 => &[&[0; 13]],
        0x08 => &[&[0; 20]],
        // to earliest, subscription 0
        0x09 => &[&[0; 14]],
        // one operation, ack 1, no producer; a publish of one record to "t"
        0x0a => &[&[1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 1, b't'], &record],
        _ => &[],
    };
    [&[1, 0, 0, 0][..], &body.concat()].concat()
}

/// A valid body of a broker's frame.
fn server_body(kind: u8) -> Vec<u8> {
    let record = [12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let body: &[&[u8]] = match kind {
        0x42 => &[&[1, 0, 0, 0, 0]],
        0x43 => &[&[1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], &[0; 8]],
        0x44 => &[&[1, 0, 0, 0], &[0; 13]],
        0x46 => &[&[1, 0, 0, 0, 1, 0, 0, 0], &[0; 14]],
        0x45 | 0x47 => &[&[1, 0, 0, 0], &[0; 8]],
        0x48 => &[&[1, 0, 0, 0], &[0; 29]],
        0x49 => &[&[0; 12], &[1, 0, 0, 0], &[0; 8], &record],
        0x4a => &[&[0; 17], &[5, 0, 0, 0, 0, 0, 0, 0]],
        0x4f => &[&[0; 5]],
        0x51 => &[&[1, 0, 0, 0], &[0; 4]],
        // no further page
        0x52 | 0x53 => &[&[1, 0, 0, 0], &[0xff; 4], &[0; 4]],
        _ => &[],
    };
    body.concat()
}

fn client_value(kind: u8, body: &[u8], at: usize, bytes: &[u8], field: &str) {
    assert_eq!(bad_value(client_steps()(&patched(kind, body, at, bytes))), field, "{kind:#x} at {at}");
}

fn server_value(kind: u8, body: &[u8], at: usize, bytes: &[u8], field: &str) {
    assert_eq!(bad_value(server_steps()(&patched(kind, body, at, bytes))), field, "{kind:#x} at {at}");
}

fn client_count(kind: u8, at: usize, count: &[u8], list: &str) {
    let step = client_steps()(&patched(kind, &client_body(kind), at, count));
    assert_eq!(count_too_large(step), list, "{kind:#x} at {at}");
}

fn server_count(kind: u8, at: usize, count: &[u8], list: &str) {
    let step = server_steps()(&patched(kind, &server_body(kind), at, count));
    assert_eq!(count_too_large(step), list, "{kind:#x} at {at}");
}

fn patched(kind: u8, body: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.splice(at..at.saturating_add(bytes.len()), bytes.iter().copied());
    raw_frame(kind, &body)
}

fn bad_value(step: Step) -> String {
    match step {
        Err(ProtocolError { fault: ProtocolFault::BadValue { field, .. }, .. }) => field.to_owned(),
        other => format!("{other:?}"),
    }
}

fn count_too_large(step: Step) -> String {
    match step {
        Err(ProtocolError { fault: ProtocolFault::CountTooLarge { field, .. }, .. }) => field.to_owned(),
        other => format!("{other:?}"),
    }
}

fn bad_record(step: Step) -> (u32, RecordError) {
    match step {
        Err(ProtocolError { fault: ProtocolFault::BadRecord { index, error }, .. }) => (index, error),
        other => panic!("{other:?}"),
    }
}

fn code(step: Step) -> FaultCode {
    step.map_or_else(|error| error.fault.code(), |frame| panic!("{frame:?} decodes"))
}

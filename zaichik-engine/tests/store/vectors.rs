//! Golden vectors: the bytes of a row of each kind. They never change; a new layout is a new format.

use bytes::Bytes;
use zaichik_engine::store::{
    Answer, AnswerRow, CursorRow, DeliveredRange, Era, GroupRow, KeysRow, Mark, MarkedRun, MarksRow, MetaRow,
    ProducerRow, RecordsHead, RecordsRow, RememberedKey, Row, RowError, Run, RunKind, TopicRow,
};
use zaichik_engine::{Timestamp, TopicSettings};
use zaichik_proto::{Duplicate, Entry, Record, Refusal, RefusalCode};

const AT: fn(u64) -> Timestamp = Timestamp::from_micros;

/// A row has these bytes, and these bytes are the row. Spaces are for reading.
#[track_caller]
fn check(row: Row, key: &str, value: &str) {
    let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
    row.key().encode(&mut key_bytes);
    row.encode(&mut value_bytes);
    let compact = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!((hex(&key_bytes), hex(&value_bytes)), (compact(key), compact(value)));
    assert_eq!(Row::decode(&key_bytes, &value_bytes), Ok(row));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn the_broker() {
    let row = MetaRow { instance: 0x1234, now: AT(1_000_000), stopped_micros: 5 };
    check(Row::Meta(row), "00", "01 34120000000000000000000000000000 40420f0000000000 0500000000000000");
}

#[test]
fn a_shared_subscription() {
    let row = GroupRow {
        topic: 2,
        name: "workers".into(),
        principal: "bar".into(),
        by_key: true,
        inactive_micros: 3,
        window: 64,
        max_span: 65_536,
        ack_deadline_micros: 30_000_000,
        cursor: 5,
        rewind: 1,
        done: vec![(6, 8), (9, 10)],
        failures: vec![(5, 2)],
        delays: vec![(8, AT(11))],
    };
    let value = "01 03 626172 01 01000000 40000000 00000100 0300000000000000 80c3c90100000000 0500000000000000 \
                 02000000 0600000000000000 0800000000000000 0900000000000000 0a00000000000000 \
                 01000000 0500000000000000 02000000 01000000 0800000000000000 0b00000000000000";
    check(Row::Group(row), "09 00000002 776f726b657273", value);
}

#[test]
fn a_topic() {
    let row = TopicRow {
        topic: 2,
        name: "beans".into(),
        settings: TopicSettings::default(),
        explicit: true,
        rows_from: 3,
        first: 4,
        hidden_below: 5,
        limit_end: 6,
        dropped_records: 10,
        dropped_bytes: 11,
        changed_at: AT(7),
        eras: vec![Era { from: 8, window_micros: 9 }],
    };
    let settings = "0000000000000000 0000000000000000 00 8096980000000000 0000000400000000 00 40420f0000000000 \
                    0060d71d14000000";
    let offsets = "0300000000000000 0400000000000000 0500000000000000 0600000000000000 \
                   0a00000000000000 0b00000000000000";
    let value = format!(
        "01 05 6265616e73 {settings} 01 {offsets} 0700000000000000 01000000 0800000000000000 0900000000000000"
    );
    check(Row::Topic(row), "01 00000002", &value);
}

#[test]
fn records_of_which_one_expired() {
    let mut data = Vec::new();
    Record { body: b"tea", timestamp: 7, ..Record::default() }.encode(&mut data);
    let row = RecordsRow {
        topic: 2,
        start: 500,
        last_timestamp: AT(9),
        runs: vec![Run { kind: RunKind::Present, count: 1 }, Run { kind: RunKind::Expired, count: 2 }],
        data: data.into(),
    };
    let runs = "02000000 00 0100000000000000 01 0200000000000000";
    let record = "0f000000 00 00 0000 0700000000000000 746561";
    check(Row::Records(row), "02 00000002 00000000000001f4", &format!("01 0900000000000000 {runs} {record}"));
}

#[test]
fn the_head_of_records() {
    let head = RecordsHead {
        topic: 2,
        start: 500,
        count: 3,
        bytes: 60,
        first_timestamp: AT(7),
        last_timestamp: AT(9),
        has_keys: true,
    };
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    let expected = "01 03000000 3c000000 0700000000000000 0900000000000000 01";
    assert_eq!(hex(&bytes), expected.split_whitespace().collect::<String>());
}

#[test]
fn a_durable_subscription() {
    let row = CursorRow {
        topic: 2,
        name: "bar".into(),
        principal: "ada".into(),
        epoch: 3,
        held_since: 2,
        inactive_micros: 60,
        window: 1,
        cursor: 9,
        start: 8,
        rewind: 5,
        sought: 4,
        paused_until: AT(70),
        delivered: vec![DeliveredRange { from: 10, to: 12, attempts: 1, is_done: true }],
        failures: vec![(9, 2)],
    };
    let numbers = "03000000 02000000 05000000 04000000 01000000";
    let offsets = "3c00000000000000 0900000000000000 0800000000000000 4600000000000000";
    let ranges = "01000000 0a00000000000000 0c00000000000000 01000000 01";
    let value = format!("01 03 616461 {numbers} {offsets} {ranges} 01000000 0900000000000000 02000000");
    check(Row::Cursor(row), "04 00000002 626172", &value);
}

#[test]
fn a_producer_and_its_answers() {
    let row = ProducerRow { producer: 0x77, principal: "".into(), epoch: 1, oldest: 5, count: 6 };
    let id = "00000000000000000000000000000077";
    check(Row::Producer(row), &format!("05 {id}"), "01 00 01000000 0500000000000000 06000000");
    let mut duplicates = Vec::new();
    Duplicate { record: 1, offset: 40 }.write(&mut duplicates);
    let refusal = Refusal { code: RefusalCode::TooLarge, operation: 1, value: 9 };
    let answers = [
        (Answer::Run { requests: 2, step: 1, first_offset: 30 }, "00 02000000 01000000 1e00000000000000"),
        (
            Answer::Published { created: true, first_offset: None, duplicates: duplicates.into() },
            "01 01 ffffffffffffffff 0c000000 010000002800000000000000",
        ),
        (Answer::Batched { results: Bytes::new(), duplicates: Bytes::new() }, "02 00000000 00000000"),
        (Answer::Refused(refusal), "03 0800 01000000 0900000000000000"),
        (Answer::Lost, "04"),
    ];
    for (answer, bytes) in answers {
        let row = AnswerRow { producer: 0x77, number: 3, principal: "".into(), sequence: 5, answer };
        let key = format!("06 {id} 0000000000000003");
        check(Row::Answer(row), &key, &format!("01 00 0500000000000000 {bytes}"));
    }
}

#[test]
fn marks_and_keys() {
    let runs = vec![
        MarkedRun { from: 500, to: 501, mark: Mark::Superseded },
        MarkedRun { from: 501, to: 502, mark: Mark::Dead },
    ];
    let value = "01 02000000 74 01 00 75 01 01";
    check(Row::Marks(MarksRow { topic: 2, start: 384, runs }), "07 00000002 0000000000000180", value);
    let key = RememberedKey { offset: 500, accepted: AT(7), key: Bytes::from_static(b"k") };
    let value = "01 01000000 f401000000000000 0700000000000000 01000000 6b";
    check(Row::Keys(KeysRow { topic: 2, keys: vec![key] }), "08 00000002 0000000000000180", value);
}

#[test]
fn the_reserved_kind_and_unknown_ones_are_refused() {
    for (key, kind) in [(vec![3, 0, 0, 0, 1], 3), (vec![9], 9), (vec![], 0), (vec![0, 0], 0)] {
        let error = RowError::Key { kind, len: key.len() };
        assert_eq!(Row::decode(&key, &[1]), Err(error));
    }
}

//! Arbitrary records.

use bytes::BytesMut;
use proptest::prelude::*;
use zaichik_proto::{Record, RecordError, RecordHead, RecordRef, Records};

use crate::{edgy_u64, keep, keep_bytes, label};

/// A valid record; with a timestamp if `stamped`.
pub(crate) fn record(stamped: bool) -> impl Strategy<Value = Record<'static>> {
    let key = prop::option::of(prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 1_024),
    ]);
    let ttl = prop::option::of(edgy_u64().prop_map(|ttl| ttl.max(1)));
    let tombstone = prop::bool::weighted(0.2);
    let timestamp = edgy_u64().prop_map(move |at| if stamped { at } else { 0 });
    (key, headers(), body(), ttl, tombstone, timestamp).prop_map(
        |(key, headers, body, ttl_micros, tombstone, timestamp)| {
            let key = key.map(keep_bytes);
            let tombstone = tombstone && key.is_some();
            Record {
                key,
                headers,
                body: if tombstone { b"" } else { body },
                ttl_micros,
                tombstone,
                timestamp,
            }
        },
    )
}

/// At least one record, encoded.
pub(crate) fn records(stamped: bool) -> impl Strategy<Value = Records<'static>> {
    prop::collection::vec(record(stamped), 1..5).prop_map(|records| {
        let mut bytes = BytesMut::new();
        for record in &records {
            record.encode(&mut bytes);
        }
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        Records::from_encoded(count, keep_bytes(bytes.into()))
    })
}

fn headers() -> impl Strategy<Value = &'static [(&'static str, &'static [u8])]> {
    let value = prop_oneof![
        200 => prop::collection::vec(any::<u8>(), 0..10),
        1 => prop::collection::vec(any::<u8>(), 65_535),
    ];
    let header = (label(1), value.prop_map(keep_bytes));
    prop::collection::vec(header, 0..4).prop_map(|headers| keep(headers).as_slice())
}

fn body() -> impl Strategy<Value = &'static [u8]> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(keep_bytes)
}

/// A record that may violate rules.
fn careless_record() -> impl Strategy<Value = Record<'static>> {
    let key = prop::option::of(prop_oneof![0..4usize, 1_023..1_026usize, Just(65_536), Just(65_540)]);
    let name = prop_oneof![Just(0), 1..4usize, 254..258usize, Just(600)];
    let value = prop_oneof![0..4usize, 65_534..65_538usize];
    let headers = prop_oneof![
        4 => prop::collection::vec((name, value), 0..3),
        1 => prop::collection::vec(Just((1, 0)), 1_023..1_026),
    ];
    let ttl = prop::option::of(0..3u64);
    (key, headers, 0..3usize, ttl, any::<bool>()).prop_map(|(key, headers, body, ttl_micros, tombstone)| {
        let header = |(name, value)| (keep("n".repeat(name)).as_str(), keep_bytes(vec![1; value]));
        Record {
            key: key.map(|len| keep_bytes(vec![b'k'; len])),
            headers: keep(headers.into_iter().map(header).collect::<Vec<_>>()),
            body: keep_bytes(vec![b'b'; body]),
            ttl_micros,
            tombstone,
            timestamp: 0,
        }
    })
}

proptest! {
    #[test]
    fn a_record_survives_encoding_and_decoding(record in record(true), follows in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut bytes = BytesMut::new();
        record.encode(&mut bytes);
        prop_assert_eq!(record.check(), Ok(()));
        prop_assert_eq!(bytes.len(), record.encoded_len());
        bytes.extend_from_slice(&follows);

        let (read, rest) = RecordRef::split_first(&bytes).expect("a valid record");
        prop_assert_eq!(rest, &follows[..]);
        prop_assert_eq!(read.as_bytes().len(), record.encoded_len());
        prop_assert_eq!(read.key(), record.key);
        prop_assert_eq!(read.body(), record.body);
        prop_assert_eq!(read.ttl_micros(), record.ttl_micros);
        prop_assert_eq!(read.is_tombstone(), record.tombstone);
        prop_assert_eq!(read.timestamp(), record.timestamp);
        prop_assert_eq!(read.headers().iter().collect::<Vec<_>>(), record.headers);
    }

    #[test]
    fn a_head_agrees_with_its_record(record in record(true)) {
        let mut bytes = BytesMut::new();
        record.encode(&mut bytes);
        let head = RecordHead {
            len: record.encoded_len(),
            timestamp: record.timestamp,
            ttl_micros: record.ttl_micros,
            has_key: record.key.is_some(),
        };
        prop_assert_eq!(RecordHead::peek(&bytes), Some(head));
        prop_assert_eq!(RecordHead::peek(&bytes[..15]), None);
    }

    #[test]
    fn heads_agree_with_their_records(records in records(true)) {
        let heads: Vec<_> = records.heads().collect();
        let whole = records.iter().map(|record| {
            let (len, ttl_micros) = (record.as_bytes().len(), record.ttl_micros());
            let has_key = record.key().is_some();
            (record.as_bytes(), RecordHead { len, timestamp: record.timestamp(), ttl_micros, has_key })
        });
        prop_assert_eq!(heads, whole.collect::<Vec<_>>());
    }

    #[test]
    fn check_refuses_what_the_peer_refuses(record in careless_record()) {
        let mut bytes = BytesMut::new();
        record.encode(&mut bytes);
        let read = RecordRef::split_first(&bytes);
        prop_assert_eq!(read.is_ok(), record.check().is_ok(), "{:?} but {:?}", read, record.check());
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64), size in 0..64u32) {
        let mut bytes = bytes;
        if let Some(place) = bytes.first_chunk_mut() {
            *place = size.to_le_bytes();
        }
        if let Ok((record, rest)) = RecordRef::split_first(&bytes) {
            prop_assert_eq!([record.as_bytes(), rest].concat(), bytes);
        }
    }
}

#[test]
fn a_message_length_counts_key_headers_and_body() {
    let mut bytes = BytesMut::new();
    let record = Record {
        key: Some(b"key"),
        headers: &[("name", b"value")],
        body: b"body",
        ttl_micros: Some(1),
        ..Record::default()
    };
    record.encode(&mut bytes);
    let (read, _) = RecordRef::split_first(&bytes).unwrap();
    assert_eq!(read.headers().as_bytes().len(), 2 + 1 + 4 + 2 + 5);
    assert_eq!(read.message_len(), 3 + 14 + 4);
}

#[test]
fn s_04_malformed_records_are_named() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = BytesMut::new();
        let record = Record {
            key: Some(b"key"),
            headers: &[("a", b"b")],
            ttl_micros: Some(7),
            body: b"body",
            ..Record::default()
        };
        record.encode(&mut bytes);
        let mut bytes = Vec::from(bytes);
        change(&mut bytes);
        RecordRef::split_first(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(&|bytes| bytes.truncate(3)), RecordError::BadSize);
    assert_eq!(with(&|bytes| bytes[0] += 1), RecordError::BadSize, "past the end");
    assert_eq!(with(&|bytes| bytes[..4].fill(0xff)), RecordError::BadSize);
    assert_eq!(with(&|bytes| bytes[0] = 11), RecordError::BadSize, "too small for its fields");
    assert_eq!(with(&|bytes| bytes[0] = 12), RecordError::BadSize, "too small for the fields in its flags");
    for bit in 4..8 {
        assert_eq!(with(&|bytes| bytes[4] |= 1 << bit), RecordError::ReservedBits);
    }
    for bit in 0..8 {
        assert_eq!(with(&|bytes| bytes[5] |= 1 << bit), RecordError::ReservedBits);
    }
    assert_eq!(with(&|bytes| bytes[7] = 5), RecordError::KeyTooLong);
    assert_eq!(with(&|bytes| bytes[4] &= !1), RecordError::KeyWithoutFlag);
    assert_eq!(with(&|bytes| bytes[16] = 0), RecordError::ZeroTtl);
    assert_eq!(with(&|bytes| bytes[24] += 1), RecordError::BadHeaders, "the section is too long");
    assert_eq!(with(&|bytes| bytes[28] = 0), RecordError::BadHeaders, "a section without headers");
    assert_eq!(with(&|bytes| bytes[28] = 2), RecordError::BadHeaders, "a header is missing");
    assert_eq!(with(&|bytes| bytes[29] = 5), RecordError::TooManyHeaders);
    assert_eq!(with(&|bytes| bytes[30] = 0), RecordError::BadHeaders, "a header without a name");
    assert_eq!(with(&|bytes| bytes[31] = 0xff), RecordError::BadHeaders, "a name that is not UTF-8");
    assert_eq!(with(&|bytes| bytes[4] |= 8), RecordError::BadTombstone, "with a body");
}

#[test]
fn the_maximum_number_of_headers_is_accepted_and_no_more() {
    let header = [("name", &b"value"[..])];
    let most = header.repeat(1_024);
    let record = Record { headers: &most, ..Record::default() };
    assert_eq!(record.check(), Ok(()));
    let mut bytes = BytesMut::new();
    record.encode(&mut bytes);
    assert_eq!(RecordRef::split_first(&bytes).unwrap().0.headers().iter().count(), 1_024);
    let more = header.repeat(1_025);
    assert_eq!(Record { headers: &more, ..record }.check(), Err(RecordError::TooManyHeaders));
}

#[test]
fn records_report_whether_they_are_empty() {
    let mut bytes = BytesMut::new();
    Record::default().encode(&mut bytes);
    let (one, none) = (Records::from_encoded(1, &bytes), Records::from_encoded(0, b""));
    assert_eq!((one.len(), one.is_empty()), (1, false));
    assert_eq!((none.len(), none.is_empty()), (0, true));
}

//! What holds for every row, and for all bytes.

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_engine::store::{Key, RecordsHead, RecordsRow, Row, RowError, RunKind};

use super::generate::{records, row};

fn encoded(row: &Row) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    row.key().encode(&mut key);
    row.encode(&mut value);
    (key, value)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_is_read_back_as_it_was(row in row()) {
        let (key, value) = encoded(&row);
        prop_assert_eq!(Key::decode(&key), Ok(row.key()));
        prop_assert_eq!(Row::decode(&key, &value), Ok(row));
    }

    #[test]
    fn the_records_of_a_row_are_its_data_at_the_present_offsets(row in records()) {
        let (mut offsets, mut end) = (Vec::new(), row.start);
        for run in &row.runs {
            let all = end..end + run.count;
            end = all.end;
            offsets.extend(all.filter(|_| run.kind == RunKind::Present));
        }
        let (found, data): (Vec<_>, Vec<_>) = row.records().map(|(offset, one)| (offset, one.as_bytes())).unzip();
        prop_assert_eq!((found, data.concat()), (offsets, row.data.to_vec()));
        let (_, value) = encoded(&Row::Records(row.clone()));
        prop_assert_eq!(RecordsRow::data_of(&value), Some(&row.data[..]));
    }

    #[test]
    fn a_head_says_what_the_records_of_its_row_do(row in records()) {
        let is_whole = row.runs.iter().all(|run| run.kind == RunKind::Present);
        let has_own = row.records().any(|(_, one)| one.ttl_micros().is_some());
        prop_assert_eq!(row.head().is_some(), is_whole && !has_own);
        if let Some(head) = row.head() {
            prop_assert_eq!((head.topic, head.start, head.end()), (row.topic, row.start, row.end()));
            prop_assert_eq!(head.bytes as usize, row.data.len());
            prop_assert_eq!(head.last_timestamp, row.last_timestamp);
            let first = row.records().next().map(|(_, one)| one.timestamp());
            prop_assert_eq!(Some(head.first_timestamp.as_micros()), first);
            prop_assert_eq!(head.has_keys, row.records().any(|(_, one)| one.key().is_some()));
            let (key, _) = encoded(&Row::Records(row));
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), 26);
            prop_assert_eq!(RecordsHead::decode(&key, &bytes), Ok(head));
            for len in 0..bytes.len() {
                prop_assert!(RecordsHead::decode(&key, &bytes[..len]).is_err(), "{} bytes", len);
            }
            bytes.push(0);
            prop_assert!(RecordsHead::decode(&key, &bytes).is_err());
        }
    }

    #[test]
    fn no_bytes_of_a_head_cause_a_panic(key in vec_of(any::<u8>(), 0..14), head in vec_of(any::<u8>(), 0..30)) {
        let _ = RecordsHead::decode(&key, &head);
        let (key, head) = ([&[2], &key[..]].concat(), [&[1], &head[..]].concat());
        if let Ok(read) = RecordsHead::decode(&key, &head) {
            let mut bytes = Vec::new();
            read.encode(&mut bytes);
            prop_assert_eq!(bytes, head);
        }
    }

    #[test]
    fn the_order_of_keys_is_that_of_their_bytes(one in row(), other in row()) {
        let order = encoded(&one).0.cmp(&encoded(&other).0);
        prop_assert_eq!(one.key().cmp(&other.key()), order);
    }

    #[test]
    fn a_value_that_is_cut_or_continued_is_refused(row in row(), cut in any::<prop::sample::Index>(), more in any::<u8>()) {
        let (key, mut value) = encoded(&row);
        prop_assert!(Row::decode(&key, &value[..cut.index(value.len())]).is_err());
        value.push(more);
        prop_assert!(Row::decode(&key, &value).is_err());
    }

    #[test]
    fn a_changed_byte_is_refused_or_makes_another_row(row in row(), at in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let (key, mut value) = encoded(&row);
        let at = at.index(value.len());
        value[at] ^= flip;
        if let Ok(other) = Row::decode(&key, &value) {
            prop_assert_eq!(encoded(&other), (key, value), "there is one encoding");
        }
    }

    #[test]
    fn no_bytes_cause_a_panic(kind in 0..9u8, key in vec_of(any::<u8>(), 0..30), value in vec_of(any::<u8>(), 0..200)) {
        let key = [&[kind], &key[..]].concat();
        let _ = Row::decode(&key, &value);
        let value = [&[1], &value[..]].concat();
        if let Ok(row) = Row::decode(&key, &value) {
            prop_assert_eq!(encoded(&row), (key, value));
        }
    }

    #[test]
    fn another_format_is_named(row in row(), format in 2..=u8::MAX) {
        let (key, mut value) = encoded(&row);
        value[0] = format;
        prop_assert_eq!(Row::decode(&key, &value), Err(RowError::Format { key: row.key(), format }));
    }
}

//! Rows that a broker could write.

use bytes::Bytes;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use zaichik_engine::store::{
    Answer, AnswerRow, CursorRow, DeliveredRange, Era, GroupRow, KeysRow, Mark, MarkedRun, MarksRow, MetaRow,
    ProducerRow, RecordsRow, RememberedKey, Row, Run, RunKind, TopicRow,
};
use zaichik_engine::{Timestamp, TopicSettings};
use zaichik_proto::{
    BatchDuplicate, BatchResult, CompactionMode, Duplicate, Entry, Overflow, Record, Refusal, RefusalCode,
};

/// A row of any kind.
pub(crate) fn row() -> impl Strategy<Value = Row> {
    let meta = (any::<u128>(), time(), any::<u64>());
    let meta =
        meta.prop_map(|(instance, now, stopped_micros)| Row::Meta(MetaRow { instance, now, stopped_micros }));
    prop_oneof![
        meta,
        topic().prop_map(Row::Topic),
        records().prop_map(Row::Records),
        cursor().prop_map(Row::Cursor),
        producer().prop_map(Row::Producer),
        answer().prop_map(Row::Answer),
        marks().prop_map(Row::Marks),
        keys().prop_map(Row::Keys),
        group().prop_map(Row::Group),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..100u64, u64::MAX - 5_000..u64::MAX - 3_000]
}

fn block() -> impl Strategy<Value = u64> {
    offset().prop_map(|offset| offset - offset % Row::BLOCK)
}

fn name() -> impl Strategy<Value = Box<str>> {
    prop_oneof!["[a-zäß/.]{1,30}", "[a-z]{255}"].prop_map(String::into_boxed_str)
}

fn principal() -> impl Strategy<Value = Box<str>> {
    prop_oneof![Just(String::new()), "[a-z@ ]{0,20}"].prop_map(String::into_boxed_str)
}

fn group() -> impl Strategy<Value = GroupRow> {
    let numbers = (any::<[u64; 2]>(), any::<[u32; 2]>(), 1..u32::MAX, any::<bool>());
    // Each stretch: offsets that are open, some of which failed or wait, then some that are done.
    let stretch = (1..9u64, 1..9u64, 0..4u32, 0..4u64);
    (any::<u32>(), name(), principal(), numbers, offset(), vec_of(stretch, 0..5)).prop_map(
        |(topic, name, principal, (times, counts, max_span, by_key), cursor, stretches)| {
            let (mut at, mut done, mut failures, mut delays) = (cursor, Vec::new(), Vec::new(), Vec::new());
            for (open, closed, failed, delay) in stretches {
                failures.extend((failed > 0).then_some((at, failed)));
                delays.extend((delay > 0).then_some((at + open - 1, Timestamp::from_micros(delay))));
                done.push((at + open, at + open + closed));
                at += open + closed;
            }
            let [inactive_micros, ack_deadline_micros] = times;
            let [rewind, window] = counts;
            GroupRow {
                topic,
                name,
                principal,
                by_key,
                inactive_micros,
                window,
                max_span,
                ack_deadline_micros,
                cursor,
                rewind,
                done,
                failures,
                delays,
            }
        },
    )
}

fn topic() -> impl Strategy<Value = TopicRow> {
    let settings = (any::<[u64; 6]>(), any::<bool>(), any::<bool>());
    let offsets = (offset(), 0..1_000u64, any::<[u64; 4]>());
    let eras = proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..4);
    (any::<u32>(), name(), settings, any::<bool>(), offsets, time(), eras).prop_map(
        |(topic, name, (numbers, latest, reject), explicit, offsets, changed_at, eras)| TopicRow {
            topic,
            name,
            settings: settings_of(numbers, latest, reject),
            explicit,
            rows_from: offsets.0,
            first: offsets.0 + offsets.1,
            hidden_below: offsets.2[0],
            limit_end: offsets.2[1],
            dropped_records: offsets.2[2],
            dropped_bytes: offsets.2[3],
            changed_at,
            eras: eras.into_iter().map(|(from, window_micros)| Era { from, window_micros }).collect(),
        },
    )
}

fn settings_of(numbers: [u64; 6], latest: bool, reject: bool) -> TopicSettings {
    let [ttl, window, messages, bytes, keys, tombstone] = numbers;
    let mut settings = TopicSettings::default();
    settings.retention_ttl_micros = ttl;
    settings.compaction_window_micros = window;
    settings.compaction = if latest { CompactionMode::Latest } else { CompactionMode::First };
    settings.max_messages = messages.max(1);
    settings.max_bytes = bytes.max(1);
    settings.overflow = if reject { Overflow::Reject } else { Overflow::DropOldest };
    settings.max_keys = keys.max(1);
    settings.tombstone_ttl_micros = tombstone;
    settings
}

pub(crate) fn records() -> impl Strategy<Value = RecordsRow> {
    let kind = prop_oneof![Just(RunKind::Present), Just(RunKind::Expired), Just(RunKind::Superseded)];
    let runs = vec_of((kind, 1..4u64), 1..6);
    (any::<u32>(), offset(), runs, any::<[u32; 2]>(), vec_of(any::<u8>(), 0..40)).prop_map(
        |(topic, start, runs, [from, later], body)| {
            let mut row = RecordsRow {
                topic,
                start,
                last_timestamp: Timestamp::ZERO,
                runs: vec![],
                data: Bytes::new(),
            };
            let mut data = Vec::new();
            let mut timestamp = u64::from(from);
            for (kind, count) in runs {
                if row.runs.last().is_some_and(|last| last.kind == kind) {
                    continue;
                }
                row.runs.push(Run { kind, count });
                for _ in 0..if kind == RunKind::Present { count } else { 0 } {
                    let record = Record {
                        key: body.split_first().filter(|_| body.len() % 2 == 0).map(|(_, key)| key),
                        body: &body,
                        ttl_micros: (body.len() % 3 == 0).then_some(7),
                        timestamp,
                        ..Record::default()
                    };
                    record.encode(&mut data);
                    timestamp += 3;
                }
            }
            row.data = data.into();
            row.last_timestamp = Timestamp::from_micros(timestamp + u64::from(later));
            row
        },
    )
}

fn cursor() -> impl Strategy<Value = CursorRow> {
    let epochs = (1..=u32::MAX).prop_flat_map(|epoch| (Just(epoch), 1..=epoch));
    let rewinds = any::<u32>().prop_flat_map(|rewind| (Just(rewind), 0..=rewind));
    let ranges = vec_of((1..9u64, 1..9u64, 1..5u32, any::<bool>()), 0..6);
    let failures = proptest::collection::btree_map(0..50u64, 1..=u32::MAX, 0..5);
    let place = (offset(), 0..100u64, any::<u64>(), prop_oneof![Just(Timestamp::ZERO), time()]);
    (any::<u32>(), name(), principal(), epochs, rewinds, place, ranges, failures).prop_map(
        |(topic, name, principal, epochs, rewinds, place, ranges, failures)| {
            let cursor = place.0;
            let mut at = cursor;
            let mut range = |(skip, count, attempts, is_done)| {
                let (from, to) = (at + skip, at + skip + count);
                at = to;
                DeliveredRange { from, to, attempts, is_done }
            };
            CursorRow {
                topic,
                name,
                principal,
                epoch: epochs.0,
                held_since: epochs.1,
                inactive_micros: place.2,
                window: rewinds.0 / 2,
                cursor,
                start: cursor.saturating_sub(place.1),
                rewind: rewinds.0,
                sought: rewinds.1,
                paused_until: place.3,
                delivered: ranges.into_iter().map(&mut range).collect(),
                failures: failures.into_iter().map(|(after, count)| (cursor + after, count)).collect(),
            }
        },
    )
}

fn producer() -> impl Strategy<Value = ProducerRow> {
    (any::<u128>(), principal(), any::<u32>(), 0..u64::MAX - 2_000, 0..=1_024u32).prop_map(
        |(producer, principal, epoch, oldest, count)| ProducerRow {
            producer,
            principal,
            epoch,
            oldest,
            count,
        },
    )
}

fn answer() -> impl Strategy<Value = AnswerRow> {
    (any::<u128>(), any::<u64>(), principal(), 0..u64::MAX - 2_000, what()).prop_map(
        |(producer, number, principal, sequence, answer)| AnswerRow {
            producer,
            number,
            principal,
            sequence,
            answer,
        },
    )
}

fn what() -> impl Strategy<Value = Answer> {
    let run = (1..=1_024u32, 1..=9u32, 0..1u64 << 60)
        .prop_map(|(requests, step, first_offset)| Answer::Run { requests, step, first_offset });
    let published =
        (any::<bool>(), proptest::option::of(0..u64::MAX), vec_of((any::<u32>(), any::<u64>()), 0..4));
    let published = published.prop_map(|(created, first_offset, duplicates)| Answer::Published {
        created,
        first_offset,
        duplicates: encoded(duplicates.into_iter().map(|(record, offset)| Duplicate { record, offset })),
    });
    let batched = Just(Answer::Batched {
        results: encoded([BatchResult { operation: 2, created: true, first_offset: 7 }].into_iter()),
        duplicates: encoded(
            [BatchDuplicate { operation: 1, duplicate: Duplicate { record: 0, offset: 4 } }].into_iter(),
        ),
    });
    let codes = RefusalCode::ALL.iter().copied().filter(|code| !code.is_retryable()).collect::<Vec<_>>();
    let refused = (proptest::sample::select(codes), any::<u32>(), any::<u64>())
        .prop_map(|(code, operation, value)| Answer::Refused(Refusal { code, operation, value }));
    prop_oneof![run, published, batched, refused, Just(Answer::Lost)]
}

fn encoded<T: Entry>(entries: impl Iterator<Item = T>) -> Bytes {
    let mut bytes = Vec::new();
    entries.for_each(|entry| entry.write(&mut bytes));
    bytes.into()
}

fn marks() -> impl Strategy<Value = MarksRow> {
    let run = (1..5u64, 1..5u64, any::<bool>());
    (any::<u32>(), block(), vec_of(run, 1..5)).prop_map(|(topic, start, runs)| {
        let mut at = start;
        let mut run = |(skip, count, is_dead)| {
            let (from, to) = (at + skip, at + skip + count);
            at = to;
            MarkedRun { from, to, mark: if is_dead { Mark::Dead } else { Mark::Superseded } }
        };
        MarksRow { topic, start, runs: runs.into_iter().map(&mut run).collect() }
    })
}

fn keys() -> impl Strategy<Value = KeysRow> {
    let key = (1..9u64, 0..9u64, vec_of(any::<u8>(), 0..20));
    (any::<u32>(), block(), vec_of(key, 1..6)).prop_map(|(topic, start, keys)| {
        let (mut offset, mut accepted) = (start, 0);
        let mut key = |(skip, later, key): (u64, u64, Vec<u8>)| {
            (offset, accepted) = (offset + skip, accepted + later);
            RememberedKey { offset, accepted: Timestamp::from_micros(accepted), key: key.into() }
        };
        KeysRow { topic, keys: keys.into_iter().map(&mut key).collect() }
    })
}

//! The fast decoder of plain publishes is a special case of the general one: it accepts exactly the plain publishes
//! among the frames that the general one decodes, with the same result.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use bytes::BytesMut;
use proptest::prelude::*;
use zaichik_proto::{AckLevel, ClientDecoder, ClientFrame, Limits, Publish, Record, Records};

use crate::client_frames::client_frame;
use crate::{client_bytes, edgy_u32, flipped, flips};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_plain_publish_is_taken_once_it_has_arrived(
        request in 1..u32::MAX,
        ack in ack(),
        topic in prop::collection::vec(any::<u8>(), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = plain(request, ack, &topic, &body);
        let mut decoder = ClientDecoder::new(&Limits::default());
        for end in 0..bytes.len() {
            prop_assert_eq!(decoder.decode_plain_publish(&bytes[..end]), None, "it is incomplete");
        }
        let (publish, taken) = decoder.decode_plain_publish(&bytes).expect("it is plain");
        prop_assert_eq!(taken, bytes.len());
        prop_assert_eq!(decoder.position(), bytes.len() as u64);
        prop_assert_eq!((publish.request, publish.ack, publish.topic), (request, ack, &topic[..]));
        prop_assert_eq!(publish.records.iter().next().map(|record| record.body()), Some(&body[..]));
    }

    #[test]
    fn the_decoders_agree_about_any_frame(
        frame in client_frame(),
        flips in flips(),
        limits in limits(),
    ) {
        agree(&limits, &flipped(client_bytes(&frame), &flips))?;
    }

    #[test]
    fn the_decoders_agree_about_damaged_plain_publishes(
        request in 0..3u32,
        ack in ack(),
        body in prop::collection::vec(any::<u8>(), 0..40),
        flips in flips(),
        limits in limits(),
    ) {
        agree(&limits, &flipped(plain(request, ack, b"topic", &body), &flips))?;
    }

    #[test]
    fn the_decoders_agree_about_plain_publishes_at_the_frame_limit(
        body in prop::collection::vec(any::<u8>(), 0..40),
        spare in -2..3i64,
        max_records in 0..3u32,
    ) {
        let bytes = plain(1, AckLevel::Accepted, b"topic", &body);
        let body_len = i64::try_from(bytes.len() - 8).expect("it is short");
        let max_frame = u32::try_from(body_len + spare).expect("it is above zero");
        agree(&with(max_frame, max_records), &bytes)?;
    }

    #[test]
    fn a_run_of_plain_publishes_ends_at_the_first_that_differs(
        first in any_publish(),
        others in prop::collection::vec(any_publish(), 0..6),
        flips in flips(),
        max_len in 0..60usize,
    ) {
        let first = first.bytes();
        let others = flipped(others.iter().flat_map(Any::bytes).collect(), &flips);
        let mut decoder = ClientDecoder::new(&Limits::default());
        let (like, _) = decoder.decode_plain_publish(&first).expect("it is plain");
        let mut one_by_one = decoder.clone();
        let mut alike = decoder.decode_plain_publishes(&like, &others);
        let mut rest = &others[..];
        loop {
            prop_assert_eq!(alike.taken(), others.len() - rest.len());
            let next = alike.next_within(max_len);
            let mut ahead = one_by_one.clone();
            let expected = ahead.decode_plain_publish(rest).filter(|(publish, _)| {
                publish.topic == like.topic
                    && publish.ack == like.ack
                    && publish.records.as_bytes().len() <= max_len
            });
            prop_assert_eq!(
                next,
                expected.map(|(publish, _)| (publish.request, publish.records.as_bytes()))
            );
            let Some((_, taken)) = expected else {
                break;
            };
            one_by_one = ahead;
            rest = &rest[taken..];
        }
        prop_assert_eq!(state(&decoder), state(&one_by_one));
    }
}

#[test]
fn nothing_is_taken_from_a_connection_that_is_not_open() {
    let bytes = plain(1, AckLevel::None, b"t", b"body");
    let (like, _) = ClientDecoder::new(&Limits::default()).decode_plain_publish(&bytes).expect("it is plain");
    let mut greeted = ClientDecoder::handshake(&Limits::default());
    assert_eq!(greeted.decode_plain_publish(&bytes), None);
    assert_eq!(greeted.decode_plain_publishes(&like, &bytes).next_within(usize::MAX), None);
    let mut broken = ClientDecoder::new(&Limits::default());
    assert!(broken.decode(&[0xff; 8]).is_err());
    assert_eq!(broken.decode_plain_publish(&bytes), None);
    assert_eq!(broken.decode_plain_publishes(&like, &bytes).next_within(usize::MAX), None);
}

#[test]
fn a_frame_above_a_limit_is_not_taken() {
    let bytes = plain(1, AckLevel::None, b"t", b"body");
    let body_len = u32::try_from(bytes.len() - 8).expect("it is short");
    let is_taken = |max_frame, max_records| {
        ClientDecoder::new(&with(max_frame, max_records)).decode_plain_publish(&bytes).is_some()
    };
    assert!(is_taken(body_len, 1));
    assert!(!is_taken(body_len - 1, 1));
    assert!(!is_taken(body_len, 0));
}

/// The fast decoder accepts exactly the frames that the general one decodes to a plain publish. Then both have the same
/// state; if the fast one returns nothing, its state has not changed.
fn agree(limits: &Limits, bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut long = ClientDecoder::new(&with(limits.max_frame.max(8), limits.max_records));
    let ping = client_bytes(&ClientFrame::Ping { nonce: 7 });
    prop_assert!(matches!(long.decode(&ping), Ok(Some(_))), "the position is not 0");
    long.open(zaichik_proto::Version::One, limits);
    let mut short = long.clone();
    let before = state(&short);

    let in_short = short.decode_plain_publish(bytes);
    let in_full = long.decode(bytes);
    let expected = match in_full {
        Ok(Some((ClientFrame::Publish(publish), taken))) if is_plain(&publish) => Some((publish, taken)),
        Ok(_) | Err(_) => None,
    };
    prop_assert_eq!(in_short, expected);
    let after = if in_short.is_some() { state(&long) } else { before };
    prop_assert_eq!(state(&short), after);
    Ok(())
}

fn is_plain(publish: &Publish<'_>) -> bool {
    let is_bare = publish.records.iter().all(|record| {
        let is_annotated = record.key().is_some() || record.ttl_micros().is_some() || record.is_tombstone();
        !is_annotated && record.headers().as_bytes().is_empty()
    });
    publish.producer.is_none() && publish.records.len() == 1 && is_bare
}

/// The whole state of a decoder.
fn state(decoder: &ClientDecoder) -> String {
    format!("{decoder:?}")
}

const fn with(max_frame: u32, max_records: u32) -> Limits {
    Limits::new().max_frame(max_frame).max_records(max_records)
}

/// A plain publish.
#[derive(Debug, Clone)]
struct Any {
    ack: AckLevel,
    topic: &'static [u8],
    body: Vec<u8>,
}

impl Any {
    fn bytes(&self) -> Vec<u8> {
        plain(7, self.ack, self.topic, &self.body)
    }
}

/// Most of them have the same topic and acknowledgement level.
fn any_publish() -> impl Strategy<Value = Any> {
    let ack = prop_oneof![8 => Just(AckLevel::None), 1 => Just(AckLevel::Accepted)];
    let topic = prop_oneof![8 => Just(&b"topic"[..]), 1 => Just(&b"topiC"[..]), 1 => Just(&b"topics"[..])];
    let body = prop::collection::vec(any::<u8>(), 0..50);
    (ack, topic, body).prop_map(|(ack, topic, body)| Any { ack, topic, body })
}

fn ack() -> impl Strategy<Value = AckLevel> {
    prop_oneof![Just(AckLevel::None), Just(AckLevel::Accepted), Just(AckLevel::Durable)]
}

/// Limits of any size, most of them large enough.
fn limits() -> impl Strategy<Value = Limits> {
    let max_frame = prop_oneof![2 => Just(Limits::default().max_frame), 1 => 0..100u32, 1 => edgy_u32()];
    let max_records = prop_oneof![2 => Just(Limits::MAX_RECORDS), 1 => 0..3u32, 1 => edgy_u32()];
    (max_frame, max_records).prop_map(|(max_frame, max_records)| with(max_frame, max_records))
}

fn plain(request: u32, ack: AckLevel, topic: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = BytesMut::new();
    Record { body, ..Record::default() }.encode(&mut record);
    let records = Records::from_encoded(1, &record);
    client_bytes(&ClientFrame::Publish(Publish { request, ack, producer: None, topic, records }))
}

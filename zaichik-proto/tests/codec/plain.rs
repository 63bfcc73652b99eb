//! The short way to the publish that most publishes are says what the decoder says, or nothing.

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::sample::Index;
use zaichik_proto::{AckLevel, ClientDecoder, ClientFrame, Limits, Publish, Record, Records};

use crate::client_bytes;
use crate::client_frames::client_frame;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_knows_every_plain_publish(
        request in 1..u32::MAX,
        is_acknowledged in any::<bool>(),
        topic in prop::collection::vec(any::<u8>(), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let ack = if is_acknowledged { AckLevel::Accepted } else { AckLevel::None };
        let bytes = plain(request, ack, &topic, &body);
        let mut decoder = ClientDecoder::new(&Limits::default());
        let (publish, taken) = decoder.decode_plain_publish(&bytes).expect("it is plain");
        prop_assert_eq!(taken, bytes.len());
        prop_assert_eq!(decoder.position(), bytes.len() as u64);
        let decoded = ClientDecoder::new(&Limits::default()).decode(&bytes);
        prop_assert_eq!(decoded, Ok(Some((ClientFrame::Publish(publish), taken))));
        for end in 0..bytes.len() {
            prop_assert_eq!(decoder.decode_plain_publish(&bytes[..end]), None, "it is not all there");
        }
    }

    #[test]
    fn a_run_of_them_ends_where_one_differs(
        first in any_publish(),
        others in prop::collection::vec(any_publish(), 0..6),
        flips in flips(),
        max_len in 0..60usize,
    ) {
        let first = first.bytes();
        let mut others = others.iter().flat_map(Any::bytes).collect::<Vec<_>>();
        for (at, byte) in flips {
            if !others.is_empty() {
                *at.get_mut(&mut others) = byte;
            }
        }
        let mut decoder = ClientDecoder::new(&Limits::default());
        let (like, taken) = decoder.decode_plain_publish(&first).expect("it is plain");
        let mut alike = decoder.decode_plain_publishes(&like, &others);
        let mut rest = &others[..];
        let mut one_by_one = ClientDecoder::new(&Limits::default());
        loop {
            let before = others.len().saturating_sub(rest.len());
            prop_assert_eq!(alike.taken(), before);
            let next = alike.next_within(max_len);
            let expected = match one_by_one.decode_plain_publish(rest) {
                Some((publish, len))
                    if publish.topic == like.topic
                        && publish.ack == like.ack
                        && publish.records.as_bytes().len() <= max_len =>
                {
                    rest = &rest[len..];
                    Some((publish.request, publish.records.as_bytes()))
                }
                Some(_) | None => None,
            };
            prop_assert_eq!(next, expected);
            if next.is_none() {
                break;
            }
        }
        let all = taken.saturating_add(alike.taken());
        prop_assert_eq!(decoder.position(), all as u64);
    }

    #[test]
    fn it_agrees_about_every_other_frame(frame in client_frame(), flips in flips()) {
        agrees(client_bytes(&frame), &flips)?;
    }

    #[test]
    fn it_agrees_about_what_is_damaged(
        body in prop::collection::vec(any::<u8>(), 0..40),
        request in 0..3u32,
        flips in flips(),
    ) {
        agrees(plain(request, AckLevel::Accepted, b"topic", &body), &flips)?;
    }
}

#[test]
fn it_knows_no_frame_of_a_connection_that_is_not_open() {
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
fn it_keeps_to_the_limits() {
    let bytes = plain(1, AckLevel::None, b"t", b"body");
    let body_len = u32::try_from(bytes.len() - 8).expect("short");
    let with = |limits: Limits| ClientDecoder::new(&limits).decode_plain_publish(&bytes).is_some();
    assert!(with(Limits { max_frame: body_len, ..Limits::default() }));
    assert!(!with(Limits { max_frame: body_len - 1, ..Limits::default() }));
    assert!(with(Limits { max_records: 1, ..Limits::default() }));
    assert!(!with(Limits { max_records: 0, ..Limits::default() }));
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

/// Most of them are alike.
fn any_publish() -> impl Strategy<Value = Any> {
    let ack = prop_oneof![8 => Just(AckLevel::None), 1 => Just(AckLevel::Accepted)];
    let topic = prop_oneof![8 => Just(&b"topic"[..]), 1 => Just(&b"topiC"[..]), 1 => Just(&b"topics"[..])];
    let body = prop::collection::vec(any::<u8>(), 0..50);
    (ack, topic, body).prop_map(|(ack, topic, body)| Any { ack, topic, body })
}

/// Bytes that become others.
fn flips() -> impl Strategy<Value = Vec<(Index, u8)>> {
    let byte = prop_oneof![Just(0), Just(1), Just(2), any::<u8>()];
    prop::collection::vec((any::<Index>(), byte), 0..3)
}

fn agrees(mut bytes: Vec<u8>, flips: &[(Index, u8)]) -> Result<(), TestCaseError> {
    for (at, byte) in flips {
        *at.get_mut(&mut bytes) = *byte;
    }
    let mut decoder = ClientDecoder::new(&Limits::default());
    let Some((publish, taken)) = decoder.decode_plain_publish(&bytes) else {
        prop_assert_eq!(decoder.position(), 0, "it took nothing");
        return Ok(());
    };
    let in_full = ClientDecoder::new(&Limits::default()).decode(&bytes);
    prop_assert_eq!(in_full, Ok(Some((ClientFrame::Publish(publish), taken))));
    Ok(())
}

fn plain(request: u32, ack: AckLevel, topic: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = BytesMut::new();
    Record { body, ..Record::default() }.encode(&mut record);
    let records = Records::from_encoded(1, &record);
    client_bytes(&ClientFrame::Publish(Publish { request, ack, producer: None, topic, records }))
}

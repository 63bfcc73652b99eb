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
    assert_eq!(ClientDecoder::handshake(&Limits::default()).decode_plain_publish(&bytes), None);
    let mut broken = ClientDecoder::new(&Limits::default());
    assert!(broken.decode(&[0xff; 8]).is_err());
    assert_eq!(broken.decode_plain_publish(&bytes), None);
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

//! Decoding never allocates, whatever the input (rule S13).

use allocation_counter::measure;
use bytes::BytesMut;
use proptest::prelude::*;
use zaichik_proto::{
    AckLevel, Batch, ClientDecoder, ClientFrame, Limits, MAGIC, Operation, OperationsBuilder, Publish,
    Record, Records, ServerDecoder,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn s13_any_16_bytes_allocate_nothing(bytes in any::<[u8; 16]>()) {
        prop_assert_eq!(allocations(&bytes), 0);
    }

    #[test]
    fn s13_a_header_of_any_length_allocates_nothing(body_len: u32, kind: u8, body in any::<[u8; 8]>()) {
        let [a, b, c, d] = body_len.to_le_bytes();
        let header = [a, b, c, d, kind, 0, 0, 0];
        prop_assert_eq!(allocations(&[header, body].concat()), 0);
        prop_assert_eq!(allocations(&[&MAGIC[..], &header, &body].concat()), 0);
    }
}

#[test]
fn s13_false_counts_allocate_nothing() {
    for kind in [0x04, 0x0a, 0x43, 0x44, 0x45, 0x49] {
        let body = [0xff; 256];
        let frame = [&[0, 1, 0, 0, kind, 0, 0, 0][..], &body].concat();
        assert_eq!(allocations(&frame), 0, "{kind:#x}");
    }
}

#[test]
fn a_frame_that_decodes_allocates_nothing() {
    let mut bytes = BytesMut::new();
    let record = Record {
        key: Some(b"key"),
        headers: &[("trace", b"1"), ("span", b"2")],
        body: &[7; 10_000],
        ..Record::default()
    };
    record.encode(&mut bytes);
    record.encode(&mut bytes);
    let records = Records::from_encoded(2, &bytes);
    let operations: OperationsBuilder =
        [Operation::Publish { topic: b"orders", records }].into_iter().collect();
    for frame in [
        ClientFrame::Publish(Publish {
            request: 1,
            ack: AckLevel::Accepted,
            producer: None,
            topic: b"orders",
            records,
        }),
        ClientFrame::Batch(Batch {
            request: 2,
            ack: AckLevel::Accepted,
            producer: None,
            operations: operations.operations(),
        }),
    ] {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        assert_eq!(ClientDecoder::new(&Limits::default()).decode(&wire), Ok(Some((frame, wire.len()))));
        assert_eq!(allocations(&wire), 0);
    }
}

/// Number of allocations while decoding `input` in both directions, before and after the handshake.
fn allocations(input: &[u8]) -> u64 {
    let limits = Limits::default();
    let counted = measure(|| {
        let frames = [
            ClientDecoder::new(&limits).decode(input).is_ok(),
            ClientDecoder::handshake(&limits).decode(input).is_ok(),
            ServerDecoder::new(&limits).decode(input).is_ok(),
            ServerDecoder::handshake(&limits).decode(input).is_ok(),
        ];
        std::hint::black_box(frames);
    });
    counted.count_total
}

#[test]
fn allocations_are_counted() {
    let counted = measure(|| {
        std::hint::black_box(Vec::<u8>::with_capacity(1_000));
    });
    assert_eq!(counted.count_total, 1);
}

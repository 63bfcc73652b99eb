//! Checks of the frame header: length, kind, direction, reserved bits (docs/protocol.md §2).

use zaichik_proto::{
    ClientDecoder, ClientFrame, FaultCode, FrameHeader, Limits, ProtocolError, ProtocolFault, ServerDecoder,
    ServerFrame,
};

use crate::{Step, client_steps, raw_frame, server_steps};

const CLIENT_KINDS: std::ops::RangeInclusive<u8> = 0x01..=0x0f;
const SERVER_KINDS: std::ops::RangeInclusive<u8> = 0x41..=0x53;

#[test]
fn s13_a_length_above_the_limit_is_refused_in_the_header() {
    for max_frame in [1, 100, Limits::default().max_frame, 1 << 31] {
        let limits = Limits::new().max_frame(max_frame);
        for got in [max_frame + 1, max_frame + 4_097, (1 << 31) + 4_097, u32::MAX - 1, u32::MAX] {
            for kind in CLIENT_KINDS.skip(1).chain(0x80..=0xff) {
                let outcome = ClientDecoder::new(&limits).decode(&header(got, kind)).map(|_| ());
                assert_eq!(outcome, too_large(max_frame, got), "{kind:#x}");
            }
        }
        let limit = max_frame.max(65_536) + Limits::FRAME_ROOM;
        for got in [limit + 1, (1 << 31) + 4_097, u32::MAX - 1, u32::MAX] {
            for kind in SERVER_KINDS.skip(1).chain(0x80..=0xff) {
                let outcome = ServerDecoder::new(&limits).decode(&header(got, kind)).map(|_| ());
                assert_eq!(outcome, too_large(limit, got), "{kind:#x}");
            }
        }
    }
}

#[test]
fn s13_a_length_up_to_the_limit_waits_for_the_body() {
    let limits = Limits::default();
    for body_len in [1, limits.max_frame - 1, limits.max_frame] {
        for kind in CLIENT_KINDS.skip(1).chain(0x80..=0xff) {
            let bytes = header(body_len, kind);
            assert_eq!(ClientDecoder::new(&limits).decode(&bytes), Ok(None));
        }
        for kind in SERVER_KINDS.skip(1).chain(0x80..=0xff) {
            let bytes = header(body_len + 4_096, kind);
            assert_eq!(ServerDecoder::new(&limits).decode(&bytes), Ok(None));
        }
    }
}

#[test]
fn s13_without_a_limit_nothing_overflows() {
    let limits = Limits::new().max_frame(u32::MAX);
    assert_eq!(ClientDecoder::new(&limits).decode(&header(u32::MAX, 0x04)), Ok(None));
    assert_eq!(ServerDecoder::new(&limits).decode(&header(u32::MAX, 0x49)), Ok(None));
}

#[test]
fn s13_a_length_of_zero_is_a_frame_or_an_error() {
    for kind in CLIENT_KINDS.skip(1) {
        let outcome = ClientDecoder::new(&Limits::default()).decode(&header(0, kind)).map(|_| ());
        let expected = if kind == 0x0d { Ok(()) } else { fault(ProtocolFault::Truncated) };
        assert_eq!(outcome, expected, "{kind:#x}");
    }
    for kind in SERVER_KINDS.skip(1) {
        let outcome = ServerDecoder::new(&Limits::default()).decode(&header(0, kind)).map(|_| ());
        assert_eq!(outcome, fault(ProtocolFault::Truncated), "{kind:#x}");
    }
}

#[test]
fn s_04_every_kind_of_the_other_direction_is_refused() {
    for kind in SERVER_KINDS {
        assert_eq!(client_steps()(&header(9, kind)), fault(ProtocolFault::WrongDirection { kind }));
    }
    for kind in CLIENT_KINDS {
        assert_eq!(server_steps()(&header(9, kind)), fault(ProtocolFault::WrongDirection { kind }));
    }
}

#[test]
fn s13_unknown_kinds_are_refused() {
    let unknown = (0x00..0x80).filter(|kind| !CLIENT_KINDS.contains(kind) && !SERVER_KINDS.contains(kind));
    for kind in unknown {
        assert_eq!(client_steps()(&header(9, kind)), fault(ProtocolFault::UnknownKind { kind }));
        assert_eq!(server_steps()(&header(9, kind)), fault(ProtocolFault::UnknownKind { kind }));
    }
}

#[test]
fn s13_extensions_are_skipped_by_their_length() {
    for kind in 0x80..=0xff {
        let body = b"whatever";
        let mut decoder = ClientDecoder::new(&Limits::default());
        let stream = [raw_frame(kind, body), raw_frame(0x0d, b"")].concat();
        let extension = ClientFrame::Extension { kind, body };
        assert_eq!(decoder.decode(&stream), Ok(Some((extension, 16))));
        assert_eq!(decoder.decode(&stream[16..]), Ok(Some((ClientFrame::Close, 8))));

        let mut decoder = ServerDecoder::new(&Limits::default());
        let stream = [raw_frame(kind, body), raw_frame(0x4d, &[0; 8])].concat();
        let extension = ServerFrame::Extension { kind, body };
        assert_eq!(decoder.decode(&stream), Ok(Some((extension, 16))));
        assert_eq!(decoder.decode(&stream[16..]), Ok(Some((ServerFrame::Ping { nonce: 0 }, 16))));
    }
}

#[test]
fn s13_reserved_bits_of_the_header_are_refused() {
    let refused: Step = fault(ProtocolFault::ReservedBits { field: "header" });
    for byte in 5..8 {
        for bit in 0..8 {
            for kind in 0..=0xff {
                let mut bytes = header(u32::MAX, kind);
                bytes[byte] = 1 << bit;
                assert_eq!(client_steps()(&bytes), refused);
                assert_eq!(server_steps()(&bytes), refused);
            }
        }
    }
}

#[test]
fn s13_the_error_names_the_frame_that_broke() {
    let mut step = client_steps();
    let good = raw_frame(0x0b, &[0; 8]);
    for _ in 0..3 {
        assert_eq!(step(&good), Ok(Some((good.clone(), 16))));
    }
    let error = step(&header(0, 0x3f)).unwrap_err();
    assert_eq!(error.offset, 48);
    assert_eq!(error.fault.code(), FaultCode::UnknownKind);
    assert_eq!(error.to_string(), "frame kind 0x3f is unknown (in the frame at byte 48 of the stream)");
    assert_eq!(step(&good), Err(error));
}

fn header(body_len: u32, kind: u8) -> [u8; 8] {
    FrameHeader { body_len, kind }.to_bytes()
}

const fn too_large(limit: u32, got: u32) -> Result<(), ProtocolError> {
    fault(ProtocolFault::FrameTooLarge { limit, got })
}

const fn fault<T>(fault: ProtocolFault) -> Result<T, ProtocolError> {
    Err(ProtocolError { offset: 0, fault })
}

//! Every frame decodes to itself.

#![expect(clippy::expect_used, reason = "a frame without a header fails the test")]

use proptest::prelude::*;
use zaichik_proto::{
    ClientDecoder, ClientFrame, FrameHeader, HEADER_LEN, Limits, MAGIC, ServerDecoder, ServerFrame,
};

use crate::client_frames::{client_frame, hello};
use crate::server_frames::{fatal, server_frame, welcome};
use crate::{client_bytes, server_bytes};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn i18_client_frames_survive_encoding(frame in client_frame()) {
        let bytes = client_bytes(&frame);
        check_header(&bytes, frame.kind())?;
        let mut decoder = ClientDecoder::new(&Limits::default());
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));
        prop_assert_eq!(decoder.position(), bytes.len() as u64);
    }

    #[test]
    fn i18_server_frames_survive_encoding(frame in server_frame()) {
        let bytes = server_bytes(&frame);
        check_header(&bytes, frame.kind())?;
        let mut decoder = ServerDecoder::new(&Limits::default());
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));
        prop_assert_eq!(decoder.position(), bytes.len() as u64);
    }

    #[test]
    fn i18_the_handshake_survives_encoding(hello in hello(), welcome in welcome(), fatal in fatal()) {
        let frame = ClientFrame::Hello(hello);
        let bytes = [&MAGIC[..], &client_bytes(&frame)].concat();
        let mut decoder = ClientDecoder::handshake(&Limits::default());
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));

        for frame in [ServerFrame::Welcome(welcome), fatal] {
            let bytes = server_bytes(&frame);
            let mut decoder = ServerDecoder::handshake(&Limits::default());
            prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));
        }
    }
}

fn check_header(bytes: &[u8], kind: u8) -> Result<(), TestCaseError> {
    let (header, body) = bytes.split_first_chunk::<HEADER_LEN>().expect("a header");
    let header = FrameHeader::from_bytes(*header).expect("no reserved bits");
    prop_assert_eq!(header.kind, kind);
    prop_assert_eq!(header.body_len as usize, body.len());
    Ok(())
}

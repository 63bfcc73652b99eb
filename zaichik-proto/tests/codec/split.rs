//! The frames do not depend on how the stream is split (rule S-03).

use proptest::prelude::*;
use proptest::sample::Index;
use zaichik_proto::{ClientDecoder, Limits, MAGIC, ServerDecoder};

use crate::client_frames::{client_frame, hello};
use crate::server_frames::{server_frame, welcome};
use crate::{client_bytes, client_steps, feed, server_bytes, server_steps};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn s_03_client_frames_do_not_depend_on_cuts(
        frames in prop::collection::vec(client_frame(), 1..12),
        cuts in prop::collection::vec(any::<Index>(), 0..24),
    ) {
        let frames: Vec<_> = frames.iter().map(client_bytes).collect();
        let stream = frames.concat();
        prop_assert_eq!(feed(&stream, places(&stream, &cuts), client_steps()), (frames, None));
    }

    #[test]
    fn s_03_server_frames_do_not_depend_on_cuts(
        frames in prop::collection::vec(server_frame(), 1..12),
        cuts in prop::collection::vec(any::<Index>(), 0..24),
    ) {
        let frames: Vec<_> = frames.iter().map(server_bytes).collect();
        let stream = frames.concat();
        prop_assert_eq!(feed(&stream, places(&stream, &cuts), server_steps()), (frames, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn s_03_frames_arrive_a_byte_at_a_time(
        client in prop::collection::vec(client_frame(), 1..5),
        server in prop::collection::vec(server_frame(), 1..5),
    ) {
        let frames: Vec<_> = client.iter().map(client_bytes).collect();
        let stream = frames.concat();
        prop_assert_eq!(feed(&stream, 0..stream.len(), client_steps()), (frames, None));

        let frames: Vec<_> = server.iter().map(server_bytes).collect();
        let stream = frames.concat();
        prop_assert_eq!(feed(&stream, 0..stream.len(), server_steps()), (frames, None));
    }

    #[test]
    fn s_03_a_handshake_arrives_a_byte_at_a_time(hello in hello(), welcome in welcome()) {
        let hello = client_bytes(&zaichik_proto::ClientFrame::Hello(hello));
        let stream = [&MAGIC[..], &hello].concat();
        let mut decoder = ClientDecoder::handshake(&Limits::default());
        for end in 0..stream.len() {
            prop_assert_eq!(decoder.decode(&stream[..end]), Ok(None));
        }
        let (frame, taken) = decoder.decode(&stream).expect("a valid frame").expect("a complete frame");
        prop_assert_eq!((client_bytes(&frame), taken), (hello, stream.len()));

        let stream = server_bytes(&zaichik_proto::ServerFrame::Welcome(welcome));
        let mut decoder = ServerDecoder::handshake(&Limits::default());
        for end in 0..stream.len() {
            prop_assert_eq!(decoder.decode(&stream[..end]), Ok(None));
        }
        let (frame, taken) = decoder.decode(&stream).expect("a valid frame").expect("a complete frame");
        prop_assert_eq!((server_bytes(&frame), taken), (stream.clone(), stream.len()));
    }
}

/// Positions of the cuts, in order.
fn places(stream: &[u8], cuts: &[Index]) -> Vec<usize> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
    places.sort_unstable();
    places
}

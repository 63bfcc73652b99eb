//! The versions of the protocol: each connection has the layout of its own, and version 1 is frozen.

use proptest::prelude::*;
use zaichik_proto::{
    Batched, ClientDecoder, ClientFrame, Commit, FaultCode, Limits, List, Operation, OperationsBuilder,
    ProtocolFault, Published, Refusal, RefusalCode, Refused, ServerDecoder, ServerFrame, Shard, Start,
    TrimTopic, Trimmed, Version,
};

use crate::client_frames::client_frame;
use crate::server_frames::server_frame;
use crate::{client_bytes, keep, raw_frame, server_bytes};

/// A frame with the fields that version 2 adds.
#[expect(clippy::wildcard_enum_match_arm, reason = "most frames are the same in both")]
fn client_of_two(frame: ClientFrame<'static>, rewind: u32) -> ClientFrame<'static> {
    match frame {
        ClientFrame::Commit(commit) => ClientFrame::Commit(Commit { rewind: Some(rewind), ..commit }),
        ClientFrame::Batch(mut batch) => {
            let with_rewind = |operation| match operation {
                Operation::Commit { subscription, offset, .. } => {
                    Operation::Commit { subscription, offset, rewind: Some(rewind) }
                }
                other @ (Operation::Publish { .. } | Operation::Ack { .. }) => other,
            };
            let operations: OperationsBuilder = batch.operations.iter().map(with_rewind).collect();
            batch.operations = keep(operations).operations();
            ClientFrame::Batch(batch)
        }
        other => other,
    }
}

/// The same for the broker.
#[expect(clippy::wildcard_enum_match_arm, reason = "most frames are the same in both")]
fn server_of_two(frame: ServerFrame<'static>, repeated: bool) -> ServerFrame<'static> {
    let repeated = Some(repeated);
    match frame {
        ServerFrame::Published(published) => ServerFrame::Published(Published { repeated, ..published }),
        ServerFrame::Batched(batched) => ServerFrame::Batched(Batched { repeated, ..batched }),
        ServerFrame::Refused(refused) => ServerFrame::Refused(Refused { repeated, ..refused }),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn i18_frames_of_version_two_survive_encoding(
        client in client_frame(), server in server_frame(), rewind in any::<u32>(), repeated in any::<bool>()
    ) {
        let limits = Limits::default();
        let frame = client_of_two(client, rewind);
        let bytes = client_bytes(&frame);
        let mut decoder = ClientDecoder::speaking(Version::Two, &limits);
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));
        let frame = server_of_two(server, repeated);
        let bytes = server_bytes(&frame);
        let mut decoder = ServerDecoder::speaking(Version::Two, &limits);
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));
    }

    #[test]
    fn i18_frames_that_only_version_two_has_survive_encoding(
        request in 1u32.., topic in proptest::collection::vec(any::<u8>(), 0..=255), value in any::<u64>(),
        which in 0..4usize, start in any::<u64>()
    ) {
        let before = [Start::Earliest, Start::Latest, Start::Offset(value), Start::Time(value)][which];
        let frame = ClientFrame::TrimTopic(TrimTopic { request, topic: &topic, before });
        let bytes = client_bytes(&frame);
        let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));
        let frame = ServerFrame::Trimmed(Trimmed { request, start, removed: value });
        let bytes = server_bytes(&frame);
        let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((frame, bytes.len()))));
    }

    #[test]
    fn a_frame_whose_layout_differs_is_an_error_in_the_other_version(rewind in any::<u32>()) {
        let commit = Commit { request: 1, subscription: 2, offset: 3, rewind: None, quiet: false };
        let operations: OperationsBuilder =
            [Operation::Commit { subscription: 2, offset: 3, rewind: None }].into_iter().collect();
        let batch = zaichik_proto::Batch {
            request: 1,
            ack: zaichik_proto::AckLevel::Accepted,
            producer: None,
            operations: keep(operations).operations(),
        };
        for one in [ClientFrame::Commit(commit), ClientFrame::Batch(batch)] {
            let two = client_of_two(one, rewind);
            for (version, other) in [(Version::Two, one), (Version::One, two)] {
                let mut decoder = ClientDecoder::speaking(version, &Limits::default());
                let error = decoder.decode(&client_bytes(&other)).unwrap_err();
                let code = error.fault.code();
                prop_assert!(matches!(code, FaultCode::BadLength | FaultCode::BadValue), "{}", error);
            }
        }
    }
}

#[test]
fn answers_of_one_version_are_errors_in_the_other() {
    let refusal = Refusal::new(RefusalCode::Busy);
    let (results, duplicates) = (List::EMPTY, List::EMPTY);
    for one in [
        ServerFrame::Refused(Refused { request: 1, count: 1, refusal, repeated: None }),
        ServerFrame::Batched(Batched { request: 1, repeated: None, results, duplicates }),
    ] {
        for (version, other) in [(Version::Two, one), (Version::One, server_of_two(one, true))] {
            let mut decoder = ServerDecoder::speaking(version, &Limits::default());
            assert!(decoder.decode(&server_bytes(&other)).is_err(), "{other:?}");
        }
    }
}

#[test]
fn kinds_of_version_two_are_unknown_to_version_one() {
    let shard = ClientFrame::Shard(Shard { request: 1, shard: 7 });
    let error = ClientDecoder::new(&Limits::default()).decode(&client_bytes(&shard)).unwrap_err();
    assert_eq!(error.fault, ProtocolFault::UnknownKind { kind: 0x10 });
    for kind in (0x11..=0x18).chain(0x54..=0x5a) {
        let error = ClientDecoder::new(&Limits::default()).decode(&raw_frame(kind, b"")).unwrap_err();
        assert_eq!(error.fault, ProtocolFault::UnknownKind { kind });
        let error = ServerDecoder::new(&Limits::default()).decode(&raw_frame(kind, b"")).unwrap_err();
        assert_eq!(error.fault, ProtocolFault::UnknownKind { kind });
    }
}

#[test]
fn reserved_kinds_are_unsupported_in_version_two() {
    let limits = Limits::default();
    let error = ClientDecoder::speaking(Version::Two, &limits).decode(&raw_frame(0x11, b"")).unwrap_err();
    assert_eq!(error.fault, ProtocolFault::Unsupported { kind: 0x11 });
    let error = ServerDecoder::speaking(Version::Two, &limits).decode(&raw_frame(0x54, b"")).unwrap_err();
    assert_eq!(error.fault, ProtocolFault::Unsupported { kind: 0x54 });
    // Before Welcome the version is not known yet, and only a later version has a Challenge.
    let error = ServerDecoder::handshake(&limits).decode(&raw_frame(0x54, b"")).unwrap_err();
    assert_eq!(error.fault, ProtocolFault::Unsupported { kind: 0x54 });
}

#[test]
fn a_broker_falls_back_to_the_version_of_its_client() {
    let negotiated = [0, 1, 2, 3, u16::MAX].map(Version::negotiate);
    let (one, two) = (Some(Version::One), Some(Version::Two));
    assert_eq!(negotiated, [None, one, two, two, two]);
    assert_eq!([0, 1, 2, 3].map(Version::from_number), [None, one, two, None]);
}

//! A damaged stream decodes or ends in one final error (rules S-04, S13).

#![expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a wrong index fails the test")]

use proptest::prelude::*;
use proptest::sample::Index;
use zaichik_proto::ProtocolError;

use crate::client_frames::client_frame;
use crate::server_frames::server_frame;
use crate::{Step, client_bytes, client_steps, feed, server_bytes, server_steps};

/// One change to a stream.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Overwrite(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Truncate(Index),
    /// Overwrites the length field of a frame.
    Length(Index, u32),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn s_04_a_damaged_client_stream(
        frames in prop::collection::vec(client_frame(), 1..5),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let frames: Vec<_> = frames.iter().map(client_bytes).collect();
        check(&damaged(&frames, &damages), client_steps)?;
    }

    #[test]
    fn s_04_a_damaged_broker_stream(
        frames in prop::collection::vec(server_frame(), 1..5),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let frames: Vec<_> = frames.iter().map(server_bytes).collect();
        check(&damaged(&frames, &damages), server_steps)?;
    }

    #[test]
    fn s_04_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes, client_steps)?;
        check(&bytes, server_steps)?;
    }

    #[test]
    fn s_04_any_body(
        kind in any::<u8>(),
        body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..80),
    ) {
        let frame = crate::raw_frame(kind, &body);
        check(&frame, client_steps)?;
        check(&frame, server_steps)?;
    }
}

/// Checks the properties of every stream.
fn check<F: FnMut(&[u8]) -> Step>(stream: &[u8], decoder: fn() -> F) -> Result<(), TestCaseError> {
    let mut step = decoder();
    let (frames, error) = feed(stream, [], &mut step);
    let whole = frames.concat();
    prop_assert!(stream.starts_with(&whole), "a decoded frame encodes to the same bytes");
    if let Some(error) = error {
        check_poisoned(error, whole.len(), stream, &mut step)?;
    }
    let by_bytes = feed(stream, 0..stream.len(), decoder());
    prop_assert_eq!(by_bytes, (frames, error), "the division of the stream changes nothing");
    Ok(())
}

fn check_poisoned(
    error: ProtocolError,
    decoded: usize,
    stream: &[u8],
    step: &mut impl FnMut(&[u8]) -> Step,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(error.offset, decoded as u64, "the error names the frame that broke");
    prop_assert!(!error.to_string().is_empty());
    let close = crate::raw_frame(0x0d, b"");
    for input in [b"", stream, &close] {
        prop_assert_eq!(step(input), Err(error), "a broken stream stays broken");
    }
    Ok(())
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let length = prop_oneof![
        Just(0),
        Just(1),
        0..300u32,
        Just((1 << 20) + 4_096),
        Just((1 << 20) + 4_097),
        Just(1 << 31),
        Just(u32::MAX),
        any::<u32>(),
    ];
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()])
            .prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        (at(), prop::collection::vec(any::<u8>(), 1..10)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1..10usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        at().prop_map(Damage::Truncate),
        (at(), length).prop_map(|(at, length)| Damage::Length(at, length)),
    ]
}

fn damaged(frames: &[Vec<u8>], damages: &[Damage]) -> Vec<u8> {
    let mut stream = frames.concat();
    for damage in damages {
        if stream.is_empty() {
            break;
        }
        match damage {
            Damage::Flip(at, bit) => {
                let at = at.index(stream.len());
                stream[at] ^= 1 << bit;
            }
            Damage::Overwrite(at, byte) => {
                let at = at.index(stream.len());
                stream[at] = *byte;
            }
            Damage::Insert(at, bytes) => {
                let at = at.index(stream.len());
                stream.splice(at..at, bytes.iter().copied());
            }
            Damage::Remove(at, count) => {
                let at = at.index(stream.len());
                stream.drain(at..stream.len().min(at + count));
            }
            Damage::Truncate(at) => stream.truncate(at.index(stream.len())),
            Damage::Length(frame, length) => {
                let frame = frame.index(frames.len());
                let at = frames[..frame].iter().map(Vec::len).sum::<usize>();
                if let Some(place) = stream.get_mut(at..at + 4) {
                    place.copy_from_slice(&length.to_le_bytes());
                }
            }
        }
    }
    stream
}

//! Tests of the codec with arbitrary frames, and with split and damaged streams.

mod bodies;
mod client_frames;
mod codes;
mod encode;
mod handshake;
mod header;
mod lists;
mod mutation;
mod patterns;
mod plain;
mod records;
mod round_trip;
mod server_frames;
mod shared;
mod split;
mod versions;

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::sample::Index;
use zaichik_proto::{ClientDecoder, ClientFrame, Limits, ProtocolError, ServerDecoder, ServerFrame};
use zaichik_testkit::{rebuilt_client_frame, rebuilt_server_frame};

/// The result of one call of a decoder: the frame, encoded again from its values, and the number of bytes that it
/// consumed.
type Step = Result<Option<(Vec<u8>, usize)>, ProtocolError>;

/// A decoder of the client's frames after the handshake, as a function from input to a step.
fn client_steps() -> impl FnMut(&[u8]) -> Step {
    let mut decoder = ClientDecoder::new(&Limits::default());
    move |input| {
        let step = decoder.decode(input)?;
        Ok(step.map(|(frame, taken)| (rebuilt_client_frame(&frame).into(), taken)))
    }
}

/// A decoder of the broker's frames after the handshake, as a function from input to a step.
fn server_steps() -> impl FnMut(&[u8]) -> Step {
    let mut decoder = ServerDecoder::new(&Limits::default());
    move |input| {
        let step = decoder.decode(input)?;
        Ok(step.map(|(frame, taken)| (rebuilt_server_frame(&frame).into(), taken)))
    }
}

fn client_bytes(frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes.into()
}

fn server_bytes(frame: &ServerFrame<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes.into()
}

/// A frame with any body, including its header.
fn raw_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&len.to_le_bytes()[..], &[kind, 0, 0, 0], body].concat()
}

/// Feeds a stream in pieces that end at `cuts`; returns the frames and the error that ended it, if any.
fn feed(
    stream: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    mut step: impl FnMut(&[u8]) -> Step,
) -> (Vec<Vec<u8>>, Option<ProtocolError>) {
    let mut frames = Vec::new();
    let mut start: usize = 0;
    for end in cuts.into_iter().chain([stream.len()]) {
        loop {
            match step(stream.get(start..end).unwrap_or_default()) {
                Ok(Some((frame, taken))) => {
                    frames.push(frame);
                    start = start.saturating_add(taken);
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Leaks what a generated frame borrows; tests are short-lived.
fn keep<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn keep_bytes(bytes: Vec<u8>) -> &'static [u8] {
    bytes.leak()
}

/// Positions and their new bytes.
fn flips() -> impl Strategy<Value = Vec<(Index, u8)>> {
    let byte = prop_oneof![Just(0), Just(1), Just(2), any::<u8>()];
    prop::collection::vec((any::<Index>(), byte), 0..3)
}

/// Replaces some bytes.
fn flipped(mut bytes: Vec<u8>, flips: &[(Index, u8)]) -> Vec<u8> {
    for (at, byte) in flips {
        if !bytes.is_empty() {
            *at.get_mut(&mut bytes) = *byte;
        }
    }
    bytes
}

/// Any number, most often from the ends of the range.
fn edgy_u32() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX), 0..1_000u32, any::<u32>()]
}

/// Any number, most often from the ends of the range.
fn edgy_u64() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1), 0..1_000u64, any::<u64>()]
}

/// The id of a request: not 0.
fn request() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX]
}

/// Bytes that fit a one-byte length.
fn short_bytes() -> impl Strategy<Value = &'static [u8]> {
    let len = prop_oneof![8 => 0..20usize, 1 => Just(255)];
    len.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len)).prop_map(keep_bytes)
}

/// Text of `min` to 255 bytes.
fn label(min: usize) -> impl Strategy<Value = &'static str> {
    let len = prop_oneof![8 => min..12, 1 => Just(63)];
    len.prop_flat_map(|len| prop::collection::vec(any::<char>(), len))
        .prop_map(|chars| keep(chars.into_iter().collect::<String>()).as_str())
}

//! An open connection: arbitrary bytes, split anywhere, decode to the same frames or the same error.

use bytes::BytesMut;
use zaichik_proto::{ClientDecoder, ClientFrame, Limits, ProtocolError, ServerDecoder, Version};
use zaichik_testkit::{rebuilt_client_frame, rebuilt_server_frame};

/// The result of one step of a decoder: the frame, encoded again from its values, and the number of bytes consumed.
pub(crate) type Step = Result<Option<(BytesMut, usize)>, ProtocolError>;

/// The broker's decoder: what clients send. The first byte of `data` decides into which pieces the rest is split.
///
/// # Panics
/// If the outcome depends on the pieces, if a list yields other entries than the bytes that it was decoded from, if a
/// frame does not encode to those bytes, if the fast path decodes another frame, or if an error is not final.
pub fn decode_client(data: &[u8]) {
    for version in [Version::One, Version::Two] {
        decode_client_of(version, data);
    }
}

fn decode_client_of(version: Version, data: &[u8]) {
    check(data, || {
        let mut decoder = ClientDecoder::speaking(version, &limits());
        move |input| {
            let short = decoder.clone().decode_plain_publish(input);
            let step = decoder.decode(input)?;
            if let Some((publish, taken)) = short {
                assert_eq!(
                    step,
                    Some((ClientFrame::Publish(publish), taken)),
                    "the fast path decodes the same frame"
                );
                // A frame is `like` itself.
                let record = publish.records.as_bytes();
                let mut other = decoder.clone();
                let mut alike = other.decode_plain_publishes(&publish, input);
                assert_eq!(alike.next_within(record.len().saturating_sub(1)), None, "it is longer");
                assert_eq!(alike.next_within(record.len()), Some((publish.request, record)));
                assert_eq!(alike.taken(), taken);
            }
            Ok(step.map(|(frame, taken)| {
                (again(encoded(|out| frame.encode(out)), &rebuilt_client_frame(&frame)), taken)
            }))
        }
    });
}

/// The client's decoder: what the broker sends. The first byte of `data` decides into which pieces the rest is split.
///
/// # Panics
/// As [`decode_client`].
pub fn decode_server(data: &[u8]) {
    for version in [Version::One, Version::Two] {
        check(data, || {
            let mut decoder = ServerDecoder::speaking(version, &limits());
            move |input| {
                let step = decoder.decode(input)?;
                Ok(step.map(|(frame, taken)| {
                    (again(encoded(|out| frame.encode(out)), &rebuilt_server_frame(&frame)), taken)
                }))
            }
        });
    }
}

pub(crate) fn encoded(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    write(&mut bytes);
    bytes
}

/// A frame's bytes, of which its lists keep their own, and those of the values that a reader gets.
fn again(kept: BytesMut, rebuilt: &BytesMut) -> BytesMut {
    assert_eq!(&kept, rebuilt, "the values of a frame are those of its bytes");
    kept
}

/// Small limits: bugs live at limits, and the fuzzer's inputs are short.
const fn limits() -> Limits {
    Limits::new()
        .max_message(256)
        .max_frame(512)
        .max_records(4)
        .max_window(4)
        .max_window_size(256)
        .max_subscriptions(4)
        .heartbeat_millis(1_000)
}

fn check<F: FnMut(&[u8]) -> Step>(data: &[u8], decoder: impl Fn() -> F) {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let piece = usize::from(*cut).saturating_add(1);
    let mut whole = decoder();
    let (frames, error) = feed(stream, stream.len().max(1), &mut whole);
    assert!(stream.starts_with(&frames), "decoded frames encode to the same bytes");
    assert_eq!(feed(stream, piece, decoder()), (frames, error), "the outcome does not depend on the pieces");
    if let Some(error) = error {
        assert_eq!(whole(stream), Err(error), "an error is final");
        assert_eq!(whole(&[]), Err(error), "an error is final");
        assert!(!error.to_string().is_empty());
    }
}

/// Feeds a stream in pieces; returns all decoded frames, encoded again, and the error that ended it, if any.
fn feed(
    stream: &[u8],
    piece: usize,
    mut step: impl FnMut(&[u8]) -> Step,
) -> (BytesMut, Option<ProtocolError>) {
    let mut frames = BytesMut::new();
    let mut buffered = BytesMut::new();
    for piece in stream.chunks(piece) {
        buffered.extend_from_slice(piece);
        loop {
            match step(&buffered) {
                Ok(Some((frame, taken))) => {
                    assert_eq!(frame.len(), taken, "a frame encodes to as many bytes as it took");
                    frames.extend_from_slice(&frame);
                    drop(buffered.split_to(taken));
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(
                        error.offset,
                        frames.len() as u64,
                        "the error names the offset of the broken frame"
                    );
                    return (frames, Some(error));
                }
            }
        }
    }
    (frames, None)
}

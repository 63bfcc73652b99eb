//! An open connection: any bytes, cut anywhere, give the same frames or the same error.

use bytes::BytesMut;
use zaichik_proto::{ClientDecoder, ClientFrame, Limits, ProtocolError, ServerDecoder};

/// What one step of a decoder gave: the frame, encoded again, and the bytes that it took.
pub(crate) type Step = Result<Option<(BytesMut, usize)>, ProtocolError>;

/// The broker's decoder: what clients send. The first byte of `data` says how the rest is cut.
///
/// # Panics
/// If the outcome depends on the cut, if a frame does not encode to the bytes that it was decoded from, if the short way
/// gives another frame, or if an error does not stay.
pub fn decode_client(data: &[u8]) {
    check(data, || {
        let mut decoder = ClientDecoder::new(&limits());
        move |input| {
            let short = decoder.clone().decode_plain_publish(input);
            let step = decoder.decode(input)?;
            if let Some((publish, taken)) = short {
                assert_eq!(
                    step,
                    Some((ClientFrame::Publish(publish), taken)),
                    "the short way gives the same"
                );
                // The frame is like itself.
                let record = publish.records.as_bytes();
                let mut other = decoder.clone();
                let mut alike = other.decode_plain_publishes(&publish, input);
                assert_eq!(alike.next_within(record.len().saturating_sub(1)), None, "it is longer");
                assert_eq!(alike.next_within(record.len()), Some((publish.request, record)));
                assert_eq!(alike.taken(), taken);
            }
            Ok(step.map(|(frame, taken)| (encoded(|out| frame.encode(out)), taken)))
        }
    });
}

/// The client's decoder: what the broker sends. The first byte of `data` says how the rest is cut.
///
/// # Panics
/// As [`decode_client`].
pub fn decode_server(data: &[u8]) {
    check(data, || {
        let mut decoder = ServerDecoder::new(&limits());
        move |input| {
            let step = decoder.decode(input)?;
            Ok(step.map(|(frame, taken)| (encoded(|out| frame.encode(out)), taken)))
        }
    });
}

pub(crate) fn encoded(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    write(&mut bytes);
    bytes
}

/// Small ones: bugs live at the limits, and the fuzzer's inputs are short.
const fn limits() -> Limits {
    Limits::new()
        .max_message(256)
        .max_frame(512)
        .max_records(4)
        .max_window(4)
        .max_window_bytes(256)
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
    assert!(stream.starts_with(&frames), "what decodes encodes to the same bytes");
    assert_eq!(feed(stream, piece, decoder()), (frames, error), "the cut changes nothing");
    if let Some(error) = error {
        assert_eq!(whole(stream), Err(error), "an error stays");
        assert_eq!(whole(&[]), Err(error), "an error stays");
        assert!(!error.to_string().is_empty());
    }
}

/// Feeds a stream in pieces; returns all that decoded, encoded again, and the error that ended it, if one did.
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
                    assert_eq!(frame.len(), taken, "a frame is as long as the bytes that it took");
                    frames.extend_from_slice(&frame);
                    drop(buffered.split_to(taken));
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.offset, frames.len() as u64, "the error names the frame that broke");
                    return (frames, Some(error));
                }
            }
        }
    }
    (frames, None)
}

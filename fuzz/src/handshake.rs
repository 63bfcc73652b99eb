//! A new connection: at most one frame decodes, a small one of the right kind, and only after the magic.

use zaichik_proto::{ClientDecoder, ClientFrame, HEADER_LEN, Limits, MAGIC, ServerDecoder, ServerFrame};

use crate::decode::encoded;

/// Both ends of a handshake on the same bytes.
///
/// # Panics
/// If anything but the handshake decodes, if a decoded frame encodes to other bytes, or if the outcome depends on how the
/// bytes arrived.
pub fn handshake(data: &[u8]) {
    hello(data);
    welcome(data);
}

fn hello(data: &[u8]) {
    let limits = Limits::default();
    let mut decoder = ClientDecoder::handshake(&limits);
    let outcome = decoder.decode(data);
    for end in 0..data.len() {
        // A prefix decodes to nothing, or to the final outcome.
        let early = ClientDecoder::handshake(&limits).decode(&data[..end]);
        assert!(early == Ok(None) || early == outcome);
    }
    let Ok(Some((frame, taken))) = outcome else {
        return;
    };
    assert!(matches!(frame, ClientFrame::Hello(_)), "{frame:?} comes first");
    assert!(taken <= MAGIC.len() + HEADER_LEN + Limits::MAX_HANDSHAKE_FRAME as usize);
    let again = [&MAGIC[..], &encoded(|out| frame.encode(out))].concat();
    assert_eq!(again, data[..taken], "a decoded frame encodes to the same bytes");
    let rest = &data[taken..];
    assert!(!matches!(decoder.decode(rest), Ok(Some(_))), "nothing decodes before the broker opens");
}

fn welcome(data: &[u8]) {
    let limits = Limits::default();
    let mut decoder = ServerDecoder::handshake(&limits);
    let outcome = decoder.decode(data);
    for end in 0..data.len() {
        let early = ServerDecoder::handshake(&limits).decode(&data[..end]);
        assert!(early == Ok(None) || early == outcome);
    }
    let Ok(Some((frame, taken))) = outcome else {
        return;
    };
    assert!(matches!(frame, ServerFrame::Welcome(_) | ServerFrame::Fatal(_)), "{frame:?} comes first");
    assert!(taken <= HEADER_LEN + Limits::MAX_HANDSHAKE_FRAME as usize);
    let again = encoded(|out| frame.encode(out));
    assert_eq!(again, data[..taken], "a decoded frame encodes to the same bytes");
    let rest = &data[taken..];
    assert!(!matches!(decoder.decode(rest), Ok(Some(_))), "nothing decodes before the client opens");
}

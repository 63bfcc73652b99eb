//! The frames in the bytes that a broker sends.

use bytes::{Buf, BytesMut};
use zaichik_proto::{HEADER_LEN, Limits, ServerDecoder, ServerFrame};

/// Decodes one connection's bytes, from its handshake on.
#[derive(Debug)]
pub struct Frames(ServerDecoder);

impl Frames {
    /// Before the handshake.
    #[must_use]
    pub fn new() -> Self {
        Self(ServerDecoder::handshake(&Limits::default()))
    }

    /// Takes whole frames off the front of the bytes; `each` gets a frame and the length of its body.
    ///
    /// # Panics
    /// If the bytes are not frames.
    pub fn take(&mut self, bytes: &mut BytesMut, mut each: impl FnMut(&ServerFrame<'_>, usize)) {
        while let Some((frame, taken)) = self.0.decode(bytes).expect("the broker keeps to the protocol") {
            if let ServerFrame::Welcome(welcome) = &frame {
                self.0.open(&welcome.limits);
            }
            each(&frame, taken.saturating_sub(HEADER_LEN));
            bytes.advance(taken);
        }
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

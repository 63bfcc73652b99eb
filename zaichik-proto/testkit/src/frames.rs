//! The frames in the bytes that a broker sends.

use bytes::{Buf, BytesMut};
use zaichik_proto::{HEADER_LEN, Limits, ServerDecoder, ServerFrame, Version};

/// Decodes one connection's bytes, from its handshake on.
#[derive(Debug)]
pub struct Frames {
    decoder: ServerDecoder,
    version: Version,
}

impl Frames {
    /// Before the handshake.
    #[must_use]
    pub fn new() -> Self {
        Self { decoder: ServerDecoder::handshake(&Limits::default()), version: Version::One }
    }

    /// The version of the connection; version 1 before Welcome.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Takes whole frames off the front of the bytes; `each` gets a frame and the length of its body.
    ///
    /// # Panics
    /// If the bytes are not frames.
    pub fn take(&mut self, bytes: &mut BytesMut, mut each: impl FnMut(&ServerFrame<'_>, usize)) {
        while let Some((frame, taken)) = self.decoder.decode(bytes).expect("the broker keeps to the protocol")
        {
            if let ServerFrame::Welcome(welcome) = &frame {
                self.version =
                    Version::from_number(welcome.version).expect("the broker answers in a known version");
                self.decoder.open(self.version, &welcome.limits);
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

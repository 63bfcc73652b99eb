//! Bytes received from the broker, and the frames in them.

use bytes::{Bytes, BytesMut};
use zaichik_proto::{
    Delivery, FrameHeader, HEADER_LEN, Limits, ProtocolError, Records, ServerDecoder, ServerFrame, Version,
};

/// Bytes received and not yet processed.
#[derive(Debug)]
pub(crate) struct Inbound {
    bytes: BytesMut,
    /// This many bytes are known to be the start of an incomplete frame.
    parsed_len: usize,
    decoder: ServerDecoder,
}

/// The kind byte of a Delivery.
const DELIVERY: u8 = ServerFrame::Delivery(Delivery {
    subscription: 0,
    rewind: 0,
    attempt: 0,
    first_offset: 0,
    records: Records::from_encoded(0, &[]),
})
.kind();

impl Inbound {
    pub(crate) fn new() -> Self {
        Self { bytes: BytesMut::new(), parsed_len: 0, decoder: ServerDecoder::handshake(&Limits::default()) }
    }

    /// Where the driver appends bytes.
    pub(crate) const fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Whether bytes arrived since [`put_back`](Self::put_back).
    pub(crate) fn has_new_bytes(&self) -> bool {
        self.bytes.len() > self.parsed_len
    }

    /// Another byte stream begins.
    pub(crate) fn restart(&mut self) {
        self.clear();
        self.decoder = ServerDecoder::handshake(&Limits::default());
    }

    /// The handshake is complete, and frames of this version up to these limits follow.
    pub(crate) fn open(&mut self, version: Version, limits: &Limits) {
        self.decoder.open(version, limits);
    }

    /// Drops the received bytes.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.parsed_len = 0;
    }

    /// Frees its memory if it is empty.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// Takes the bytes out, so that the frames in them can be borrowed while the client changes.
    pub(crate) fn take(&mut self) -> BytesMut {
        core::mem::take(&mut self.bytes)
    }

    /// Takes back what [`take`](Self::take) returned, once it holds no complete frame.
    pub(crate) fn put_back(&mut self, bytes: BytesMut) {
        self.parsed_len = bytes.len();
        self.bytes = bytes;
    }

    /// The next complete frame in `bytes`, and its length there.
    pub(crate) fn decode<'b>(
        &mut self,
        bytes: &'b [u8],
    ) -> Result<Option<(ServerFrame<'b>, usize)>, ProtocolError> {
        self.decoder.decode(bytes)
    }
}

/// Splits the first frame off if it is a complete Delivery: messages are slices of it.
pub(crate) fn split_delivery(bytes: &mut BytesMut) -> Option<Bytes> {
    let header = FrameHeader::from_bytes(*bytes.first_chunk::<HEADER_LEN>()?).ok()?;
    let len = HEADER_LEN.checked_add(header.body_len as usize)?;
    (header.kind == DELIVERY && len <= bytes.len()).then(|| bytes.split_to(len).freeze())
}

//! The eight bytes before every body, and the four before everything.

use crate::error::ProtocolFault;

/// The first four bytes of a connection, client to broker; the last one is the protocol's major version.
pub const MAGIC: [u8; 4] = *b"ZAI\x01";

/// The protocol version that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 8;

/// What stands before every body (docs/protocol.md §2): `u32` body length, `u8` kind, three zero bytes.
///
/// ```
/// use zaichik_proto::FrameHeader;
/// let header = FrameHeader { body_len: 8, kind: 0x0b };
/// assert_eq!(header.to_bytes(), [8, 0, 0, 0, 0x0b, 0, 0, 0]);
/// assert_eq!(FrameHeader::from_bytes(header.to_bytes()), Ok(header));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the body, without the header.
    pub body_len: u32,
    /// Which frame it is.
    pub kind: u8,
}

impl FrameHeader {
    /// The header's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = self.body_len.to_le_bytes();
        [a, b, c, d, self.kind, 0, 0, 0]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`ProtocolFault::ReservedBits`] if one of the last three bytes is not zero.
    pub const fn from_bytes(bytes: [u8; HEADER_LEN]) -> Result<Self, ProtocolFault> {
        let [l0, l1, l2, l3, kind, reserved @ ..] = bytes;
        if !matches!(reserved, [0, 0, 0]) {
            return Err(ProtocolFault::ReservedBits { field: "header" });
        }
        Ok(Self { body_len: u32::from_le_bytes([l0, l1, l2, l3]), kind })
    }
}

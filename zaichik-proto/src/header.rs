//! The magic that begins a connection, and the header that begins every frame.

use crate::error::ProtocolFault;
use crate::version::Version;

/// The first four bytes that a client sends; the last one is the protocol's major version.
pub const MAGIC: [u8; 4] = *b"ZAI\x01";

/// The number of the newest protocol version that this crate implements.
pub const PROTOCOL_VERSION: u16 = Version::NEWEST.number();

/// Size of a frame's header in bytes.
pub const HEADER_LEN: usize = 8;

/// The header of a frame (docs/protocol.md §2): `u32` body length, `u8` kind, three zero bytes.
///
/// ```
/// use zaichik_proto::FrameHeader;
/// let header = FrameHeader { body_len: 8, kind: 0x0b };
/// assert_eq!(header.to_bytes(), [8, 0, 0, 0, 0x0b, 0, 0, 0]);
/// assert_eq!(FrameHeader::from_bytes(header.to_bytes()), Ok(header));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Size of the body in bytes, without the header.
    pub body_len: u32,
    /// The kind of the frame.
    pub kind: u8,
}

impl FrameHeader {
    /// Encodes the header.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = self.body_len.to_le_bytes();
        [a, b, c, d, self.kind, 0, 0, 0]
    }

    /// Decodes a header.
    ///
    /// # Errors
    /// [`ProtocolFault::ReservedBits`] if one of the last three bytes is not zero.
    #[inline]
    pub const fn from_bytes(bytes: [u8; HEADER_LEN]) -> Result<Self, ProtocolFault> {
        let [l0, l1, l2, l3, kind, reserved @ ..] = bytes;
        if !matches!(reserved, [0, 0, 0]) {
            return Err(ProtocolFault::ReservedBits { field: "header" });
        }
        Ok(Self { body_len: u32::from_le_bytes([l0, l1, l2, l3]), kind })
    }

    /// Checks the announced length, so that nothing is buffered for a frame that is too large.
    #[inline]
    pub(crate) const fn check_len(self, limit: u32) -> Result<(), ProtocolFault> {
        if self.body_len > limit {
            return Err(ProtocolFault::FrameTooLarge { limit, got: self.body_len });
        }
        Ok(())
    }

    /// Size of the whole frame in bytes.
    #[inline]
    pub(crate) const fn frame_len(self) -> usize {
        (self.body_len as usize).saturating_add(HEADER_LEN)
    }
}

/// Kinds that a client sends.
pub(crate) mod client_kind {
    use crate::version::Version;

    pub(crate) const HELLO: u8 = 0x01;
    pub(crate) const CREATE_TOPIC: u8 = 0x02;
    pub(crate) const ALTER_TOPIC: u8 = 0x03;
    pub(crate) const PUBLISH: u8 = 0x04;
    pub(crate) const SUBSCRIBE: u8 = 0x05;
    pub(crate) const UNSUBSCRIBE: u8 = 0x06;
    pub(crate) const COMMIT: u8 = 0x07;
    pub(crate) const NACK: u8 = 0x08;
    pub(crate) const SEEK: u8 = 0x09;
    pub(crate) const BATCH: u8 = 0x0a;
    pub(crate) const PING: u8 = 0x0b;
    pub(crate) const PONG: u8 = 0x0c;
    pub(crate) const CLOSE: u8 = 0x0d;
    pub(crate) const DESCRIBE: u8 = 0x0e;
    pub(crate) const REMOVE_DURABLE: u8 = 0x0f;
    /// Chooses a shard; from version 2 on.
    pub(crate) const SHARD: u8 = 0x10;
    /// Answers a Challenge; reserved from version 2 on.
    pub(crate) const PROOF: u8 = 0x11;
    /// From version 2 on.
    pub(crate) const TRIM_TOPIC: u8 = 0x12;
    /// From version 2 on, as those that follow.
    pub(crate) const SUBSCRIBE_SHARED: u8 = 0x13;
    pub(crate) const ACK: u8 = 0x14;
    pub(crate) const NACK_SHARED: u8 = 0x15;
    pub(crate) const EXTEND: u8 = 0x16;
    pub(crate) const DESCRIBE_SHARED: u8 = 0x17;
    pub(crate) const SUBSCRIBE_PATTERN: u8 = 0x18;

    /// The last kind that a version defines or reserves.
    pub(crate) const fn last(version: Version) -> u8 {
        match version {
            Version::One => REMOVE_DURABLE,
            Version::Two => SUBSCRIBE_PATTERN,
        }
    }
}

/// Kinds that the broker sends.
pub(crate) mod server_kind {
    use crate::version::Version;

    pub(crate) const WELCOME: u8 = 0x41;
    pub(crate) const TOPIC_READY: u8 = 0x42;
    pub(crate) const ACKS: u8 = 0x43;
    pub(crate) const PUBLISHED: u8 = 0x44;
    pub(crate) const BATCHED: u8 = 0x45;
    pub(crate) const REFUSED: u8 = 0x46;
    pub(crate) const DONE: u8 = 0x47;
    pub(crate) const SUBSCRIBED: u8 = 0x48;
    pub(crate) const DELIVERY: u8 = 0x49;
    pub(crate) const GAP: u8 = 0x4a;
    pub(crate) const FENCED: u8 = 0x4b;
    pub(crate) const UNSUBSCRIBED: u8 = 0x4c;
    pub(crate) const PING: u8 = 0x4d;
    pub(crate) const PONG: u8 = 0x4e;
    pub(crate) const GOODBYE: u8 = 0x4f;
    pub(crate) const FATAL: u8 = 0x50;
    pub(crate) const COUNTERS: u8 = 0x51;
    pub(crate) const TOPICS: u8 = 0x52;
    pub(crate) const SUBSCRIPTIONS: u8 = 0x53;
    /// Asks for a proof before Welcome; reserved from version 2 on.
    pub(crate) const CHALLENGE: u8 = 0x54;
    /// From version 2 on.
    pub(crate) const TRIMMED: u8 = 0x55;
    /// From version 2 on.
    pub(crate) const ACKED: u8 = 0x56;
    /// From version 2 on.
    pub(crate) const MEMBERS: u8 = 0x57;
    /// From version 2 on, as those that follow.
    pub(crate) const PATTERN_SUBSCRIBED: u8 = 0x58;
    pub(crate) const MATCHED: u8 = 0x59;
    pub(crate) const NOT_MATCHED: u8 = 0x5a;

    /// The last kind that a version defines or reserves.
    pub(crate) const fn last(version: Version) -> u8 {
        match version {
            Version::One => SUBSCRIPTIONS,
            Version::Two => NOT_MATCHED,
        }
    }
}

/// The first kind of an extension, which a receiver that does not know it skips.
pub(crate) const FIRST_EXTENSION: u8 = 0x80;

//! What is wrong with bytes: the peer broke the protocol, and the connection ends.

use thiserror::Error;

use crate::code::FaultCode;

/// The peer broke the protocol (docs/protocol.md §9).
///
/// Fatal: the decoder that returned it answers every later call with the same error, because a stream whose
/// framing is in doubt can't be resynchronised.
///
/// ```
/// use zaichik_proto::{ClientDecoder, Limits, ProtocolFault};
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// let error = decoder.decode(&[0, 0, 0, 0, 0x3f, 0, 0, 0]).expect_err("nobody knows that kind");
/// assert_eq!(error.fault, ProtocolFault::UnknownKind { kind: 0x3f });
/// assert_eq!(decoder.decode(&[]), Err(error), "it stays");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{fault} (in the frame at byte {offset} of the stream)")]
pub struct ProtocolError {
    /// Where the offending frame starts, in bytes since the connection opened; the magic counts.
    pub offset: u64,
    /// What is wrong.
    pub fault: ProtocolFault,
}

/// What a peer did wrong.
///
/// ```
/// use zaichik_proto::{FaultCode, ProtocolFault};
/// let fault = ProtocolFault::UnknownKind { kind: 0x3f };
/// assert_eq!(fault.code(), FaultCode::UnknownKind); // what the peer is told
/// assert_eq!(fault.to_string(), "frame kind 0x3f is unknown");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// The first four bytes are not [`MAGIC`](crate::MAGIC).
    #[error("the peer does not speak Zaichik: its first bytes are not the magic ZAI\\x01")]
    BadMagic,
    /// The version in the handshake is not one that this end speaks.
    #[error("protocol version {got} is not spoken here; this end speaks version 1")]
    UnsupportedVersion {
        /// The version that the peer asked for.
        got: u16,
    },
    /// A frame other than the handshake's came before the handshake was done, or a handshake frame after it.
    #[error("frame kind {kind:#04x} is not allowed in this phase of the connection")]
    OutOfPhase {
        /// The frame's kind byte.
        kind: u8,
    },
    /// A frame announces a body above the limit. Found in the header, before anything is allocated.
    #[error("a frame of {got} bytes is above the limit of {limit} bytes")]
    FrameTooLarge {
        /// The largest body allowed now, in bytes.
        limit: u32,
        /// The body length announced.
        got: u32,
    },
    /// A kind below 0x80 that the protocol does not define.
    #[error("frame kind {kind:#04x} is unknown")]
    UnknownKind {
        /// The frame's kind byte.
        kind: u8,
    },
    /// A frame that only the other end may send.
    #[error("frame kind {kind:#04x} may only be sent by the other end")]
    WrongDirection {
        /// The frame's kind byte.
        kind: u8,
    },
    /// Bits that must be zero are not.
    #[error("reserved bits are set in {field}")]
    ReservedBits {
        /// The field that holds them.
        field: &'static str,
    },
    /// A field reaches past the end of its frame.
    #[error("a field reaches past the end of its frame")]
    Truncated,
    /// A frame goes on after its last field.
    #[error("{count} bytes follow the last field of a frame")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A field holds a value that the protocol does not define.
    #[error("{got} is not a value of {field}")]
    BadValue {
        /// The field's name.
        field: &'static str,
        /// The value found.
        got: u64,
    },
    /// A counted list announces more elements than allowed, or more than its frame can hold.
    #[error("{got} elements in {field}; at most {limit} are possible here")]
    CountTooLarge {
        /// The list's name.
        field: &'static str,
        /// The largest count possible here.
        limit: u64,
        /// The count announced.
        got: u64,
    },
    /// Text that is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// The field's name.
        field: &'static str,
    },
    /// A record is malformed.
    #[error("record {index} of the frame: {error}")]
    BadRecord {
        /// Which record, from 0.
        index: u32,
        /// What is wrong with it.
        error: RecordError,
    },
}

impl ProtocolFault {
    /// The code under which the fault is reported in a [`Fatal`](crate::Fatal) frame.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        match self {
            Self::BadMagic => FaultCode::BadMagic,
            Self::UnsupportedVersion { .. } => FaultCode::UnsupportedVersion,
            Self::OutOfPhase { .. } => FaultCode::OutOfPhase,
            Self::FrameTooLarge { .. } => FaultCode::FrameTooLarge,
            Self::UnknownKind { .. } => FaultCode::UnknownKind,
            Self::WrongDirection { .. } => FaultCode::WrongDirection,
            Self::ReservedBits { .. } => FaultCode::ReservedBits,
            Self::Truncated | Self::TrailingBytes { .. } => FaultCode::BadLength,
            Self::BadValue { .. } => FaultCode::BadValue,
            Self::CountTooLarge { .. } => FaultCode::CountTooLarge,
            Self::NotUtf8 { .. } => FaultCode::NotUtf8,
            Self::BadRecord { .. } => FaultCode::BadRecord,
        }
    }
}

/// What is wrong with a record.
///
/// ```
/// use zaichik_proto::{Record, RecordError};
/// let dies_at_once = Record { ttl_micros: Some(0), ..Record::default() };
/// assert_eq!(dies_at_once.check(), Err(RecordError::ZeroTtl));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Its size does not hold its fields, or reaches past its frame.
    #[error("its size does not fit its fields")]
    BadSize,
    /// Flags or padding that must be zero are not.
    #[error("reserved bits are set")]
    ReservedBits,
    /// A key longer than 1,024 bytes.
    #[error("its key is longer than 1,024 bytes")]
    KeyTooLong,
    /// A key length without a key.
    #[error("it has a key length but no key")]
    KeyWithoutFlag,
    /// A timestamp in a publish, where the broker fills it in.
    #[error("a client must leave the timestamp zero")]
    TimestampSet,
    /// A time to live of zero.
    #[error("its time to live is zero")]
    ZeroTtl,
    /// More than 1,024 headers.
    #[error("it has more than 1,024 headers")]
    TooManyHeaders,
    /// Headers that are malformed, or a header section without headers.
    #[error("its headers are malformed")]
    BadHeaders,
    /// A tombstone without a key or with a body.
    #[error("a tombstone must have a key and no body")]
    BadTombstone,
}

//! Errors in a peer's bytes.

use thiserror::Error;

use crate::code::FaultCode;

/// A violation of the protocol by the peer (docs/protocol.md §9).
///
/// It is fatal: the decoder returns the same error from every later call, because it can't find the next frame in a
/// broken stream.
///
/// ```
/// use zaichik_proto::{ClientDecoder, Limits, ProtocolFault};
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// let error = decoder.decode(&[0, 0, 0, 0, 0x3f, 0, 0, 0]).expect_err("the kind is unknown");
/// assert_eq!(error.fault, ProtocolFault::UnknownKind { kind: 0x3f });
/// assert_eq!(decoder.decode(&[]), Err(error), "the error is final");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{fault} (in the frame at byte {offset} of the stream)")]
pub struct ProtocolError {
    /// Where the offending frame starts, in bytes since the connection was opened, including the magic.
    pub offset: u64,
    /// What is wrong.
    pub fault: ProtocolFault,
}

/// How a peer violated the protocol.
///
/// ```
/// use zaichik_proto::{FaultCode, ProtocolFault};
/// let fault = ProtocolFault::UnknownKind { kind: 0x3f };
/// assert_eq!(fault.code(), FaultCode::UnknownKind); // what Fatal reports
/// assert_eq!(fault.to_string(), "frame kind 0x3f is unknown");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// The first four bytes are not [`MAGIC`](crate::MAGIC).
    #[error("the peer does not speak Zaichik: its first bytes are not the magic ZAI\\x01")]
    BadMagic,
    /// This end does not support the version in the handshake.
    #[error("protocol version {got} is not supported; this end supports version 1 and later ones")]
    UnsupportedVersion {
        /// The version that the peer requested.
        got: u16,
    },
    /// A handshake frame arrived after the handshake, or another frame arrived before it was done.
    #[error("frame kind {kind:#04x} is not allowed in this phase of the connection")]
    OutOfPhase {
        /// The frame's kind byte.
        kind: u8,
    },
    /// A header announces a body above the limit; found before anything is allocated.
    #[error("a frame of {got} bytes is above the limit of {limit} bytes")]
    FrameTooLarge {
        /// The current limit, in bytes.
        limit: u32,
        /// The announced length, in bytes.
        got: u32,
    },
    /// A kind below 0x80 that the protocol does not define.
    #[error("frame kind {kind:#04x} is unknown")]
    UnknownKind {
        /// The frame's kind byte.
        kind: u8,
    },
    /// The protocol reserves the kind, and this end does not implement it.
    #[error("frame kind {kind:#04x} is reserved and not implemented")]
    Unsupported {
        /// The frame's kind byte.
        kind: u8,
    },
    /// Only the other end may send frames of this kind.
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
    /// A frame continues after its last field.
    #[error("{count} bytes follow the last field of a frame")]
    TrailingBytes {
        /// Number of bytes after the last field.
        count: usize,
    },
    /// A field holds a value that the protocol does not define.
    #[error("{got} is not a valid {field}")]
    BadValue {
        /// The field's name.
        field: &'static str,
        /// The value found.
        got: u64,
    },
    /// A counted list announces more elements than allowed, or more than its frame can hold.
    #[error("{got} elements in {field}; the maximum here is {limit}")]
    CountTooLarge {
        /// The list's name.
        field: &'static str,
        /// The maximum possible here.
        limit: u64,
        /// The announced count.
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
        /// The record's index in the frame, from 0.
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
            Self::Unsupported { .. } => FaultCode::Unsupported,
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
/// let record = Record { ttl_micros: Some(0), ..Record::default() };
/// assert_eq!(record.check(), Err(RecordError::ZeroTtl));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The size is too small for the fields, or reaches past the frame.
    #[error("the size does not match the fields")]
    BadSize,
    /// Reserved bits of flags or padding are set.
    #[error("reserved bits are set")]
    ReservedBits,
    /// The key is longer than 1,024 bytes.
    #[error("the key is longer than 1,024 bytes")]
    KeyTooLong,
    /// There is a key length but no key.
    #[error("there is a key length but no key")]
    KeyWithoutFlag,
    /// A publish has a timestamp, which only the broker sets.
    #[error("a client must leave the timestamp zero")]
    TimestampSet,
    /// The time to live is zero.
    #[error("the time to live is zero")]
    ZeroTtl,
    /// There are more than 1,024 headers.
    #[error("there are more than 1,024 headers")]
    TooManyHeaders,
    /// The headers are malformed, or the header section has no headers.
    #[error("the headers are malformed")]
    BadHeaders,
    /// A tombstone has no key, or has a body.
    #[error("a tombstone must have a key and no body")]
    BadTombstone,
}

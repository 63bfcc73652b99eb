//! What is wrong with bytes: the peer broke the protocol, and the connection ends.

use thiserror::Error;

use crate::record::RecordError;

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

/// Defines an enum of wire codes that keeps codes it does not know.
macro_rules! wire_codes {
    (
        $(#[$meta:meta])* pub enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $code:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
            /// A code that this version does not know; a newer peer sent it.
            Unknown(u16),
        }

        impl $name {
            /// Every code that this version knows, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Unknown(code) => code,
                }
            }

            /// The meaning of a code on the wire.
            #[must_use]
            pub const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    code => Self::Unknown(code),
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$variant => f.write_str(stringify!($variant)),)+
                    Self::Unknown(code) => write!(f, "code {code}"),
                }
            }
        }
    };
}
pub(crate) use wire_codes;

wire_codes! {
    /// Why a connection ends, as a [`Fatal`](crate::Fatal) frame tells it (docs/protocol.md §9).
    ///
    /// ```
    /// use zaichik_proto::FaultCode;
    /// assert_eq!(FaultCode::from_code(33), FaultCode::Unauthorized);
    /// assert_eq!(FaultCode::from_code(999), FaultCode::Unknown(999));
    /// ```
    pub enum FaultCode {
        /// The first bytes were not the magic. Never sent: such a peer gets no answer.
        BadMagic = 1,
        /// The protocol version is not spoken here.
        UnsupportedVersion = 2,
        /// A frame came in the wrong phase of the connection.
        OutOfPhase = 3,
        /// A frame is above the size limit.
        FrameTooLarge = 4,
        /// A frame's kind is unknown.
        UnknownKind = 5,
        /// A frame that only the other end may send.
        WrongDirection = 6,
        /// Reserved bits are set.
        ReservedBits = 7,
        /// A field does not fit its frame.
        BadLength = 8,
        /// A field's value is not defined.
        BadValue = 9,
        /// A list has too many elements.
        CountTooLarge = 10,
        /// Text is not UTF-8.
        NotUtf8 = 11,
        /// A record is malformed.
        BadRecord = 12,
        /// The handshake did not arrive in time.
        HandshakeTimeout = 32,
        /// The token is missing or wrong.
        Unauthorized = 33,
        /// The broker has as many connections as it may.
        ServerFull = 34,
        /// Nothing was heard from the peer for three heartbeats.
        HeartbeatMissed = 35,
        /// The peer did not read for the whole write deadline.
        SlowConsumer = 36,
        /// The broker stops and its grace time is over.
        Stopped = 37,
        /// The broker failed; its log tells more.
        Internal = 38,
    }
}

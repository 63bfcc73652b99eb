//! Wire codes: numbers for reasons and counters, to which later versions may add.

/// Defines an enum of wire codes that preserves unknown codes.
macro_rules! wire_codes {
    (
        $(#[$meta:meta])* pub enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $code:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
            /// A code from a newer peer that this version does not know.
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
    /// The error in a [`Fatal`](crate::Fatal) frame (docs/protocol.md §9).
    ///
    /// ```
    /// use zaichik_proto::FaultCode;
    /// assert_eq!(FaultCode::from_code(33), FaultCode::Unauthorized);
    /// assert_eq!(FaultCode::from_code(999), FaultCode::Unknown(999));
    /// ```
    pub enum FaultCode {
        /// The first bytes are not the magic. Never sent: such a peer receives no answer.
        BadMagic = 1,
        /// The protocol version is not supported.
        UnsupportedVersion = 2,
        /// A frame is not allowed in this phase of the connection.
        OutOfPhase = 3,
        /// A frame is above the size limit.
        FrameTooLarge = 4,
        /// A frame's kind is unknown.
        UnknownKind = 5,
        /// Only the other end may send a frame of this kind.
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
        /// The kind of a frame is reserved, and this end does not implement it.
        Unsupported = 13,
        /// The handshake did not arrive in time.
        HandshakeTimeout = 32,
        /// The token is missing or wrong.
        Unauthorized = 33,
        /// The broker has reached its limit of connections.
        ServerFull = 34,
        /// Nothing was received from the peer for three heartbeats.
        HeartbeatMissed = 35,
        /// The peer accepted too little output within the write timeout.
        SlowConsumer = 36,
        /// The broker is stopping and its grace period is over.
        Stopped = 37,
        /// The broker failed; its log has the details.
        Internal = 38,
        /// Too little of a frame that the peer had begun arrived within the frame timeout.
        SlowProducer = 39,
        /// The connection made no progress while the broker needed the memory that it held.
        MemoryNeeded = 40,
    }
}

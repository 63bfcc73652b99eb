//! Numbers that name a reason or a counter on the wire.

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

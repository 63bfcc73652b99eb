//! How a connection begins and ends.

use crate::code::FaultCode;
use crate::limits::Limits;

/// The client's half of the handshake (docs/protocol.md §3).
///
/// ```
/// use zaichik_proto::{Hello, PROTOCOL_VERSION};
/// let hello = Hello { version: PROTOCOL_VERSION, name: "billing", token: b"secret" };
/// assert!(!format!("{hello:?}").contains("secret"), "not in a log");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The highest protocol version that the client speaks.
    pub version: u16,
    /// What the client calls itself, for logs; at most 255 bytes, may be empty.
    pub name: &'a str,
    /// The shared token; empty for none, at most 1,024 bytes.
    pub token: &'a [u8],
}

impl core::fmt::Debug for Hello<'_> {
    /// Leaves the token out: it is a secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { version, name, token } = self;
        let token = if token.is_empty() { "none" } else { "redacted" };
        f.debug_struct("Hello").field("version", version).field("name", name).field("token", &token).finish()
    }
}

/// The broker's half of the handshake (docs/protocol.md §3).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Limits, ServerDecoder, ServerFrame, Welcome};
/// let limits = Limits::default();
/// let welcome = Welcome { version: 1, instance: 7, limits, server: "zaichik 0.1.0" };
/// let mut wire = BytesMut::new();
/// ServerFrame::Welcome(welcome).encode(&mut wire);
/// let mut decoder = ServerDecoder::handshake(&limits);
/// let (frame, _) = decoder.decode(&wire)?.expect("a whole frame");
/// assert_eq!(frame, ServerFrame::Welcome(welcome));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The protocol version that both will speak.
    pub version: u16,
    /// The broker's instance: offsets, cursors and sequences hold within one instance only (semantics P5).
    pub instance: u128,
    /// What the connection may carry.
    pub limits: Limits,
    /// What the broker calls itself, with its version.
    pub server: &'a str,
}

/// Why the broker says goodbye.
///
/// ```
/// use zaichik_proto::GoodbyeReason;
/// let connects_again = |reason| reason == GoodbyeReason::Draining;
/// assert!(connects_again(GoodbyeReason::Draining) && !connects_again(GoodbyeReason::Closed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoodbyeReason {
    /// The client asked for it.
    Closed,
    /// The broker stops: commit what is done; the connection closes when the grace time is over.
    Draining,
}

/// The broker will close the connection in an orderly way.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Goodbye, GoodbyeReason};
/// let goodbye = Goodbye { reason: GoodbyeReason::Draining, grace_millis: 10_000 };
/// let mut wire = BytesMut::new();
/// ServerFrame::Goodbye(goodbye).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Goodbye(goodbye), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goodbye {
    /// Why.
    pub reason: GoodbyeReason,
    /// How long it stays open at most, in milliseconds; 0 with [`GoodbyeReason::Closed`].
    pub grace_millis: u32,
}

/// The connection is over because something broke (docs/protocol.md §9).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, Fatal, FaultCode};
/// let fatal = Fatal { code: FaultCode::UnknownKind, offset: 25, text: "frame kind 0x3f is unknown" };
/// let mut wire = BytesMut::new();
/// ServerFrame::Fatal(fatal).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Fatal(fatal), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fatal<'a> {
    /// What broke.
    pub code: FaultCode,
    /// Where in the client's stream the offending frame starts, in bytes; 0 if it is not about a frame.
    pub offset: u64,
    /// The same for people; at most [`Limits::MAX_TEXT`] bytes.
    pub text: &'a str,
}

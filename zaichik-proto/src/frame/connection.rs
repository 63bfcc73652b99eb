//! Frames that begin and end a connection.

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
    /// The client's name for logs; at most 255 bytes, may be empty.
    pub name: &'a str,
    /// The shared token; empty for none, at most 1,024 bytes.
    pub token: &'a [u8],
}

impl core::fmt::Debug for Hello<'_> {
    /// Omits the token, which is a secret.
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
/// let welcome = Welcome { version: 1, instance: 7, limits, capabilities: 0, server: "zaichik 0.1.0" };
/// let mut wire = BytesMut::new();
/// ServerFrame::Welcome(welcome).encode(&mut wire);
/// let mut decoder = ServerDecoder::handshake(&limits);
/// let (frame, _) = decoder.decode(&wire)?.expect("a whole frame");
/// assert_eq!(frame, ServerFrame::Welcome(welcome));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The protocol version of the connection.
    pub version: u16,
    /// The broker's instance: offsets, cursors and sequences are valid within one instance only (rule P5).
    pub instance: u128,
    /// The limits of the connection.
    pub limits: Limits,
    /// A mask of the optional parts of the protocol that the broker offers (docs/protocol.md §14.2); 0 in version 1,
    /// which has no such field. A client ignores bits that it does not know.
    pub capabilities: u64,
    /// The broker's name and version.
    pub server: &'a str,
}

impl Welcome<'_> {
    /// The capability of [`TrimTopic`](crate::TrimTopic).
    pub const TRIM: u64 = 1;
    /// The capability of shared subscriptions (docs/protocol.md §14.9).
    pub const SHARED: u64 = 2;
    /// The capability of subscriptions to patterns of topics (docs/protocol.md §14.10).
    pub const PATTERNS: u64 = 4;
}

/// Chooses the shard of the broker that serves a connection, as its first request (docs/protocol.md §14.3).
///
/// Reserved: a broker without shards refuses it with [`Unsupported`](crate::RefusalCode::Unsupported).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Shard, Version};
/// let shard = Shard { request: 1, shard: 3 };
/// let mut wire = BytesMut::new();
/// ClientFrame::Shard(shard).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Shard(shard), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The request's id, above 0.
    pub request: u32,
    /// The shard's number.
    pub shard: u32,
}

/// The reason of a [`Goodbye`].
///
/// ```
/// use zaichik_proto::GoodbyeReason;
/// let reconnects = |reason| reason == GoodbyeReason::Draining;
/// assert!(reconnects(GoodbyeReason::Draining) && !reconnects(GoodbyeReason::Closed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoodbyeReason {
    /// The client sent Close.
    Closed,
    /// The broker is stopping: clients should commit finished work; the connection closes after the grace period.
    Draining,
}

/// Announces that the broker will close the connection in an orderly way.
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
    /// The reason.
    pub reason: GoodbyeReason,
    /// Maximum time until the connection closes, in milliseconds; 0 with [`GoodbyeReason::Closed`].
    pub grace_millis: u32,
}

/// Reports the error that ends the connection (docs/protocol.md §9).
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
    /// The error.
    pub code: FaultCode,
    /// Where in the client's stream the offending frame starts, in bytes; 0 if no frame caused the error.
    pub offset: u64,
    /// A description of the error for people; at most [`Limits::MAX_TEXT`] bytes.
    pub text: &'a str,
}

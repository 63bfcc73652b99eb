//! Frames that move and remove cursors.

use super::subscribe::Start;

/// Commits every record up to and including an offset (rule A2).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Commit, Version};
/// let commit = Commit { request: 3, subscription: 0, offset: 41, rewind: Some(2), quiet: true };
/// let mut wire = BytesMut::new();
/// ClientFrame::Commit(commit).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Commit(commit), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The last offset to commit.
    pub offset: u64,
    /// The highest rewind number that the client had received for the subscription; `None` in version 1, and only
    /// there.
    pub rewind: Option<u32>,
    /// Whether the broker answers only if it refuses the commit.
    pub quiet: bool,
}

/// Requests redelivery from an offset (rule A4).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Nack};
/// let nack = Nack { request: 4, subscription: 0, offset: 41, delay_micros: 1_000_000 };
/// let mut wire = BytesMut::new();
/// ClientFrame::Nack(nack).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Nack(nack), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack {
    /// The request's id, above 0.
    pub request: u32,
    /// The subscription's number.
    pub subscription: u32,
    /// The first offset to redeliver.
    pub offset: u64,
    /// Delay before the redelivery, in microseconds.
    pub delay_micros: u64,
}

/// The cursor that a [`Seek`] moves.
///
/// ```
/// use zaichik_proto::SeekTarget;
/// let own = SeekTarget::Subscription(0);
/// let durable = SeekTarget::Durable { topic: b"orders", name: "billing" };
/// assert_ne!(own, durable);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTarget<'a> {
    /// A subscription of this connection.
    Subscription(u32),
    /// A durable subscription, whether or not a connection holds it.
    Durable {
        /// The topic's name, not yet checked.
        topic: &'a [u8],
        /// The subscription's name.
        name: &'a str,
    },
}

/// Moves a cursor (rule D6).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Seek, SeekTarget, Start};
/// let seek = Seek { request: 5, target: SeekTarget::Subscription(0), to: Start::Offset(7) };
/// let mut wire = BytesMut::new();
/// ClientFrame::Seek(seek).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::Seek(seek), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seek<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The cursor to move.
    pub target: SeekTarget<'a>,
    /// The new position.
    pub to: Start,
}

/// Removes a durable subscription that no connection holds (docs/protocol.md §6.16).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, RemoveDurable};
/// let remove = RemoveDurable { request: 7, topic: b"orders", name: "billing" };
/// let mut wire = BytesMut::new();
/// ClientFrame::RemoveDurable(remove).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::RemoveDurable(remove), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveDurable<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// The subscription's name.
    pub name: &'a str,
}

//! Frames that a client sends.

use super::batch::Batch;
use super::connection::Hello;
use super::cursor::{Commit, Nack, RemoveDurable, Seek};
use super::describe::Describe;
use super::publish::Publish;
use super::subscribe::{Subscribe, Unsubscribe};
use super::topic::{AlterTopic, CreateTopic};

/// A frame from a client to the broker (docs/protocol.md §6).
///
/// Exhaustive: a broker has to answer each of them, so a new one must not compile unnoticed.
///
/// ```
/// use bytes::BytesMut;
/// use zaichik_proto::ClientFrame;
/// let mut wire = BytesMut::new();
/// ClientFrame::Ping { nonce: 7 }.encode(&mut wire);
/// assert_eq!(&wire[..], [8, 0, 0, 0, 0x0b, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// The first frame of a connection.
    Hello(Hello<'a>),
    /// Creates or adopts a topic.
    CreateTopic(CreateTopic<'a>),
    /// Changes a topic's settings in place.
    AlterTopic(AlterTopic<'a>),
    /// Appends records to one topic.
    Publish(Publish<'a>),
    /// Starts a subscription.
    Subscribe(Subscribe<'a>),
    /// Ends a subscription.
    Unsubscribe(Unsubscribe),
    /// Everything up to and including an offset is done.
    Commit(Commit),
    /// Go back: deliver again from an offset.
    Nack(Nack),
    /// Moves a cursor.
    Seek(Seek<'a>),
    /// Several operations, all or none.
    Batch(Batch<'a>),
    /// Asks what the broker has and counted.
    Describe(Describe<'a>),
    /// Ends a durable subscription for good.
    RemoveDurable(RemoveDurable<'a>),
    /// Asks for a Pong.
    Ping {
        /// Comes back in the Pong.
        nonce: u64,
    },
    /// Answers a Ping.
    Pong {
        /// The Ping's.
        nonce: u64,
    },
    /// The client is done: the broker answers what it owes and closes.
    Close,
    /// A frame of a later version (kind 0x80 and above): to be skipped.
    Extension {
        /// The frame's kind byte.
        kind: u8,
        /// Its body.
        body: &'a [u8],
    },
}

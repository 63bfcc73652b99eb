//! Frames that a client sends.

use super::batch::Batch;
use super::connection::{Hello, Shard};
use super::cursor::{Commit, Nack, RemoveDurable, Seek};
use super::describe::Describe;
use super::members::DescribeShared;
use super::pattern::SubscribePattern;
use super::publish::Publish;
use super::shared::{Ack, Extend, NackShared, SubscribeShared};
use super::subscribe::{Subscribe, Unsubscribe};
use super::topic::{AlterTopic, CreateTopic, TrimTopic};

/// A frame from a client to the broker (docs/protocol.md §6).
///
/// Exhaustive: a broker must handle every frame, so a new one must break its build.
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
    /// Commits every record up to and including an offset.
    Commit(Commit),
    /// Requests redelivery from an offset.
    Nack(Nack),
    /// Moves a cursor.
    Seek(Seek<'a>),
    /// Applies several operations atomically.
    Batch(Batch<'a>),
    /// Requests a description of topics, subscriptions or counters.
    Describe(Describe<'a>),
    /// Removes a durable subscription.
    RemoveDurable(RemoveDurable<'a>),
    /// Chooses a shard of the broker; from version 2 on.
    Shard(Shard),
    /// Removes the oldest records of a topic; from version 2 on.
    TrimTopic(TrimTopic<'a>),
    /// Joins a shared subscription; from version 2 on.
    SubscribeShared(SubscribeShared<'a>),
    /// Acknowledges records of a shared subscription; from version 2 on.
    Ack(Ack<'a>),
    /// Gives records of a shared subscription back; from version 2 on.
    NackShared(NackShared<'a>),
    /// Extends the time to acknowledge records of a shared subscription; from version 2 on.
    Extend(Extend<'a>),
    /// Requests a description of a shared subscription; from version 2 on.
    DescribeShared(DescribeShared<'a>),
    /// Subscribes to every topic that a pattern matches; from version 2 on.
    SubscribePattern(SubscribePattern<'a>),
    /// Requests a Pong.
    Ping {
        /// A number that the Pong repeats.
        nonce: u64,
    },
    /// Answers a Ping.
    Pong {
        /// The nonce of the Ping.
        nonce: u64,
    },
    /// Ends the connection: the broker sends the outstanding answers and closes it.
    Close,
    /// A frame of a later version (kind 0x80 and above), to be ignored.
    Extension {
        /// The frame's kind byte.
        kind: u8,
        /// Its body.
        body: &'a [u8],
    },
}

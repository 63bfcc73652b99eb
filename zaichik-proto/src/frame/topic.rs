//! Frames that create and alter topics.

use super::subscribe::Start;
use crate::options::TopicOptions;

/// Creates a topic, or sets the settings of an implicitly created one (rules T2 to T4).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, CreateTopic, TopicOptions};
/// let create = CreateTopic { request: 1, topic: b"orders", options: TopicOptions::new().retain_forever() };
/// let mut wire = BytesMut::new();
/// ClientFrame::CreateTopic(create).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::CreateTopic(create), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateTopic<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// Its settings.
    pub options: TopicOptions,
}

/// Changes the settings of a topic in place (rule T7); settings that are `None` keep their value.
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, AlterTopic, TopicOptions};
/// let alter = AlterTopic { request: 1, topic: b"orders", options: TopicOptions::new().max_messages(10) };
/// let mut wire = BytesMut::new();
/// ClientFrame::AlterTopic(alter).encode(&mut wire);
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::AlterTopic(alter), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlterTopic<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// The settings to change.
    pub options: TopicOptions,
}

/// Removes the oldest records of a topic (rule R10); from version 2 on, where the broker offers it
/// ([`Welcome::TRIM`](crate::Welcome::TRIM)).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits, Start, TrimTopic, Version};
/// let trim = TrimTopic { request: 1, topic: b"orders", before: Start::Offset(1_000) };
/// let mut wire = BytesMut::new();
/// ClientFrame::TrimTopic(trim).encode(&mut wire);
/// let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ClientFrame::TrimTopic(trim), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimTopic<'a> {
    /// The request's id, above 0.
    pub request: u32,
    /// The topic's name, not yet checked.
    pub topic: &'a [u8],
    /// Records before it are removed: before an offset, accepted before a time, or with [`Start::Latest`] all of them.
    pub before: Start,
}

/// Answers `TrimTopic` (rule R10).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{Limits, ServerDecoder, ServerFrame, Trimmed, Version};
/// let trimmed = Trimmed { request: 1, start: 1_000, removed: 250 };
/// let mut wire = BytesMut::new();
/// ServerFrame::Trimmed(trimmed).encode(&mut wire);
/// let mut decoder = ServerDecoder::speaking(Version::Two, &Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::Trimmed(trimmed), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// The request's id.
    pub request: u32,
    /// The offset of the first record that is left; the end if there is none.
    pub start: u64,
    /// Live records that were removed.
    pub removed: u64,
}

/// The result of a [`CreateTopic`].
///
/// ```
/// use zaichik_proto::TopicStatus;
/// let is_new = |status| matches!(status, TopicStatus::Created);
/// assert!(is_new(TopicStatus::Created) && !is_new(TopicStatus::Adopted));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicStatus {
    /// The topic already existed with these settings.
    Unchanged,
    /// The topic was created.
    Created,
    /// The topic had been created implicitly and now has these settings.
    Adopted,
}

/// Answers `CreateTopic` (rules T2 to T4).
///
/// ```
/// # use bytes::BytesMut;
/// use zaichik_proto::{ServerDecoder, ServerFrame, Limits, TopicReady, TopicStatus};
/// let ready = TopicReady { request: 1, status: TopicStatus::Created };
/// let mut wire = BytesMut::new();
/// ServerFrame::TopicReady(ready).encode(&mut wire);
/// let mut decoder = ServerDecoder::new(&Limits::default());
/// assert_eq!(decoder.decode(&wire)?, Some((ServerFrame::TopicReady(ready), wire.len())));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicReady {
    /// The request's id.
    pub request: u32,
    /// The result.
    pub status: TopicStatus,
}

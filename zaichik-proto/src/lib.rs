//! The Zaichik wire protocol: decodes bytes to frames, and encodes frames to bytes.
//!
//! The crate does no I/O and has no clock. A [`Decoder`] turns a stream of bytes into frames that *borrow* from the
//! caller's buffer; a frame's `encode` method appends its bytes. Each direction has its own type: clients send
//! [`ClientFrame`]s, the broker sends [`ServerFrame`]s, and a decoder of one direction rejects the frames of the other.
//! `docs/protocol.md` in the repository is the normative description.
//!
//! Frames and the options in requests are exhaustive enums, because both ends must handle all of them. Codes, reasons,
//! limits and topic options are `#[non_exhaustive]`: they may grow.
//!
//! ```
//! use bytes::BytesMut;
//! use zaichik_proto::{ClientDecoder, ClientFrame, Commit, Limits};
//!
//! let mut wire = BytesMut::new();
//! ClientFrame::Commit(Commit { request: 7, subscription: 1, offset: 41, rewind: None, quiet: false }).encode(&mut wire);
//!
//! let mut decoder = ClientDecoder::new(&Limits::default());
//! let (frame, taken) = decoder.decode(&wire)?.expect("the frame is complete");
//! assert!(matches!(frame, ClientFrame::Commit(commit) if commit.offset == 41));
//! assert_eq!(taken, wire.len());
//! # Ok::<(), zaichik_proto::ProtocolError>(())
//! ```

#![no_std]

extern crate alloc;

mod code;
mod codec;
mod counter;
mod decode;
mod error;
mod frame;
mod header;
mod limits;
mod list;
mod name;
mod options;
mod page;
mod pattern;
mod read;
mod record;
mod refusal;
mod time;
mod version;
mod write;

pub use code::FaultCode;
pub use codec::publish::PlainPublishes;
pub use counter::{Counter, CounterValue};
pub use decode::{ClientDecoder, Decoder, FromClient, FromServer, ServerDecoder, Side};
pub use error::{ProtocolError, ProtocolFault, RecordError};
pub use frame::batch::{
    Batch, BatchDuplicate, BatchResult, Batched, Operation, Operations, OperationsBuilder,
};
pub use frame::client::ClientFrame;
pub use frame::connection::{Fatal, Goodbye, GoodbyeReason, Hello, Shard, Welcome};
pub use frame::cursor::{Commit, Nack, RemoveDurable, Seek, SeekTarget};
pub use frame::delivery::{Delivery, DeliveryHead, Fenced, Gap, GapReason};
pub use frame::describe::{Counters, Describe, Subject, SubscriptionItem, TopicItem};
pub use frame::members::{DescribeShared, MemberItem, Members, SharedState};
pub use frame::pattern::{Matched, NotMatched, PatternSubscribed, SubscribePattern};
pub use frame::publish::{AckLevel, AckRun, Acks, Duplicate, Producer, Publish, Published};
pub use frame::server::{Done, Refused, ServerFrame};
pub use frame::shared::{Ack, Acked, Extend, NackShared, OffsetRange, SubscribeShared};
pub use frame::subscribe::{Durable, OnConflict, Start, Subscribe, Subscribed, Unsubscribe, Unsubscribed};
pub use frame::topic::{AlterTopic, CreateTopic, TopicReady, TopicStatus, TrimTopic, Trimmed};
pub use header::{FrameHeader, HEADER_LEN, MAGIC, PROTOCOL_VERSION};
pub use limits::Limits;
pub use list::{Entry, List};
pub use name::{MAX_NAME_LEN, NameError, TopicName};
pub use options::{CompactionMode, Overflow, SettingNames, TopicOptions, micros};
pub use page::{Item, Items, Page};
pub use pattern::{PatternError, PatternSegment, TopicPattern};
pub use record::{
    Headers, MAX_HEADERS, RECORD_OVERHEAD, RECORD_TIMESTAMP_AT, Record, RecordHead, RecordRef, Records,
};
pub use refusal::{Refusal, RefusalCode};
pub use time::Timestamp;
pub use version::Version;

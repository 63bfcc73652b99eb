//! The Zaichik wire protocol as data: bytes in, frames out, and back.
//!
//! This crate knows no socket, no topic and no clock. A stream of bytes goes through a [`Decoder`], which
//! yields frames that *borrow* from the caller's buffer; a frame is written with its `encode` method.
//! What each end may send is a type of its own: a [`ClientFrame`] goes to the broker, a [`ServerFrame`] comes
//! from it, and neither codec accepts the other's bytes. `docs/protocol.md` is the normative description.
//!
//! ```
//! use bytes::BytesMut;
//! use zaichik_proto::{ClientDecoder, ClientFrame, Commit, Limits};
//!
//! let mut wire = BytesMut::new();
//! ClientFrame::Commit(Commit { request: 7, subscription: 1, offset: 41, quiet: false }).encode(&mut wire);
//!
//! let mut decoder = ClientDecoder::new(&Limits::default());
//! let (frame, taken) = decoder.decode(&wire)?.expect("the whole frame is there");
//! assert!(matches!(frame, ClientFrame::Commit(commit) if commit.offset == 41));
//! assert_eq!(taken, wire.len());
//! # Ok::<(), zaichik_proto::ProtocolError>(())
//! ```

#![no_std]

extern crate alloc;

mod codec;
mod decode;
mod describe;
mod error;
mod frame;
mod header;
mod limits;
mod list;
mod name;
mod options;
mod peek;
mod read;
mod record;
mod refusal;
mod time;

pub use decode::{ClientDecoder, Decoder, FromClient, FromServer, ServerDecoder, Side};
pub use describe::{Counter, CounterValue, Item, Items, Page, Subject, SubscriptionItem, TopicItem};
pub use error::{FaultCode, ProtocolError, ProtocolFault};
pub use frame::client::{
    AckLevel, AlterTopic, Batch, ClientFrame, Commit, CreateTopic, Describe, Durable, Hello, Nack,
    OnConflict, Operation, Operations, OperationsBuilder, Producer, Publish, RemoveDurable, Seek, SeekTarget,
    Start, Subscribe, Unsubscribe,
};
pub use frame::server::{
    Acks, Batched, Counters, Delivery, DeliveryHead, Done, Fatal, Fenced, Gap, GapReason, Goodbye,
    GoodbyeReason, Published, Refused, ServerFrame, Subscribed, TopicReady, TopicStatus, Unsubscribed,
    Welcome,
};
pub use header::{FrameHeader, HEADER_LEN, MAGIC, PROTOCOL_VERSION};
pub use limits::Limits;
pub use list::{AckRun, BatchDuplicate, BatchResult, Duplicate, Entry, List};
pub use name::{MAX_NAME_LEN, NameError, TopicName};
pub use options::{CompactionMode, Overflow, SettingNames, TopicOptions, micros};
pub use peek::{PlainPublishes, RecordHead};
pub use record::{
    Headers, MAX_HEADERS, RECORD_OVERHEAD, RECORD_TIMESTAMP_AT, Record, RecordError, RecordRef, Records,
};
pub use refusal::{Refusal, RefusalCode};
pub use time::Timestamp;

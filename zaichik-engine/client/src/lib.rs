//! The Zaichik client as a pure state machine: requests, bytes and time in, answers, messages and bytes out.
//!
//! A [`Client`] uses no socket, task, clock or random number; their results are passed in as arguments. It survives its
//! connections: it reconnects, restores subscriptions and resends unanswered requests under their sequence numbers, so
//! that a publish takes effect exactly once. The broker's side is the crate `zaichik-engine`; neither depends on the
//! other.

// The modules, from the public API down:
//
// client         the methods for drivers and applications; its submodules hold one kind of call each
// outcomes       the effects of answers, refusals and lost connections on requests and subscriptions together
// requests       from call to answer: the table, the send queue, the producer's sequence numbers, resending
// subscriptions  all subscriptions; subscription has a single one: its buffer, its position, its rewinds
// connection     the state of the connection and when to reopen it; heartbeat measures the broker's silence
// inbound, outbound, encoder   bytes received, bytes to send, the encoded frames that requests keep
// The other modules hold the values that applications see, one kind each.

mod answer;
mod backoff;
mod batch;
mod client;
mod config;
mod connection;
mod encoder;
mod error;
mod event;
mod heartbeat;
mod inbound;
mod info;
mod members;
mod outbound;
mod outcomes;
mod pattern_event;
mod planted;
mod requests;
mod size;
mod subscription;
mod subscriptions;

pub use answer::{
    Answer, BatchReceipt, Hold, PatternStart, PublishReceipt, RequestId, SubscriptionId, SubscriptionStart,
    TrimReceipt,
};
pub use batch::Batch;
pub use client::Client;
pub use config::{
    ClientConfig, DurableOptions, PatternOptions, ProducerIdentity, PublishOptions, SharedOptions,
    SubscribeOptions,
};
pub use connection::Link;
pub use error::{ErrorClass, LinkError, RequestError, Violation};
pub use event::{Event, Message, MessageHeaders};
pub use info::{SubscriptionInfo, TopicInfo};
pub use members::{MemberInfo, SharedInfo};
pub use outbound::Outbound;
pub use pattern_event::PatternEvent;
#[cfg(feature = "planted")]
pub use planted::{Defect, plant};
pub use zaichik_proto::{OffsetRange, Timestamp};

/// The program of this crate's README, compiled and run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

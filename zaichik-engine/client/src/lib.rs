//! The Zaichik client as a pure state machine: requests, bytes and time in, answers, messages and bytes out.
//!
//! A [`Client`] knows no socket, task, clock or random number; all of them come in as arguments. It survives its
//! connections: it reconnects, restores subscriptions and resends unanswered requests under their numbers, so that a
//! publish takes effect exactly once. The broker's side is the crate `zaichik-engine`; neither depends on the other.

mod client;
mod outbound;
mod planted;

pub use client::{
    Answer, Batch, BatchReceipt, Client, ClientConfig, DurableOptions, ErrorClass, Event, Link, LinkError,
    Message, MessageHeaders, ProducerIdentity, PublishOptions, PublishReceipt, RequestError, RequestId,
    SubscribeOptions, SubscriptionId, SubscriptionInfo, SubscriptionStart, TopicInfo, Violation,
};
pub use outbound::Outbound;
#[cfg(feature = "planted")]
pub use planted::{Defect, plant};
pub use zaichik_proto::Timestamp;

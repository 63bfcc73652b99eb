//! The Zaichik broker and client as pure state machines.

mod client;
#[allow(dead_code, reason = "used by the machines")]
mod outbound;
mod time;

pub use client::{
    Answer, Client, ClientConfig, ClientError, ErrorClass, Incoming, Link, Message, MessageHeaders,
    PublishOptions, PublishReceipt, RequestError, RequestId, SubscribeOptions, SubscriptionId,
    SubscriptionStart, Violation,
};
pub use outbound::Outbound;
pub use time::Timestamp;

//! The one loop between Zaichik's state machines and a byte stream, for any async runtime.
//!
//! A runtime supplies byte streams, a listener and a timer ([`Runtime`]); this crate supplies the rest: a broker
//! behind a listener ([`Server`]) or inside a program ([`Embedded`]), and a [`Client`] for both. Programs use it
//! through a crate that names the runtime, such as `zaichik-tokio`.

mod alarm;
mod client;
mod clock;
mod connection;
mod embedded;
mod housekeeping;
mod local;
#[cfg(test)]
mod manual;
mod runtime;
mod server;
mod shared;
mod spare;
mod tasks;

pub use client::{
    Client, ClientBuilder, ClientError, Delivery, Incoming, Outgoing, Publisher, Subscribe, Subscription,
};
pub use clock::Clock;
pub use embedded::{Embedded, ServerError, ServerHandle, default_config};
pub use local::LocalIo;
pub use runtime::{Io, Listener, Runtime, Timer};
pub use server::Server;

pub use zaichik_engine::{
    BrokerConfig, ClientConfig, ConfigError, ErrorClass, LinkError, Message, MessageHeaders, PublishOptions,
    PublishReceipt, RequestError, Stats, Timestamp, TopicSettings, Violation,
};
pub use zaichik_proto::{
    AckLevel, CompactionMode, Duplicate, FaultCode, GapReason, Limits, NameError, Overflow, ProtocolError,
    RecordError, Refusal, RefusalCode, Start, TopicOptions, TopicStatus,
};

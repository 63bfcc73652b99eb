//! The one loop between Zaichik's state machines and a byte stream, for any async runtime.
//!
//! A runtime supplies byte streams, a listener and a timer ([`Runtime`]); this crate supplies the rest: a broker
//! behind a listener ([`Server`]) or inside a program ([`EmbeddedBroker`]), and a [`Client`] for both. Programs use it
//! through a crate that names the runtime, such as `zaichik-tokio`.

mod alarm;
mod client;
mod clock;
mod connection;
mod embedded;
mod endpoint;
mod futures_io;
mod futures_listener;
#[cfg(all(test, feature = "shuttle"))]
mod hand_off;
mod housekeeping;
mod local;
#[cfg(test)]
mod manual;
mod runtime;
mod server;
mod shared;
mod spare;
mod sync;
mod system_clock;
mod tasks;
#[cfg(unix)]
mod unix_socket;

pub use client::{
    BrokerInfo, Client, ClientBuilder, ClientError, Delivery, Event, Losses, OnLoss, Outgoing,
    PendingReceipt, Publish, Publisher, Subscribe, Subscription, Transaction, UnacknowledgedPublish,
};
pub use clock::Clock;
pub use embedded::{BrokerHandle, EmbeddedBroker, ServerError};
pub use endpoint::Endpoint;
pub use futures_io::FuturesIo;
pub use futures_listener::FuturesListener;
pub use local::LocalIo;
pub use runtime::{Io, Listener, Runtime, Timer};
pub use server::Server;
#[cfg(unix)]
pub use unix_socket::UnixSocket;

pub use zaichik_client::{
    BatchReceipt, ClientConfig, DurableOptions, ErrorClass, LinkError, Message, MessageHeaders,
    ProducerIdentity, PublishReceipt, RequestError, SubscriptionId, SubscriptionInfo, TopicInfo, Violation,
};
pub use zaichik_engine::{BrokerConfig, ConfigError, Stats, Timestamp, TopicSettings};
pub use zaichik_proto::{
    CompactionMode, Counter, CounterValue, Duplicate, FaultCode, GapReason, Limits, NameError, OnConflict,
    Overflow, ProtocolError, ProtocolFault, RecordError, Refusal, RefusalCode, Start, TopicOptions,
    TopicStatus,
};

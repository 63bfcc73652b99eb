//! The loop between Zaichik's state machines and a byte stream, for any async runtime.
//!
//! A runtime supplies byte streams, a listener and a timer ([`Runtime`]); this crate adds a broker behind a
//! listener ([`Server`]) or inside a program ([`EmbeddedBroker`]), and a [`Client`] for both. Programs use it
//! through a crate that names the runtime, such as `zaichik-tokio`.
//!
//! # Features
//!
//! Both are on by default. A program that needs no broker can turn `server` off, and then does not compile one.
//!
//! - `client`: [`Client`], with the state machine of `zaichik-client`.
//! - `server`: [`Server`] and [`EmbeddedBroker`], with the state machine of `zaichik-engine`.

#[cfg(any(feature = "client", feature = "server"))]
mod alarm;
#[cfg(feature = "client")]
mod client;
mod clock;
mod connect;
mod endpoint;
mod futures_io;
mod futures_listener;
#[cfg(test)]
#[cfg(all(feature = "client", feature = "server", feature = "shuttle"))]
mod hand_off;
mod local;
#[cfg(test)]
#[cfg(feature = "server")]
mod manual;
#[cfg(any(feature = "client", feature = "server"))]
mod planted;
mod runtime;
#[cfg(feature = "server")]
mod server;
mod sync;
mod system_clock;
#[cfg(any(feature = "client", feature = "server"))]
mod timeline;
#[cfg(unix)]
mod unix_socket;
#[cfg(unix)]
mod unsent;

#[cfg(feature = "client")]
pub use client::{
    BrokerInfo, Client, ClientBuilder, ClientError, Delivery, Losses, OnLoss, Outgoing, PatternSubscription,
    PendingReceipt, Publish, Publisher, Subscribe, SubscribePattern, Subscription, Transaction,
    UnacknowledgedPublish,
};
pub use clock::Clock;
pub use connect::connect_to_any;
pub use endpoint::Endpoint;
pub use futures_io::FuturesIo;
pub use futures_listener::FuturesListener;
pub use local::LocalIo;
#[cfg(all(feature = "planted", any(feature = "client", feature = "server")))]
pub use planted::{Defect, plant};
pub use runtime::{Io, Listener, Runtime, Timer};
#[cfg(feature = "server")]
pub use server::{BrokerHandle, EmbeddedBroker, Fetcher, Server, ServerError, Store, StoreError};
#[cfg(unix)]
pub use unix_socket::UnixSocket;
#[cfg(unix)]
pub use unsent::limit_unsent;

#[cfg(feature = "client")]
pub use zaichik_client::{
    BatchReceipt, ClientConfig, DurableOptions, ErrorClass, Event, LinkError, MemberInfo, Message,
    MessageHeaders, PatternEvent, ProducerIdentity, PublishReceipt, RequestError, SharedInfo, SharedOptions,
    SubscriptionId, SubscriptionInfo, TopicInfo, TrimReceipt, Violation,
};
#[cfg(feature = "server")]
pub use zaichik_engine::{BrokerConfig, ConfigError, Declared, Stats, TopicSettings};
pub use zaichik_proto::{
    CompactionMode, Counter, CounterValue, Duplicate, FaultCode, GapReason, Limits, NameError, OnConflict,
    Overflow, PatternError, ProtocolError, ProtocolFault, RecordError, Refusal, RefusalCode, Start,
    Timestamp, TopicName, TopicOptions, TopicPattern, TopicStatus,
};

/// The program of this crate's README, compiled and run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

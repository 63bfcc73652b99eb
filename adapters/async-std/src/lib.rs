//! The Zaichik broker and client on async-std.
//!
//! async-std is discontinued ([RUSTSEC-2025-0052](https://rustsec.org/advisories/RUSTSEC-2025-0052)): this crate
//! is for programs that still run on it. On smol, the same code runs with the short adapter in `examples/smol`.
//!
//! A broker and a client in one program:
//!
//! ```
//! use std::time::Duration;
//! use zaichik_async_std::{BrokerConfig, Client, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # async_std::task::block_on(async {
//! let server = Server::bind("127.0.0.1:0", BrokerConfig::default()).await?;
//! let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
//! let serving = async_std::task::spawn(server.serve());
//!
//! let client = Client::connect(&address).await?;
//! let mut subscription = client.subscribe("greetings").await?;
//! client.publish("greetings", "hello").await?;
//! let message = subscription.next_message().await?.expect("the subscription continues");
//! assert_eq!(message.body, "hello");
//! message.commit().await?;
//! client.close().await?;
//!
//! handle.shutdown(Duration::from_secs(1));
//! serving.await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! [`EmbeddedBroker::start`] and [`client`](EmbeddedBroker::client) do the same without a socket.

mod io;

use std::future::Future;

pub use io::{AsyncStdIo, AsyncStdListener, AsyncStdStream, AsyncStdTimer};
#[cfg(feature = "client")]
pub use zaichik_driver::{
    BatchReceipt, BrokerInfo, ClientConfig, ClientError, Delivery, DurableOptions, ErrorClass, Event,
    LinkError, Losses, MemberInfo, Message, MessageHeaders, OnLoss, Outgoing, PatternEvent,
    PatternSubscription, PendingReceipt, ProducerIdentity, Publish, PublishReceipt, Publisher, RequestError,
    SharedInfo, SharedOptions, Subscribe, SubscribePattern, Subscription, SubscriptionId, SubscriptionInfo,
    TopicInfo, Transaction, TrimReceipt, UnacknowledgedPublish, Violation,
};
#[cfg(feature = "server")]
pub use zaichik_driver::{
    BrokerConfig, BrokerHandle, ConfigError, Declared, ServerError, Stats, Store, StoreError, TopicSettings,
};
pub use zaichik_driver::{
    Clock, CompactionMode, Counter, CounterValue, Duplicate, Endpoint, FaultCode, FuturesIo, FuturesListener,
    GapReason, Io, Limits, Listener, LocalIo, NameError, OnConflict, Overflow, PatternError, ProtocolError,
    ProtocolFault, RecordError, Refusal, RefusalCode, Runtime, Start, Timer, Timestamp, TopicName,
    TopicOptions, TopicPattern, TopicStatus,
};

#[cfg(feature = "storage")]
pub use zaichik_storage::{Continuity, StorageError};

/// The async-std runtime: one for the whole process, started when it is first needed.
#[derive(Debug, Clone, Copy)]
pub struct AsyncStd;

/// A broker that listens on sockets.
#[cfg(feature = "server")]
pub type Server = zaichik_driver::Server<AsyncStd>;

/// A broker inside the program.
#[cfg(feature = "server")]
pub type EmbeddedBroker = zaichik_driver::EmbeddedBroker<AsyncStd>;

/// A directory in which a broker keeps its state.
#[cfg(feature = "storage")]
pub type Storage = zaichik_storage::Storage<AsyncStd>;

/// A client of a broker; it reconnects automatically.
#[cfg(feature = "client")]
pub type Client = zaichik_driver::Client<AsyncStd>;

/// Configures a client.
#[cfg(feature = "client")]
pub type ClientBuilder = zaichik_driver::ClientBuilder<AsyncStd>;

impl Runtime for AsyncStd {
    type Io = AsyncStdIo;
    type Listener = AsyncStdListener;
    type Timer = AsyncStdTimer;

    async fn connect(address: &str) -> std::io::Result<AsyncStdIo> {
        io::connect(address).await
    }

    async fn bind(address: &str) -> std::io::Result<AsyncStdListener> {
        io::bind(address).await
    }

    fn timer() -> AsyncStdTimer {
        AsyncStdTimer::default()
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        // The handle is not needed: tasks end without it, and are counted where their end matters.
        drop(async_std::task::spawn(future));
    }
}

/// The program of the README, compiled and run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

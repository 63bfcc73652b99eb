//! The Zaichik broker and client on tokio.
//!
//! A broker and a client in one program:
//!
//! ```
//! use std::time::Duration;
//! use zaichik_tokio::{BrokerConfig, Client, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind("127.0.0.1:0", BrokerConfig::default()).await?;
//! let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
//! let serving = tokio::spawn(server.serve());
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
//! serving.await??;
//! # Ok(())
//! # }
//! ```
//!
//! [`EmbeddedBroker::start`] and [`client`](EmbeddedBroker::client) do the same without a socket.
//!
//! # Storage
//!
//! A broker keeps its state in memory, unless it has a directory. Then what it has answered is there after any end of the
//! process; [`Server::listen`] gives such a broker sockets.
//!
//! ```
//! use std::time::Duration;
//! use zaichik_tokio::{BrokerConfig, Storage, TopicOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("zaichik-tokio-{}", std::process::id()));
//! let broker = Storage::new(&dir).start(BrokerConfig::default()).await?;
//! let client = broker.client();
//! client.create_topic("orders", TopicOptions::new().retain_forever()).await?;
//! client.publish("orders", "three carrots").await?;
//! client.close().await?;
//! broker.shutdown(Duration::from_secs(1)).await?;
//!
//! let broker = Storage::new(&dir).start(BrokerConfig::default()).await?;
//! assert_eq!(broker.client().topic("orders").await?.messages, 1);
//! broker.shutdown(Duration::ZERO).await?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Tests
//!
//! Time is tokio's. In a test that pauses it (tokio's feature `test-util`), an [`EmbeddedBroker`] and its clients do not
//! sleep: an hour passes as soon as every task waits.
//!
//! ```
//! use std::time::Duration;
//! use zaichik_tokio::{BrokerConfig, EmbeddedBroker, TopicOptions};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = EmbeddedBroker::start(BrokerConfig::default())?;
//! let client = broker.client();
//! client.create_topic("carts", TopicOptions::new().retention_ttl(Duration::from_hours(1))).await?;
//! client.publish("carts", "three carrots").await?;
//! assert_eq!(client.subscribe("carts").await?.start(), 0);
//!
//! tokio::time::sleep(Duration::from_hours(1)).await;
//! assert_eq!(client.subscribe("carts").await?.start(), 1, "the cart has expired");
//! # Ok(())
//! # }
//! ```
//!
//! In such a test use a broker without a socket: paused time advances while bytes are in transit in a real socket. Let
//! time pass with `tokio::time::sleep`, which stops at every timer on the way. `tokio::time::advance` jumps: a jump of more
//! than 2 s looks like a process that was stopped, which heartbeats and the delays of nacks do not count. Below a
//! millisecond, only `advance` is exact.

mod io;

use std::future::Future;
use std::time::{Instant, SystemTime};

pub use io::{TokioIo, TokioListener, TokioTimer};
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
    Clock, CompactionMode, Counter, CounterValue, Duplicate, Endpoint, FaultCode, GapReason, Io, Limits,
    Listener, LocalIo, NameError, OnConflict, Overflow, PatternError, ProtocolError, ProtocolFault,
    RecordError, Refusal, RefusalCode, Runtime, Start, Timer, Timestamp, TopicName, TopicOptions,
    TopicPattern, TopicStatus,
};

#[cfg(feature = "storage")]
pub use zaichik_storage::{Continuity, StorageError};

/// The tokio runtime. Tasks run in the runtime of the caller.
#[derive(Debug, Clone, Copy)]
pub struct Tokio;

/// A broker that listens on sockets.
#[cfg(feature = "server")]
pub type Server = zaichik_driver::Server<Tokio>;

/// A broker inside the program.
#[cfg(feature = "server")]
pub type EmbeddedBroker = zaichik_driver::EmbeddedBroker<Tokio>;

/// A directory in which a broker keeps its state.
#[cfg(feature = "storage")]
pub type Storage = zaichik_storage::Storage<Tokio>;

/// A client of a broker; it reconnects automatically.
#[cfg(feature = "client")]
pub type Client = zaichik_driver::Client<Tokio>;

/// Configures a client.
#[cfg(feature = "client")]
pub type ClientBuilder = zaichik_driver::ClientBuilder<Tokio>;

impl Runtime for Tokio {
    type Io = TokioIo;
    type Listener = TokioListener;
    type Timer = TokioTimer;

    async fn connect(address: &str) -> std::io::Result<TokioIo> {
        TokioIo::connect(address).await
    }

    async fn bind(address: &str) -> std::io::Result<TokioListener> {
        TokioListener::bind(address).await
    }

    fn timer() -> TokioTimer {
        TokioTimer::default()
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        // The handle is not needed: tasks end without it, and are counted where their end matters.
        drop(tokio::spawn(future));
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// The operating system's wall clock; while tokio's time is paused, it has the same pauses and jumps.
    #[expect(clippy::disallowed_methods, reason = "tokio has no wall clock of its own")]
    fn wall_clock() -> SystemTime {
        // In this order an interruption makes the wall clock too early, which has no effect, and never too late.
        let (wall, real, tokio) = (SystemTime::now(), Instant::now(), Self::now());
        let wall = wall.checked_add(tokio.saturating_duration_since(real)).unwrap_or(wall);
        wall.checked_sub(real.saturating_duration_since(tokio)).unwrap_or(wall)
    }
}

/// The programs of the README, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The programs of the Russian README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.ru.md")]
struct RussianReadme;

/// The programs of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide.md")]
struct Guide;

/// The program of this crate's README, compiled and run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct PackageReadme;

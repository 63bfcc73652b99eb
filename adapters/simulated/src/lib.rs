//! The Zaichik broker and client in simulated time, for tests: no sockets, no sleeping, no runtime.
//!
//! A [`Simulation`] runs a program and everything that it starts on one thread. Simulated time passes only when no task
//! can run, and then jumps to the next timer, so an hour passes instantly. Time is exact to the nanosecond, and every run
//! of a program is the same.
//!
//! ```
//! use std::time::Duration;
//! use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, TopicOptions, sleep};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! Simulation::new().run(async {
//!     let broker = EmbeddedBroker::start(BrokerConfig::default())?;
//!     let client = broker.client();
//!     client.create_topic("carts", TopicOptions::new().retention_ttl(Duration::from_hours(1))).await?;
//!     client.publish("carts", "three carrots").await?;
//!
//!     sleep(Duration::from_hours(1) - Duration::from_micros(1)).await;
//!     assert_eq!(client.subscribe("carts").await?.start(), 0, "the cart is live");
//!     sleep(Duration::from_micros(1)).await;
//!     assert_eq!(client.subscribe("carts").await?.start(), 1, "the cart has expired");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! A seed decides the order of tasks that can run at the same time. Many seeds ([`Simulation::with_seed`]) try
//! many orders, and a failure can be reproduced with its seed.
//!
//! [`Server`] and [`Client::connect`](zaichik_driver::Client::connect) work too, over a simulated network whose
//! connections [`break_connections`] breaks. A simulation does not wait for real sockets, threads or clocks. A program
//! that runs on tokio can be tested with tokio's paused time instead; see `zaichik-tokio`.

mod executor;
mod network;
mod program;
mod random;
mod simulation;
mod time;

use std::future::Future;
use std::io;
use std::time::{Instant, SystemTime};

pub use network::{SimulatedIo, SimulatedListener};
pub use program::{
    Sleep, Task, break_connections, now, set_clock_back, sleep, spawn, stop_process, suspend_machine, timeout,
};
pub use simulation::Simulation;
pub use time::SimulatedTimer;
pub use zaichik_driver::{
    BatchReceipt, BrokerInfo, ClientConfig, ClientError, Delivery, DurableOptions, ErrorClass, Event,
    LinkError, Losses, MemberInfo, Message, MessageHeaders, OnLoss, Outgoing, PatternEvent,
    PatternSubscription, PendingReceipt, ProducerIdentity, Publish, PublishReceipt, Publisher, RequestError,
    SharedInfo, SharedOptions, Subscribe, SubscribePattern, Subscription, SubscriptionId, SubscriptionInfo,
    TopicInfo, Transaction, TrimReceipt, UnacknowledgedPublish, Violation,
};
pub use zaichik_driver::{
    BrokerConfig, BrokerHandle, ConfigError, Declared, ServerError, Stats, TopicSettings,
};
pub use zaichik_driver::{
    Clock, CompactionMode, Counter, CounterValue, Duplicate, Endpoint, FaultCode, GapReason, Io, Limits,
    Listener, LocalIo, NameError, OnConflict, Overflow, PatternError, ProtocolError, ProtocolFault,
    RecordError, Refusal, RefusalCode, Runtime, Start, Timer, Timestamp, TopicName, TopicOptions,
    TopicPattern, TopicStatus,
};

/// The runtime of the [`Simulation`] that runs on this thread.
///
/// # Panics
/// Everything but [`now`](Runtime::now) panics outside [`Simulation::run`]; there, `now` returns the time at which the
/// thread's last simulation stopped.
///
/// ```
/// use zaichik_simulated::{Runtime, Simulated, Simulation};
/// Simulation::new().run(async {
///     let (begin, end) = (Simulated::now(), Simulated::now());
///     assert_eq!(begin, end, "no time passes while a task can run");
/// });
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Simulated;

/// A broker that listens on a port of the simulated network.
///
/// ```
/// use zaichik_simulated::{BrokerConfig, Client, Server, Simulation, spawn};
/// Simulation::new().run(async {
///     let server = Server::bind("broker:8889", BrokerConfig::default()).await.unwrap();
///     let serving = spawn(server.serve());
///     let client = Client::connect("broker:8889").await.unwrap();
///     client.publish("jobs", "sweep the yard").await.unwrap();
///     drop(serving);
/// });
/// ```
pub type Server = zaichik_driver::Server<Simulated>;

/// A broker inside the program.
pub type EmbeddedBroker = zaichik_driver::EmbeddedBroker<Simulated>;

/// A client of a broker; it reconnects automatically.
pub type Client = zaichik_driver::Client<Simulated>;

/// Configures a client.
pub type ClientBuilder = zaichik_driver::ClientBuilder<Simulated>;

impl Runtime for Simulated {
    type Io = SimulatedIo;
    type Listener = SimulatedListener;
    type Timer = SimulatedTimer;

    /// Opens a connection within the simulation; all hosts are the same, only the port matters.
    async fn connect(address: &str) -> io::Result<SimulatedIo> {
        executor::current().network().connect(address)
    }

    /// Listens within the simulation; all hosts are the same, only the port matters.
    async fn bind(address: &str) -> io::Result<SimulatedListener> {
        SimulatedListener::bind(executor::current().network(), address)
    }

    fn timer() -> SimulatedTimer {
        SimulatedTimer::new(executor::current().time())
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        executor::current().spawn(future);
    }

    fn now() -> Instant {
        now()
    }

    /// January 1, 2000, plus the time elapsed in the simulation and the time for which its machine was suspended.
    fn wall_clock() -> SystemTime {
        executor::current().time().wall_clock()
    }

    fn random() -> io::Result<u128> {
        Ok(executor::current().random())
    }
}

/// The program of this crate's README, compiled and run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

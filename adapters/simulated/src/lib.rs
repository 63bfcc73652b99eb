//! The Zaichik broker and client in simulated time, for tests: no sockets, no sleeping, no runtime.
//!
//! A [`Simulation`] runs a program and everything that it starts on one thread. Its time passes only when nobody can
//! run, and then jumps to the next timer, so that an hour takes no time; it is exact to the nanosecond, and the same
//! program does the same each time.
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
//!     assert_eq!(client.subscribe("carts").await?.start(), 0, "the cart is there");
//!     sleep(Duration::from_micros(1)).await;
//!     assert_eq!(client.subscribe("carts").await?.start(), 1, "the cart has expired");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! What can run at the same moment runs in an order that is drawn from a seed: [`Simulation::with_seed`] with many seeds
//! tries many orders, and one that fails can be tried again.
//!
//! [`Server`] and [`Client::connect`](zaichik_driver::Client::connect) work too, over a network that exists within the
//! simulation only; [`break_connections`] breaks it. Real sockets, threads and clocks are outside: a simulation does not
//! wait for them. A program that runs on tokio can be tested with its paused time instead, see `zaichik-tokio`.

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
pub use program::{Sleep, Task, break_connections, now, sleep, spawn, timeout};
pub use simulation::Simulation;
pub use time::SimulatedTimer;
pub use zaichik_driver::{
    BatchReceipt, BrokerInfo, ClientConfig, ClientError, Delivery, DurableOptions, ErrorClass, Event,
    LinkError, Losses, Message, MessageHeaders, OnLoss, Outgoing, PendingReceipt, ProducerIdentity, Publish,
    PublishReceipt, Publisher, RequestError, Subscribe, Subscription, SubscriptionId, SubscriptionInfo,
    TopicInfo, Transaction, UnacknowledgedPublish, Violation,
};
pub use zaichik_driver::{BrokerConfig, BrokerHandle, ConfigError, ServerError, Stats, TopicSettings};
pub use zaichik_driver::{
    Clock, CompactionMode, Counter, CounterValue, Duplicate, Endpoint, FaultCode, GapReason, Io, Limits,
    Listener, LocalIo, NameError, OnConflict, Overflow, ProtocolError, ProtocolFault, RecordError, Refusal,
    RefusalCode, Runtime, Start, Timer, Timestamp, TopicOptions, TopicStatus,
};

/// The runtime of the [`Simulation`] that runs on this thread.
///
/// # Panics
/// Outside of [`Simulation::run`], whatever starts something or draws a number; only the time can be read there: it
/// stands where it stood last on the thread.
///
/// ```
/// use zaichik_simulated::{Runtime, Simulated, Simulation};
/// Simulation::new().run(async {
///     let (begin, end) = (Simulated::now(), Simulated::now());
///     assert_eq!(begin, end, "no time passes while somebody can run");
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

/// A connection to a broker, which mends itself.
pub type Client = zaichik_driver::Client<Simulated>;

/// How to connect.
pub type ClientBuilder = zaichik_driver::ClientBuilder<Simulated>;

impl Runtime for Simulated {
    type Io = SimulatedIo;
    type Listener = SimulatedListener;
    type Timer = SimulatedTimer;

    /// Opens a connection within the simulation; only the port counts, all hosts are one.
    async fn connect(address: &str) -> io::Result<SimulatedIo> {
        executor::current().network().connect(address)
    }

    /// Listens within the simulation; only the port counts, all hosts are one.
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

    /// The first of January 2000 in each simulation, and what has passed in it since.
    fn wall_clock() -> SystemTime {
        executor::current().time().wall_clock()
    }

    fn random() -> io::Result<u128> {
        Ok(executor::current().random())
    }
}

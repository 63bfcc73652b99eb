//! A broker inside a program, without a socket.

use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use thiserror::Error;
use zaichik_engine::{Broker, BrokerConfig, ConfigError, Declared, Seed, Stats};
use zaichik_proto::{Counter, CounterValue, Refusal, TopicOptions};

use super::connection::Connection;
use super::housekeeping::Housekeeping;
use super::shared::{Poisoned, Shared};
use super::store::{Store, StoreError};
use super::{store_reader, storekeeper};
#[cfg(feature = "client")]
use crate::client::{Client, ClientBuilder};
use crate::local::LocalIo;
use crate::runtime::Runtime;
use crate::timeline::Timeline;

/// A broker that runs inside the program; its clients reach it through memory.
///
/// It owns no thread and no global state, so a program may have any number of them. Dropping it ends every
/// connection at once; [`shutdown`](Self::shutdown) lets connections finish their work.
///
/// ```
/// # use std::time::Duration;
/// # use zaichik_simulated::{BrokerConfig, Simulation};
/// # type EmbeddedBroker = zaichik_simulated::EmbeddedBroker; // or that of zaichik-tokio
/// # Simulation::new().run(async {
/// let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// let client = broker.client();
/// client.publish("jobs", "sweep the yard").await?;
/// assert_eq!(broker.stats()?.records_accepted, 1);
/// broker.shutdown(Duration::from_secs(1)).await?; // ready when all connections are closed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug)]
pub struct EmbeddedBroker<R: Runtime> {
    shared: Arc<Shared>,
    runtime: PhantomData<fn() -> R>,
}

/// Stops a broker from elsewhere in the program; cheap to clone.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// # use std::time::Duration;
/// let handle = broker.handle();
/// assert!(!handle.is_stopping());
/// handle.shutdown(Duration::from_secs(1)); // from a signal handler, say
/// assert!(handle.is_stopping());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    shared: Arc<Shared>,
}

/// Why a broker does not start, or has stopped.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, ServerError, Simulation};
/// # Simulation::new().run(async {
/// let mut config = BrokerConfig::default();
/// config.token = Some(Vec::new());
/// let error = EmbeddedBroker::start(config).expect_err("an empty token protects nothing");
/// assert!(matches!(error, ServerError::Config(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The runtime has no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[source] io::Error),
    /// The address can't be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The requested address.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A declared topic is refused (rule T8).
    #[error("the topic {topic:?} can't be declared: {refusal}")]
    Topic {
        /// The name of the topic.
        topic: String,
        /// Why it is refused.
        #[source]
        refusal: Refusal,
    },
    /// The broker failed; every connection was closed. Its last actions are in the log.
    #[error("the broker failed and closed every connection")]
    Failed,
    /// The store failed. Nothing that was waiting for it was answered, and every connection was closed.
    #[error("the store failed, and the broker closed every connection: {0}")]
    Store(#[source] StoreError),
    /// The operating system refused a thread for the store.
    #[error("cannot start a thread for the store: {0}")]
    Thread(#[source] io::Error),
}

impl<R: Runtime> EmbeddedBroker<R> {
    /// Starts a broker; call it where the runtime can spawn tasks.
    ///
    /// # Errors
    /// [`ServerError::Config`] if the configuration contradicts itself, [`ServerError::Random`] if the runtime has no
    /// random numbers.
    pub fn start(config: BrokerConfig) -> Result<Self, ServerError> {
        let random = || R::random().map_err(ServerError::Random);
        let broker = Broker::new(config, Seed::new(random()?, random()?))?;
        let shared = Shared::new(broker, Timeline::of::<R>());
        R::spawn(Housekeeping::new(R::timer(), &shared));
        Ok(Self { shared, runtime: PhantomData })
    }

    /// Starts a broker whose changes are given to a store: a new one, or one that
    /// [`Restore`](zaichik_engine::Restore) built from the store's rows. Answers and records leave when the store has what
    /// they depend on (rule B6). The store runs on two threads of its own: one for commits, one that reads records back.
    ///
    /// # Errors
    /// [`ServerError::Thread`] if there can be no thread, [`ServerError::Store`] if the store cannot be read from.
    pub fn start_with(mut broker: Broker, mut store: Box<dyn Store>) -> Result<Self, ServerError> {
        broker.begin_storing();
        let fetcher = store.fetcher().map_err(ServerError::Store)?;
        let shared = Shared::new(broker, Timeline::of::<R>());
        store_reader::start(&shared, fetcher).map_err(ServerError::Thread)?;
        // The other thread would wait for a broker that does not exist.
        storekeeper::start(&shared, store)
            .map_err(ServerError::Thread)
            .inspect_err(|_| shared.end_store())?;
        R::spawn(Housekeeping::new(R::timer(), &shared));
        Ok(Self { shared, runtime: PhantomData })
    }

    /// Declares a topic (rule T8): creates it or, if it was created by its first use, gives it these settings. Settings
    /// that are left out are the broker's defaults. An explicit topic with other settings stays as it is, unless `alter`
    /// is set. Call it before clients can connect.
    ///
    /// ```
    /// # use zaichik_simulated::{BrokerConfig, Declared, EmbeddedBroker, Simulation, TopicOptions};
    /// # Simulation::new().run(async {
    /// let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    /// let orders = TopicOptions::new().retain_forever();
    /// assert_eq!(broker.declare_topic("orders", orders, false)?, Declared::Created);
    /// broker.declare_topic("orders", orders.max_messages(9), false).expect_err("the settings differ");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// [`ServerError::Topic`] if it is refused, with `SettingsDiffer` if the settings differ; [`ServerError::Failed`] if
    /// the broker failed.
    pub fn declare_topic(
        &self,
        name: &str,
        options: TopicOptions,
        alter: bool,
    ) -> Result<Declared, ServerError> {
        let declared = self.shared.declare_topic(name, &options, alter)?;
        declared.map_err(|refusal| ServerError::Topic { topic: name.to_owned(), refusal })
    }

    /// A client of this broker, with defaults for everything.
    #[cfg(feature = "client")]
    #[must_use]
    pub fn client(&self) -> Client<R> {
        self.client_builder().start()
    }

    /// A client of this broker, to be configured.
    #[cfg(feature = "client")]
    pub fn client_builder(&self) -> ClientBuilder<R> {
        let broker = Arc::downgrade(&self.shared);
        ClientBuilder::local(Arc::new(move || connect::<R>(&broker)))
    }

    /// A byte stream to this broker, for programs that speak the protocol without this crate's client.
    ///
    /// # Errors
    /// The broker is stopping, or failed.
    pub fn stream(&self) -> io::Result<LocalIo> {
        connect::<R>(&Arc::downgrade(&self.shared))
    }

    /// A handle that stops this broker from elsewhere.
    #[must_use]
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle { shared: Arc::clone(&self.shared) }
    }

    /// The broker's counters.
    ///
    /// # Errors
    /// [`ServerError::Failed`] after the broker failed.
    pub fn stats(&self) -> Result<Stats, ServerError> {
        self.shared.inspect(|broker| *broker.stats()).map_err(ServerError::from)
    }

    /// Stops the broker: connections finish their work and are closed when `grace` is over; ready when all are closed.
    ///
    /// # Errors
    /// [`ServerError::Failed`] if the broker failed before.
    pub async fn shutdown(self, grace: Duration) -> Result<(), ServerError> {
        self.shared.drain(grace);
        self.stopped().await
    }

    /// Ready when the broker has stopped and all its tasks have ended.
    pub(crate) async fn stopped(&self) -> Result<(), ServerError> {
        let tasks = self.shared.tasks();
        poll_fn(|cx| if tasks.none(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
        if let Some(error) = self.shared.store_error() {
            return Err(ServerError::Store(error));
        }
        self.shared.is_stopping().map(drop).map_err(ServerError::from)
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl<R: Runtime> Drop for EmbeddedBroker<R> {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl BrokerHandle {
    /// Asks the broker to stop: it accepts no new connections, and the open ones finish their work and are closed when
    /// `grace` is over. A later call can shorten `grace`, but not lengthen it.
    pub fn shutdown(&self, grace: Duration) {
        self.shared.drain(grace);
    }

    /// Whether the broker was asked to stop, or failed.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping() != Ok(false)
    }

    /// The broker's counters, as clients see them in `Client::broker_info`, in the order of their codes. They are told at
    /// once, even while a client's answers wait for the store.
    ///
    /// # Errors
    /// [`ServerError::Failed`] after the broker failed.
    pub fn counters(&self) -> Result<Vec<CounterValue>, ServerError> {
        self.shared.inspect(|broker| broker.counters().collect()).map_err(ServerError::from)
    }

    /// Sets a counter that only the surrounding program knows, such as its processor time. Other counters do not
    /// change. Clients see it in `Client::broker_info`.
    pub fn report(&self, counter: Counter, value: u64) {
        // A failed broker answers no more requests.
        let _ = self.shared.update(|broker| broker.report(counter, value));
    }
}

impl From<Poisoned> for ServerError {
    fn from(_: Poisoned) -> Self {
        Self::Failed
    }
}

/// A new connection to a broker in this program.
///
/// # Errors
/// The broker is gone or stopping.
fn connect<R: Runtime>(broker: &Weak<Shared>) -> io::Result<LocalIo> {
    let refused =
        || io::Error::new(io::ErrorKind::ConnectionRefused, "the broker in this program has stopped");
    let shared = broker.upgrade().ok_or_else(refused)?;
    let accepted = shared.accept().map_err(io::Error::other)?.ok_or_else(refused)?;
    let (here, there) = LocalIo::pair();
    R::spawn(Connection::new(there, "local", R::timer(), accepted, &shared));
    Ok(here)
}

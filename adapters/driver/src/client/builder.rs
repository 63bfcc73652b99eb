//! Configures a client and starts it.

use std::marker::PhantomData;
use std::time::Duration;

use zaichik_client::{ClientConfig, ProducerIdentity};

use super::Client;
use super::core::{Core, Owner};
use super::error::ClientError;
#[cfg(feature = "server")]
use super::target::OpenLocal;
use super::target::Target;
use super::task::Task;
use crate::runtime::Runtime;
use crate::timeline::Timeline;

/// A client's configuration and the address of its broker.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
/// let client = broker
///     .client_builder() // over a socket: Client::builder("127.0.0.1:8889")
///     .name("billing")
///     .max_in_flight(64)
///     .connect()
///     .await?;
/// client.ping().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug)]
#[must_use = "nothing happens before connect or start"]
pub struct ClientBuilder<R: Runtime> {
    config: ClientConfig,
    target: Target,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> ClientBuilder<R> {
    /// A client of the broker at `address` (`host:port`, or `zaichik://host:port`).
    pub fn new(address: &str) -> Self {
        let address = address.strip_prefix("zaichik://").unwrap_or(address);
        Self::to(Target::Remote(address.into()))
    }

    /// A client of a broker in this program.
    #[cfg(feature = "server")]
    pub(crate) fn local(open: OpenLocal) -> Self {
        Self::to(Target::Local(open))
    }

    fn to(target: Target) -> Self {
        // Jitter spreads the reconnects of clients that lost the same broker. A fixed seed only spreads them less.
        let seed = R::random().ok().and_then(|random| u64::try_from(random >> 64).ok()).unwrap_or(0);
        let mut config = ClientConfig::new(seed);
        // Without a random producer id nothing is resent: a broken connection leaves the outcome of its requests unknown.
        config.producer = R::random().ok().map(ProducerIdentity::new);
        Self { config, target, runtime: PhantomData }
    }

    /// The client's name in the broker's log, truncated to 255 bytes. Default: empty.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// The token that the broker requires, at most 1,024 bytes. Default: none.
    pub fn token(mut self, token: impl Into<Vec<u8>>) -> Self {
        self.config.token = token.into();
        self
    }

    /// The identity under which messages are published, so that a resent message is stored once (rule P3).
    /// Default: a random one for this client. A program that assigns its own sequence numbers passes its identity and the
    /// next number. With `None`, the outcome of unanswered messages is unknown when a connection breaks.
    pub const fn producer(mut self, producer: Option<ProducerIdentity>) -> Self {
        self.config.producer = producer;
        self
    }

    /// Whether to reconnect when the connection breaks. Default: yes.
    pub const fn reconnect(mut self, reconnect: bool) -> Self {
        self.config.reconnect = reconnect;
        self
    }

    /// Whether to retry the first connection too. Default: no, a wrong address is an error.
    pub const fn retry_first_connect(mut self, retry: bool) -> Self {
        self.config.retry_first_connect = retry;
        self
    }

    /// How long closing waits for outstanding answers. Default 10 s.
    pub const fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.config.drain_timeout = timeout;
        self
    }

    /// Maximum unanswered requests; further ones wait. Default 1,024, at most 65,536.
    pub const fn max_in_flight(mut self, count: usize) -> Self {
        self.config.max_in_flight = count;
        self
    }

    /// Changes anything else of the client's configuration.
    pub fn configure(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Returns a client at once; it connects in the background, and requests wait until it is connected.
    #[must_use]
    pub fn start(self) -> Client<R> {
        let core = Core::new(self.config, Timeline::of::<R>());
        R::spawn(Task::<R>::new(&core, self.target));
        Client::new(Owner::new(&core))
    }

    /// Connects and returns the client.
    ///
    /// # Errors
    /// [`ClientError::Connect`] or [`ClientError::Ended`]: the broker can't be reached, or rejected the
    /// client.
    pub async fn connect(self) -> Result<Client<R>, ClientError> {
        let client = self.start();
        client.connection_is(true).await?;
        Ok(client)
    }
}

impl<R: Runtime> Clone for ClientBuilder<R> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), target: self.target.clone(), runtime: PhantomData }
    }
}

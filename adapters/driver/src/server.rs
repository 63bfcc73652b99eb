//! The broker's side: behind a listener, or inside a program.

mod acceptor;
mod connection;
mod embedded;
mod housekeeping;
mod registration;
mod rejections;
mod shared;
mod spare;
mod store;
mod store_reader;
#[cfg(test)]
mod stored;
mod storekeeper;
mod tasks;
mod turnstile;
#[cfg(test)]
mod world;

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use zaichik_engine::BrokerConfig;

pub use embedded::{BrokerHandle, EmbeddedBroker, ServerError};
pub use store::{Fetcher, Store, StoreError};

use crate::endpoint::Endpoint;
use crate::runtime::{Listener, Runtime};
use acceptor::Acceptor;

/// A broker that listens on one or more sockets.
///
/// Dropping it, or the future of [`serve`](Self::serve), closes every connection at once.
///
/// ```
/// # use std::time::Duration;
/// # use zaichik_simulated::{BrokerConfig, Client, Server, Simulation, spawn};
/// # Simulation::new().run(async {
/// let server = Server::bind("127.0.0.1:8889", BrokerConfig::default()).await?;
/// let handle = server.broker().handle();
/// let serving = spawn(server.serve());
/// let client = Client::connect("127.0.0.1:8889").await?;
/// client.publish("jobs", "sweep the yard").await?;
/// handle.shutdown(Duration::from_secs(1));
/// serving.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug)]
pub struct Server<R: Runtime> {
    broker: EmbeddedBroker<R>,
    listeners: Vec<R::Listener>,
    /// The addresses bound, at least one.
    addresses: Vec<Endpoint>,
    first: Endpoint,
}

impl<R: Runtime> Server<R> {
    /// Starts a broker and listens on `address` (`host:port`; port 0 takes any free one).
    ///
    /// # Errors
    /// [`ServerError::Config`] if the configuration contradicts itself, [`ServerError::Bind`] if the address
    /// can't be bound.
    pub async fn bind(address: &str, config: BrokerConfig) -> Result<Self, ServerError> {
        Self::bind_all(&[address], config).await
    }

    /// Starts a broker and listens on several addresses, all of them or none.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind); at least one address is required.
    pub async fn bind_all(addresses: &[&str], config: BrokerConfig) -> Result<Self, ServerError> {
        Self::listen(addresses, EmbeddedBroker::start(config)?).await
    }

    /// The same for a broker that has a store.
    ///
    /// # Errors
    /// As for [`bind_all`](Self::bind_all).
    pub async fn listen(addresses: &[&str], broker: EmbeddedBroker<R>) -> Result<Self, ServerError> {
        let (mut listeners, mut bound) = (Vec::new(), Vec::new());
        for address in addresses {
            let failed = |source| ServerError::Bind { address: (*address).to_owned(), source };
            let listener = R::bind(address).await.map_err(failed)?;
            let endpoint = listener.local_addr().map_err(failed)?;
            tracing::debug!("listening {}", endpoint.url());
            listeners.push(listener);
            bound.push(endpoint);
        }
        let Some(first) = bound.first().cloned() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "no address is given");
            return Err(ServerError::Bind { address: String::new(), source });
        };
        Ok(Self { broker, listeners, addresses: bound, first })
    }

    /// The address bound, with the real port; the first of several.
    #[must_use]
    pub const fn local_addr(&self) -> &Endpoint {
        &self.first
    }

    /// All addresses bound, with their real ports, in the order of the request.
    #[must_use]
    pub fn local_addrs(&self) -> &[Endpoint] {
        &self.addresses
    }

    /// How long a connection polls for more bytes before it sleeps, after it moved some. Default: zero.
    ///
    /// It shortens a round trip by the time it takes to wake a thread, and occupies a processor while connections are
    /// active. More than 100 us is rarely useful, and with fewer processors than busy connections it is harmful. It works
    /// on tokio; on a runtime whose tasks do not yield to its sockets it has no effect.
    #[must_use]
    pub fn busy_poll(self, time: Duration) -> Self {
        self.broker.shared().set_busy_poll(time);
        self
    }

    /// The broker, for clients without a socket, for counters, and for a handle that stops the server.
    #[must_use]
    pub const fn broker(&self) -> &EmbeddedBroker<R> {
        &self.broker
    }

    /// Serves until [`BrokerHandle::shutdown`]; ready when all connections, tasks and sockets are closed.
    ///
    /// An accept that fails is logged and retried.
    ///
    /// # Errors
    /// [`ServerError::Failed`] if the broker failed; every connection was notified and closed. [`ServerError::Store`] if
    /// its store failed.
    pub async fn serve(self) -> Result<(), ServerError> {
        let Self { broker, listeners, addresses, .. } = self;
        let mut acceptor = Acceptor::<R>::new(broker.shared(), listeners);
        poll_fn(|cx| acceptor.poll(cx)).await;
        drop(acceptor);
        let stopped = broker.stopped().await;
        for endpoint in addresses {
            tracing::debug!("stopped {}", endpoint.url());
        }
        stopped
    }
}

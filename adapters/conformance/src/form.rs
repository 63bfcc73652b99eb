//! The forms in which a broker runs: behind sockets, or inside the program.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use zaichik_driver::{
    BrokerConfig, BrokerHandle, ClientBuilder, EmbeddedBroker, Runtime, Server, ServerError,
};

use crate::memory::{InMemory, Place};

/// A running broker, in one of the forms over which the suite runs.
pub trait Form: Sized + Send + Sync + 'static {
    /// The runtime of its clients and peers.
    type Runtime: Runtime;

    /// Step between the bytes at which a long program's connection is cut: each TCP connection makes a port unusable for
    /// a minute, and ports are limited.
    const STRIDE: usize;

    /// Starts a broker at `address` (port 0 for any free one).
    ///
    /// # Errors
    /// The configuration is invalid, or the address is in use.
    fn start(address: &str, config: BrokerConfig) -> impl Future<Output = Result<Self, ServerError>> + Send;

    /// The address for raw streams.
    fn address(&self) -> &str;

    /// A builder of clients that connect in this form's usual way.
    fn client_builder(&self) -> ClientBuilder<Self::Runtime>;

    /// A handle that stops the broker.
    fn handle(&self) -> BrokerHandle;

    /// Completes when the broker has stopped and all its tasks have ended.
    ///
    /// # Errors
    /// The broker failed.
    fn stopped(self) -> impl Future<Output = Result<(), ServerError>> + Send;
}

/// A broker behind a listener of its runtime.
#[derive(Debug)]
pub struct Sockets<R> {
    address: String,
    handle: BrokerHandle,
    outcome: oneshot::Receiver<Result<(), ServerError>>,
    runtime: std::marker::PhantomData<fn() -> R>,
}

/// A broker inside the program.
#[derive(Debug)]
pub struct InProcess<R: Runtime> {
    address: String,
    handle: BrokerHandle,
    broker: Arc<Mutex<Option<EmbeddedBroker<InMemory<R>>>>>,
    place: Place,
}

impl<R: Runtime> Form for Sockets<R> {
    type Runtime = R;
    const STRIDE: usize = 11;

    async fn start(address: &str, config: BrokerConfig) -> Result<Self, ServerError> {
        let server = Server::<R>::bind(address, config).await?;
        let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
        let (sender, outcome) = oneshot::channel();
        R::spawn(async move {
            // The form may be gone.
            drop(sender.send(server.serve().await));
        });
        Ok(Self { address, handle, outcome, runtime: std::marker::PhantomData })
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn client_builder(&self) -> ClientBuilder<R> {
        ClientBuilder::new(&self.address)
    }

    fn handle(&self) -> BrokerHandle {
        self.handle.clone()
    }

    async fn stopped(self) -> Result<(), ServerError> {
        self.outcome.await.unwrap_or(Err(ServerError::Failed))
    }
}

impl<R: Runtime> Form for InProcess<R> {
    type Runtime = InMemory<R>;
    const STRIDE: usize = 1;

    async fn start(address: &str, config: BrokerConfig) -> Result<Self, ServerError> {
        let broker = EmbeddedBroker::start(config)?;
        let handle = broker.handle();
        let broker = Arc::new(Mutex::new(Some(broker)));
        let stream = {
            let broker = Arc::clone(&broker);
            move || {
                let broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
                broker.as_ref().ok_or(io::ErrorKind::ConnectionRefused)?.stream()
            }
        };
        let place = Place::take(address, stream)
            .map_err(|source| ServerError::Bind { address: address.to_owned(), source })?;
        Ok(Self { address: place.0.to_string(), handle, broker, place })
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn client_builder(&self) -> ClientBuilder<InMemory<R>> {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.as_ref().map_or_else(|| ClientBuilder::new(&self.address), EmbeddedBroker::client_builder)
    }

    fn handle(&self) -> BrokerHandle {
        self.handle.clone()
    }

    async fn stopped(self) -> Result<(), ServerError> {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.place);
        match broker {
            // A grace time that was set before can only become shorter.
            Some(broker) => broker.shutdown(Duration::MAX).await,
            None => Ok(()),
        }
    }
}

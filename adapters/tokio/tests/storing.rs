//! A store on a thread of its own fails: its broker says so (rule B6).
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use zaichik_driver::{Fetcher, Store, StoreError};
use zaichik_engine::store::{Commit, Fetch};
use zaichik_engine::{Broker, Seed};
use zaichik_tokio::{BrokerConfig, Client, EmbeddedBroker, Server, ServerError};

/// Stores nothing. It fails, or panics, when the test says so.
struct Failing {
    is_failing: Arc<AtomicBool>,
    panics: bool,
}

/// Everything stays in memory.
struct NotExpected;

impl Fetcher for NotExpected {
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        Err(StoreError::Failed(Arc::new(io::Error::other(format!("{fetch:?} is not expected")))))
    }
}

impl Store for Failing {
    fn commit(&mut self, _: &Commit) -> Result<(), StoreError> {
        if !self.is_failing.load(Ordering::Relaxed) {
            return Ok(());
        }
        assert!(!self.panics, "as the test wants");
        Err(StoreError::Failed(Arc::new(io::Error::other("the disk is gone"))))
    }

    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError> {
        Ok(Box::new(NotExpected))
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A broker with such a store, and what makes it fail.
fn broker(panics: bool) -> (EmbeddedBroker, Arc<AtomicBool>) {
    let broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2)).expect("the defaults are valid");
    let is_failing = Arc::new(AtomicBool::new(false));
    let store = Failing { is_failing: Arc::clone(&is_failing), panics };
    (EmbeddedBroker::start_with(broker, Box::new(store)).expect("a thread"), is_failing)
}

/// Publishes until the store fails, which is never acknowledged.
async fn publish_in_vain(client: Client, is_failing: &AtomicBool) {
    client.publish("t", "x").await.expect("stored");
    is_failing.store(true, Ordering::Relaxed);
    client.publish("t", "y").await.expect_err("nobody knows whether it is stored");
}

#[tokio::test]
async fn b_15_a_server_ends_with_the_error_of_its_store() {
    for (panics, expected) in [(false, "the disk is gone"), (true, "panicked")] {
        let (broker, is_failing) = broker(panics);
        let server = Server::listen(&["127.0.0.1:0"], broker).await.expect("a free port");
        let address = server.local_addr().to_string();
        let serving = tokio::spawn(server.serve());
        let client = Client::builder(&address).reconnect(false).connect().await.expect("it listens");
        publish_in_vain(client, &is_failing).await;
        let ended = serving.await.expect("no panic").expect_err("the store failed");
        assert!(matches!(ended, ServerError::Store(_)) && ended.to_string().contains(expected), "{ended}");
        Client::connect(&address).await.expect_err("it does not listen any more");
    }
}

#[tokio::test]
async fn b_15_an_embedded_broker_ends_with_the_error_of_its_store() {
    for (panics, expected) in [(false, "the disk is gone"), (true, "panicked")] {
        let (broker, is_failing) = broker(panics);
        publish_in_vain(broker.client_builder().reconnect(false).start(), &is_failing).await;
        let handle = broker.handle();
        let ended = broker.shutdown(std::time::Duration::from_hours(1)).await.expect_err("the store failed");
        assert!(matches!(ended, ServerError::Store(_)) && ended.to_string().contains(expected), "{ended}");
        assert!(handle.is_stopping());
    }
}

//! A broker whose store syncs later than it commits (rule B7).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use zaichik_driver::{Fetcher, Store, StoreError};
use zaichik_engine::store::{Commit, Fetch};
use zaichik_engine::{Broker, Seed};
use zaichik_tokio::{BrokerConfig, EmbeddedBroker, ServerError};

/// What a store was asked for, in order.
#[derive(Debug, Default)]
struct Asked {
    commits: AtomicU64,
    syncs: AtomicU64,
    /// How many commits were synced.
    synced: AtomicU64,
    is_closed: AtomicBool,
}

struct Lazy {
    every: Duration,
    asked: Arc<Asked>,
}

/// Everything stays in memory.
struct NotExpected;

impl Fetcher for NotExpected {
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        Err(StoreError::Failed(Arc::new(io::Error::other(format!("{fetch:?} is not expected")))))
    }
}

impl Store for Lazy {
    fn commit(&mut self, _: &Commit) -> Result<(), StoreError> {
        self.asked.commits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError> {
        Ok(Box::new(NotExpected))
    }

    fn sync_every(&self) -> Duration {
        self.every
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.asked.syncs.fetch_add(1, Ordering::SeqCst);
        self.asked.synced.store(self.asked.commits.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.asked.is_closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

fn start(every: Duration) -> Result<(EmbeddedBroker, Arc<Asked>), ServerError> {
    let asked = Arc::new(Asked::default());
    let broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
    let store = Box::new(Lazy { every, asked: Arc::clone(&asked) });
    Ok((EmbeddedBroker::start_with(broker, store)?, asked))
}

#[tokio::test]
async fn b7_only_a_durable_publish_makes_the_store_sync_early() {
    let (broker, asked) = start(Duration::from_hours(1)).expect("a thread");
    let client = broker.client();
    for _ in 0..10 {
        client.publish("t", "x").await.expect("published");
    }
    assert_eq!(asked.syncs.load(Ordering::SeqCst), 0, "nobody waits for it");
    let before = asked.commits.load(Ordering::SeqCst);
    client.publish("t", "y").durable().await.expect("published");
    assert_eq!(asked.syncs.load(Ordering::SeqCst), 1);
    assert!(asked.synced.load(Ordering::SeqCst) > before, "with the commit of the publish");
    client.close().await.expect("closed");
    broker.shutdown(Duration::from_secs(9)).await.expect("stopped");
    assert!(asked.is_closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn b7_the_store_syncs_when_the_interval_has_passed() {
    let (broker, asked) = start(Duration::from_millis(1)).expect("a thread");
    let client = broker.client();
    client.publish("t", "x").await.expect("published");
    while asked.synced.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    client.close().await.expect("closed");
    broker.shutdown(Duration::from_secs(9)).await.expect("stopped");
}

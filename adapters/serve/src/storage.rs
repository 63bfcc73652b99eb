//! The store of a broker process: a directory, whose use is logged and measured.

mod meter;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use zaichik_driver::{BrokerConfig, Clock, EmbeddedBroker, Fetcher, Runtime, ServerError, Store, StoreError};
use zaichik_engine::store::{Commit, Fetch};
use zaichik_storage::{Continuity, JournalStore, Recovered};

use crate::config::StorageSync;
use crate::run_error::RunError;
pub(crate) use meter::Meter;

/// Where and how a broker stores its state.
#[derive(Debug)]
pub(crate) struct Storage {
    /// Created if it is missing.
    pub(crate) dir: PathBuf,
    pub(crate) sync: StorageSync,
    /// The size of a file, in bytes.
    pub(crate) segment_size: u64,
    /// Whether a clock far before the last commit is accepted.
    pub(crate) accepts_clock: bool,
}

impl Storage {
    /// Reads the directory, and logs what was found.
    pub(crate) async fn recover<R: Runtime>(self, config: BrokerConfig) -> Result<Recovered<R>, RunError> {
        let mut storage = zaichik_storage::Storage::new(&self.dir).segment_bytes(self.segment_size);
        if let StorageSync::Interval(every) = self.sync {
            storage = storage.sync_every(every);
        }
        if self.accepts_clock {
            storage = storage.accept_clock();
        }
        let recovered = storage.recover(config).await?;
        let (info, dir, sync) = (recovered.info(), self.dir.display(), self.sync.shown());
        if info.rows == 0 {
            tracing::info!("storage: {dir} is new; sync {sync}");
        } else {
            tracing::info!(
                "storage: {dir}: recovered {} topics from {} rows and {} in {} ms; sync {sync}",
                recovered.topics(),
                info.rows,
                ByteSize(info.live_bytes),
                recovered.took().as_millis()
            );
        }
        match recovered.continuity() {
            Continuity::Same => {}
            Continuity::Backup => tracing::warn!(
                "storage: {dir}: another instance, because this is a backup, of which clients may know more than it has; clients \
                 report a restart, and producers are forgotten"
            ),
            Continuity::LacksCommits => tracing::warn!(
                "storage: {dir}: another instance, because the machine ended, or a sync failed, before every commit was \
                 synced: the last ones may be lost; clients report a restart, and producers are forgotten"
            ),
        }
        Ok(recovered)
    }
}

/// Starts a broker whose store is measured.
pub(crate) fn start<R: Runtime>(
    recovered: Recovered<R>,
    clock: Clock,
) -> Result<(EmbeddedBroker<R>, Arc<Meter>), ServerError> {
    let meter = Arc::new(Meter::new(recovered.info()));
    let measured = Arc::clone(&meter);
    let broker = recovered.start_with(|store| Box::new(Metered { store, clock, meter: measured }))?;
    Ok((broker, meter))
}

/// A store and the figures of what it does.
#[derive(Debug)]
struct Metered {
    store: JournalStore,
    clock: Clock,
    meter: Arc<Meter>,
}

impl Metered {
    /// Counts an error.
    fn seen<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if done.is_err() {
            self.meter.failed(self.clock.now());
        }
        done
    }
}

impl Store for Metered {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let begun = self.clock.now();
        let committed = self.store.commit(commit);
        let now = self.clock.now();
        match &committed {
            Ok(()) => self.meter.committed(commit.ops.len(), now.since(begun), self.store.info()),
            Err(StoreError::Full(_)) => self.meter.found_no_space(now),
            Err(_) => self.meter.failed(now),
        }
        committed
    }

    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError> {
        let fetcher = self.store.fetcher()?;
        Ok(Box::new(MeteredFetcher { fetcher, clock: self.clock, meter: Arc::clone(&self.meter) }))
    }

    fn is_full(&self) -> bool {
        self.store.is_full()
    }

    fn place(&self) -> String {
        self.store.place()
    }

    fn sync_every(&self) -> Duration {
        self.store.sync_every()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.store.sync();
        self.seen(synced)
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        let tended = self.store.tend();
        self.meter.holds(self.store.info());
        self.seen(tended)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.store.close()
    }
}

/// What reads from such a store.
struct MeteredFetcher {
    fetcher: Box<dyn Fetcher>,
    clock: Clock,
    meter: Arc<Meter>,
}

impl Fetcher for MeteredFetcher {
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        let fetched = self.fetcher.fetch(fetch);
        if fetched.is_err() {
            self.meter.failed(self.clock.now());
        }
        fetched
    }
}

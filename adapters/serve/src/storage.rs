//! The store of a broker process: a journal in a directory.

mod meter;

use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::channel::oneshot;
use zaichik_driver::{
    BrokerConfig, Clock, EmbeddedBroker, Runtime, ServerError, Store, StoreError, Timestamp,
};
use zaichik_engine::store::{Commit, Fetch};
use zaichik_engine::{Broker, Restore, Seed};
use zaichik_store_journal::{FLOOR_INTERVAL, Files, Journal, Options, StoreError as JournalError};

use crate::run_error::RunError;
pub(crate) use meter::Meter;

/// A broker as a directory has it, and its store.
pub(crate) struct Recovered {
    broker: Broker,
    store: JournalStore,
}

/// Reads a directory, which is created if it is missing, and logs what was found. It may take long, so a thread does it.
pub(crate) async fn recover<R: Runtime>(
    dir: &Path,
    config: BrokerConfig,
    clock: Clock,
) -> Result<Recovered, RunError> {
    let random = || R::random().map_err(ServerError::Random);
    let (options, seed) = (Options::new(random()?), Seed::new(random()?, random()?));
    let (done, recovered) = oneshot::channel();
    let dir = dir.to_owned();
    let builder = thread::Builder::new().name("zaichik-recovery".to_owned());
    let thread = builder.spawn(move || {
        // Nobody waits for it any more if a signal ends the process.
        drop(done.send(read_back(&dir, config, options, seed, clock)));
    });
    drop(thread.map_err(ServerError::Thread)?);
    // The thread sends a result unless it panics.
    recovered.await.unwrap_or(Err(RunError::Server(ServerError::Failed)))
}

impl Recovered {
    /// Starts the broker.
    pub(crate) fn start<R: Runtime>(self) -> Result<(EmbeddedBroker<R>, Arc<Meter>), ServerError> {
        let meter = Arc::clone(&self.store.meter);
        Ok((EmbeddedBroker::start_with(self.broker, Box::new(self.store))?, meter))
    }
}

fn read_back(
    dir: &Path,
    config: BrokerConfig,
    options: Options,
    seed: Seed,
    clock: Clock,
) -> Result<Recovered, RunError> {
    let begun = clock.now();
    let mut journal = Journal::open(dir, options)?;
    let mut restore = Restore::new(config, seed).map_err(ServerError::Config)?;
    journal.rows(|key, value| restore.row(key, value).map_err(RunError::Rows))?;
    let broker = restore.finish(clock.now())?;
    let info = journal.info();
    if info.rows == 0 {
        tracing::info!("storage: {} is new", dir.display());
    } else {
        tracing::info!(
            "storage: {}: recovered {} topics from {} rows and {} in {} ms",
            dir.display(),
            broker.topic_count(),
            info.rows,
            ByteSize(info.live_bytes),
            clock.now().since(begun).as_millis()
        );
    }
    let store = JournalStore { journal, clock, begun, meter: Arc::new(Meter::new(info)) };
    Ok(Recovered { broker, store })
}

/// A journal as the store of a broker.
#[derive(Debug)]
struct JournalStore {
    journal: Journal<Files>,
    clock: Clock,
    begun: Timestamp,
    meter: Arc<Meter>,
}

impl Store for JournalStore {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let begun = self.clock.now();
        let committed = self.journal.commit_rows(commit);
        let now = self.clock.now();
        match &committed {
            Ok(()) => self.meter.committed(commit.ops.len(), now.since(begun), self.journal.info()),
            Err(JournalError::Full) => self.meter.found_no_space(now),
            Err(_) => self.meter.failed(now),
        }
        committed.map_err(store_error)
    }

    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        let fetched = self.journal.fetch_rows(fetch);
        if fetched.is_err() {
            self.meter.failed(self.clock.now());
        }
        fetched.map_err(store_error)
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let tended = self.journal.tend(now.since(self.begun));
        if tended.is_err() {
            self.meter.failed(now);
        }
        self.meter.holds(self.journal.info());
        tended.map_err(store_error)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        // The floor is due, however short ago it was written: a check then finds damage in the last commit, too.
        let now = self.clock.now().since(self.begun).saturating_add(FLOOR_INTERVAL);
        self.journal.tend(now).map_err(store_error)
    }
}

fn store_error(error: JournalError) -> StoreError {
    if matches!(error, JournalError::Full) {
        StoreError::Full(Arc::new(error))
    } else {
        StoreError::Failed(Arc::new(error))
    }
}

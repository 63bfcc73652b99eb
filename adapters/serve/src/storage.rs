//! The store of a broker process: a journal in a directory.

mod meter;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::channel::oneshot;
use zaichik_driver::{
    BrokerConfig, Clock, EmbeddedBroker, Fetcher, Runtime, ServerError, Store, StoreError, Timestamp,
};
use zaichik_engine::store::{Commit, Fetch};
use zaichik_engine::{Broker, Restore, Seed};
use zaichik_store_journal::{
    Fetcher as JournalFetcher, Files, Journal, Options, Shown, StoreError as JournalError, Syncing,
};

use crate::config::StorageSync;
use crate::run_error::RunError;
pub(crate) use meter::Meter;

/// How long the clock may be before the last commit, unless that is accepted.
const MAX_BEHIND: Duration = Duration::from_hours(1);

/// The most that is reserved for when the disk is full, in bytes.
const MAX_RESERVE: u64 = 64 << 20;

/// A broker as a directory has it, and its store.
pub(crate) struct Recovered {
    broker: Broker,
    store: JournalStore,
}

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
    /// Reads the directory, and logs what was found. It may take long, so a thread does it.
    pub(crate) async fn recover<R: Runtime>(
        self,
        config: BrokerConfig,
        clock: Clock,
    ) -> Result<Recovered, RunError> {
        let random = || R::random().map_err(ServerError::Random);
        let (options, seed) = (Options::new(random()?), Seed::new(random()?, random()?));
        let (done, recovered) = oneshot::channel();
        let builder = thread::Builder::new().name("zaichik-recovery".to_owned());
        let thread = builder.spawn(move || {
            // Nobody waits for it any more if a signal ends the process.
            drop(done.send(self.read_back(config, options, seed, clock)));
        });
        drop(thread.map_err(ServerError::Thread)?);
        // The thread sends a result unless it panics.
        recovered.await.unwrap_or(Err(RunError::Server(ServerError::Failed)))
    }

    fn read_back(
        &self,
        config: BrokerConfig,
        options: Options,
        seed: Seed,
        clock: Clock,
    ) -> Result<Recovered, RunError> {
        let begun = clock.now();
        let (syncing, sync_every) = match self.sync {
            StorageSync::Always => (Syncing::EachCommit, Duration::ZERO),
            StorageSync::Interval(every) => (Syncing::OnDemand, every),
        };
        let (segment_bytes, reserve_bytes) = (self.segment_size, self.segment_size.min(MAX_RESERVE));
        let options = Options { syncing, segment_bytes, reserve_bytes, ..options };
        let mut journal = Journal::open(&self.dir, options)?;
        let (lacks_commits, is_backup) = (journal.lacks_commits(), journal.is_backup());
        let broker = self.restore(&mut journal, (config, seed), clock).inspect_err(|_| {
            // Nothing was changed, so the next start need not doubt that everything is durable.
            drop(journal.close(Duration::ZERO));
        })?;
        let (info, dir, sync) = (journal.info(), self.dir.display(), self.sync.shown());
        if info.rows == 0 {
            tracing::info!("storage: {dir} is new; sync {sync}");
        } else {
            tracing::info!(
                "storage: {dir}: recovered {} topics from {} rows and {} in {} ms; sync {sync}",
                broker.topic_count(),
                info.rows,
                ByteSize(info.live_bytes),
                clock.now().since(begun).as_millis()
            );
        }
        if is_backup {
            tracing::warn!(
                "storage: {dir}: another instance, because this is a backup, of which clients may know more than it has; clients \
                 report a restart, and producers are forgotten"
            );
        } else if lacks_commits {
            tracing::warn!(
                "storage: {dir}: another instance, because the machine ended, or a sync failed, before every commit was \
                 synced: the last ones may be lost; clients report a restart, and producers are forgotten"
            );
        }
        let meter = Arc::new(Meter::new(info));
        let store = JournalStore { journal, dir: self.dir.clone(), sync_every, clock, begun, meter };
        Ok(Recovered { broker, store })
    }

    /// A broker with the rows of the journal.
    fn restore(
        &self,
        journal: &mut Journal<Files>,
        (config, seed): (BrokerConfig, Seed),
        clock: Clock,
    ) -> Result<Broker, RunError> {
        let restore = if journal.lacks_commits() { Restore::as_another } else { Restore::new };
        let mut restore = restore(config, seed).map_err(ServerError::Config)?;
        // Records stay in the directory, where that is possible, until somebody reads them.
        journal.read_back(|key, shown| {
            let is_taken = match shown {
                Shown::Head(head) => restore.head(key, head),
                Shown::Value(value) => restore.row(key, value).map(|()| true),
            };
            is_taken.map(|is_taken| !is_taken).map_err(RunError::Rows)
        })?;
        let now = clock.now();
        let behind = restore.stored_at().map_or(Duration::ZERO, |stored_at| stored_at.since(now));
        if behind > MAX_BEHIND && !self.accepts_clock {
            return Err(RunError::Clock { behind });
        }
        Ok(restore.finish(now)?)
    }
}

impl Recovered {
    /// Starts the broker.
    pub(crate) fn start<R: Runtime>(self) -> Result<(EmbeddedBroker<R>, Arc<Meter>), ServerError> {
        let meter = Arc::clone(&self.store.meter);
        Ok((EmbeddedBroker::start_with(self.broker, Box::new(self.store))?, meter))
    }
}

/// A journal as the store of a broker.
#[derive(Debug)]
struct JournalStore {
    journal: Journal<Files>,
    dir: PathBuf,
    sync_every: Duration,
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

    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError> {
        let fetcher = self.journal.fetcher(Files::beside_owner(&self.dir));
        Ok(Box::new(RecordFetcher { fetcher, clock: self.clock, meter: Arc::clone(&self.meter) }))
    }

    fn is_full(&self) -> bool {
        self.journal.is_full()
    }

    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn sync_every(&self) -> Duration {
        self.sync_every
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.journal.sync();
        if synced.is_err() {
            self.meter.failed(self.clock.now());
        }
        synced.map_err(store_error)
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
        self.journal.close(self.clock.now().since(self.begun)).map_err(store_error)
    }
}

/// What reads from such a store.
#[derive(Debug)]
struct RecordFetcher {
    fetcher: JournalFetcher,
    clock: Clock,
    meter: Arc<Meter>,
}

impl Fetcher for RecordFetcher {
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        let fetched = self.fetcher.fetch(fetch);
        if fetched.is_err() {
            self.meter.failed(self.clock.now());
        }
        fetched.map_err(store_error)
    }
}

fn store_error(error: JournalError) -> StoreError {
    if matches!(error, JournalError::Full) {
        StoreError::Full(Arc::new(error))
    } else {
        StoreError::Failed(Arc::new(error))
    }
}

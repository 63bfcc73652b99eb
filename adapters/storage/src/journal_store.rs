//! A journal as the store of a broker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zaichik_driver::{Clock, Fetcher, Store, StoreError, Timestamp};
use zaichik_engine::store::{Commit, Fetch};
use zaichik_store_journal::{Fetcher as JournalFetcher, Files, Info, Journal, StoreError as JournalError};

/// A journal as the store of a broker.
#[derive(Debug)]
pub struct JournalStore {
    journal: Journal<Files>,
    dir: PathBuf,
    sync_every: Duration,
    clock: Clock,
    begun: Timestamp,
}

impl JournalStore {
    pub(crate) fn new(journal: Journal<Files>, dir: PathBuf, sync_every: Duration, clock: Clock) -> Self {
        Self { journal, dir, sync_every, clock, begun: clock.now() }
    }

    /// What the journal consists of.
    #[must_use]
    pub fn info(&self) -> Info {
        self.journal.info()
    }

    /// The time since the store was opened.
    fn age(&self) -> Duration {
        self.clock.now().since(self.begun)
    }
}

impl Store for JournalStore {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.journal.commit_rows(commit).map_err(store_error)
    }

    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError> {
        Ok(Box::new(RecordFetcher(self.journal.fetcher(Files::beside_owner(&self.dir)))))
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
        self.journal.sync().map_err(store_error)
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        let age = self.age();
        self.journal.tend(age).map_err(store_error)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let age = self.age();
        self.journal.close(age).map_err(store_error)
    }
}

/// What reads records back.
#[derive(Debug)]
struct RecordFetcher(JournalFetcher);

impl Fetcher for RecordFetcher {
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        self.0.fetch(fetch).map_err(store_error)
    }
}

fn store_error(error: JournalError) -> StoreError {
    if matches!(error, JournalError::Full) {
        StoreError::Full(Arc::new(error))
    } else {
        StoreError::Failed(Arc::new(error))
    }
}

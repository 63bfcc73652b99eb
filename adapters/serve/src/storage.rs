//! The store of a broker process: a journal in a directory.

use std::path::Path;
use std::sync::Arc;

use zaichik_driver::{
    BrokerConfig, Clock, EmbeddedBroker, Runtime, ServerError, Store, StoreError, Timestamp,
};
use zaichik_engine::store::{Commit, RowError};
use zaichik_engine::{Restore, Seed};
use zaichik_store_journal::{Files, Journal, OpenError, Options, StoreError as JournalError};

/// Why a broker cannot start with its store.
#[derive(Debug)]
pub(crate) enum StorageError {
    /// What the broker itself needs.
    Server(ServerError),
    /// The directory cannot be used.
    Open(OpenError),
    /// It can't be read.
    Read(JournalError),
    /// What it has is no state of a broker.
    Row(RowError),
}

/// Starts a broker with what a directory has, which is created if it is missing; logs what was recovered.
pub(crate) fn start<R: Runtime>(
    dir: &Path,
    config: BrokerConfig,
    clock: Clock,
) -> Result<EmbeddedBroker<R>, StorageError> {
    let begun = clock.now();
    let random = || R::random().map_err(|error| StorageError::Server(ServerError::Random(error)));
    let mut journal = Journal::open(dir, Options::new(random()?)).map_err(StorageError::Open)?;
    let seed = Seed::new(random()?, random()?);
    let config_error = |error| StorageError::Server(ServerError::Config(error));
    let mut restore = Restore::new(config, seed).map_err(config_error)?;
    journal.rows(|key, value| restore.row(key, value).map_err(StorageError::Row))?;
    let broker = restore.finish(clock.now())?;
    let info = journal.info();
    let millis = clock.now().since(begun).as_millis();
    if info.rows == 0 {
        tracing::info!("storage: {} is new", dir.display());
    } else {
        let topics = broker.topic_count();
        tracing::info!(
            "storage: {}: recovered {topics} topics, {} KiB, in {millis} ms",
            dir.display(),
            info.live_bytes >> 10
        );
    }
    let store = Box::new(JournalStore { journal, clock, begun });
    EmbeddedBroker::start_with(broker, store).map_err(StorageError::Server)
}

/// A journal as the store of a broker.
#[derive(Debug)]
struct JournalStore {
    journal: Journal<Files>,
    clock: Clock,
    begun: Timestamp,
}

impl Store for JournalStore {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.journal.commit_rows(commit).map_err(store_error)
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        self.journal.tend(self.clock.now().since(self.begun)).map_err(store_error)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.tend()
    }
}

fn store_error(error: JournalError) -> StoreError {
    if matches!(error, JournalError::Full) {
        StoreError::Full(Arc::new(error))
    } else {
        StoreError::Failed(Arc::new(error))
    }
}

impl From<RowError> for StorageError {
    fn from(error: RowError) -> Self {
        Self::Row(error)
    }
}

impl From<JournalError> for StorageError {
    fn from(error: JournalError) -> Self {
        Self::Read(error)
    }
}

impl StorageError {
    /// Whether the operating system refused something, rather than that what is stored is wrong.
    pub(crate) const fn is_io(&self) -> bool {
        matches!(
            self,
            Self::Open(OpenError::Store(JournalError::Failed(_))) | Self::Read(JournalError::Failed(_))
        )
    }
}

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Row(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Server(error) => Some(error),
            Self::Open(error) => Some(error),
            Self::Read(error) => Some(error),
            Self::Row(error) => Some(error),
        }
    }
}

impl From<ServerError> for StorageError {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

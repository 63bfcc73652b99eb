//! A broker as a directory has it, before it starts.

use std::marker::PhantomData;
use std::time::Duration;

use zaichik_driver::{EmbeddedBroker, Runtime, ServerError, Store};
use zaichik_engine::Broker;
use zaichik_store_journal::Info;

use crate::journal_store::JournalStore;

/// A broker as a directory has it, before it starts.
#[derive(Debug)]
pub struct Recovered<R> {
    broker: Broker,
    store: JournalStore,
    continuity: Continuity,
    took: Duration,
    runtime: PhantomData<fn() -> R>,
}

/// Whether a broker is the one that wrote its directory (rule P5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It is: the instance stays.
    Same,
    /// It is another instance, because the directory is a backup, of which clients may know more than it has (rule B10).
    Backup,
    /// It is another instance, because commits may be lost that were not synced when the machine ended (rule B7).
    LacksCommits,
}

impl<R: Runtime> Recovered<R> {
    pub(crate) const fn new(
        broker: Broker,
        store: JournalStore,
        continuity: Continuity,
        took: Duration,
    ) -> Self {
        Self { broker, store, continuity, took, runtime: PhantomData }
    }

    /// How many topics there are.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.broker.topic_count()
    }

    /// What the directory consists of; a new one has no rows.
    #[must_use]
    pub fn info(&self) -> Info {
        self.store.info()
    }

    /// Whether the broker is the one that wrote the directory.
    #[must_use]
    pub const fn continuity(&self) -> Continuity {
        self.continuity
    }

    /// How long it took to read.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// Starts the broker; call it where the runtime can spawn tasks.
    ///
    /// # Errors
    /// [`ServerError::Thread`] if there can be no thread, [`ServerError::Store`] if the directory cannot be read.
    pub fn start(self) -> Result<EmbeddedBroker<R>, ServerError> {
        self.start_with(|store| Box::new(store))
    }

    /// The same, with a store that looks at what this one does.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn start_with(
        self,
        store: impl FnOnce(JournalStore) -> Box<dyn Store>,
    ) -> Result<EmbeddedBroker<R>, ServerError> {
        EmbeddedBroker::start_with(self.broker, store(self.store))
    }
}

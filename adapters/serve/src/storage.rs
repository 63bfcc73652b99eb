//! The store of a broker process: a journal in a directory.

mod meter;

use std::path::Path;
use std::sync::Arc;

use zaichik_driver::{
    BrokerConfig, Clock, EmbeddedBroker, Runtime, ServerError, Store, StoreError, Timestamp,
};
use zaichik_engine::store::Commit;
use zaichik_engine::{Restore, Seed};
use zaichik_store_journal::{FLOOR_INTERVAL, Files, Journal, Options, StoreError as JournalError};

use crate::run_error::RunError;
pub(crate) use meter::Meter;

/// Starts a broker with what a directory has, which is created if it is missing; logs what was recovered.
pub(crate) fn start<R: Runtime>(
    dir: &Path,
    config: BrokerConfig,
    clock: Clock,
) -> Result<(EmbeddedBroker<R>, Arc<Meter>), RunError> {
    let begun = clock.now();
    let random = || R::random().map_err(ServerError::Random);
    let mut journal = Journal::open(dir, Options::new(random()?))?;
    let seed = Seed::new(random()?, random()?);
    let mut restore = Restore::new(config, seed).map_err(ServerError::Config)?;
    journal.rows(|key, value| restore.row(key, value).map_err(RunError::Rows))?;
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
    let meter = Arc::new(Meter::new(info));
    let store = Box::new(JournalStore { journal, clock, begun, meter: Arc::clone(&meter) });
    Ok((EmbeddedBroker::start_with(broker, store)?, meter))
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

//! The thread that gives a broker's commits to its store (rule B6).

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use zaichik_engine::store::Commit;

use super::shared::{Poisoned, Shared};
use super::store::{Store, StoreError};
use super::tasks::HousekeeperEntry;

/// How long a commit that found no space waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long the store is left alone at most.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>, store: Box<dyn Store>) -> io::Result<()> {
    let (entry, shared) = (shared.tasks().enter_housekeeper(), Arc::clone(shared));
    let builder = thread::Builder::new().name("zaichik-store".to_owned());
    builder.spawn(move || run(&shared, store, entry)).map(drop)
}

fn run(shared: &Arc<Shared>, mut store: Box<dyn Store>, entry: HousekeeperEntry) {
    match keep(shared, &mut *store) {
        Ok(()) => {}
        Err(Ended::Poisoned) => tracing::error!("the broker failed; what it had not committed is lost"),
        Err(Ended::Store(error)) => {
            tracing::error!(%error, "the store failed: nothing that waits for it is answered");
            shared.store_failed(error);
        }
    }
    // The store is closed before the broker counts as stopped.
    drop(store);
    drop(entry);
}

/// Why the thread ends early.
enum Ended {
    Poisoned,
    Store(StoreError),
}

impl From<Poisoned> for Ended {
    fn from(_: Poisoned) -> Self {
        Self::Poisoned
    }
}

fn keep(shared: &Shared, store: &mut dyn Store) -> Result<(), Ended> {
    shared.watch_store(thread::current())?;
    loop {
        let due = shared.poll_commit()?;
        if let Some(commit) = due.commit {
            commit_until_done(shared, store, &commit)?;
            shared.committed(commit.ticket)?;
        } else if due.is_over {
            return store.close().map_err(Ended::Store);
        } else {
            thread::park_timeout(due.wait.min(TEND_EVERY));
        }
        match store.tend() {
            Ok(()) | Err(StoreError::Full(_)) => {}
            Err(error) => return Err(Ended::Store(error)),
        }
    }
}

/// Stores a commit, however long there is no space for it.
fn commit_until_done(shared: &Shared, store: &mut dyn Store, commit: &Commit) -> Result<(), Ended> {
    let mut is_reported = false;
    loop {
        match store.commit(commit) {
            Ok(()) => break,
            Err(error @ StoreError::Full(_)) => {
                if !is_reported {
                    tracing::warn!(%error, "the store has no space: requests wait until there is some");
                }
                is_reported = true;
                if shared.is_store_over()? {
                    return Err(Ended::Store(error));
                }
                thread::park_timeout(RETRY);
            }
            Err(error) => return Err(Ended::Store(error)),
        }
    }
    if is_reported {
        tracing::info!("the store has space again");
    }
    Ok(())
}

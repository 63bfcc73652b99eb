//! Gives a broker's commits to its store (rule B6), on a thread of its own.

mod space;
mod syncing;

use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use thiserror::Error;
use zaichik_engine::store::Commit;

use self::space::Space;
use self::syncing::Syncing;
use super::shared::{Poisoned, Shared};
use super::store::{Store, StoreError};
use super::tasks::HousekeeperEntry;
use crate::sync::thread::{self, Thread};

/// How long a commit that found no space waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long the store is left alone at most.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>, store: Box<dyn Store>) -> io::Result<()> {
    let mut keeper = Storekeeper::new(shared, store);
    let builder = thread::Builder::new().name("zaichik-store".to_owned());
    let run = move || {
        keeper.wake_with(&Waker::from(Sleeper::of_this_thread()));
        loop {
            match keeper.step() {
                Step::Again => {}
                Step::Wait(time) => thread::park_timeout(time),
                Step::Over => return,
            }
        }
    };
    builder.spawn(run).map(drop)
}

/// A store and the broker that it belongs to.
///
/// If the store panics, it has failed.
pub(super) struct Storekeeper {
    shared: Arc<Shared>,
    // The store is closed before the broker counts as stopped.
    store: Box<dyn Store>,
    /// The commit that found no space.
    refused: Option<Commit>,
    space: Space,
    syncing: Syncing,
    _entry: HousekeeperEntry,
}

/// What is to be done after a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one.
    Again,
    /// The next one when it is woken, or after this time.
    Wait(Duration),
    /// Nothing: the broker has stopped, or it or its store failed.
    Over,
}

impl Storekeeper {
    pub(super) fn new(shared: &Arc<Shared>, store: Box<dyn Store>) -> Self {
        let (entry, syncing) = (shared.tasks().enter_housekeeper(), Syncing::new(store.sync_every()));
        let shared = Arc::clone(shared);
        let mut keeper = Self { shared, store, refused: None, space: Space::Some, syncing, _entry: entry };
        // Before anything is asked of the broker. One that failed is found by the first step.
        let _ = keeper.look_for_space(false);
        keeper
    }

    /// Sets what wakes it when a step is due earlier than it expects.
    pub(super) fn wake_with(&self, waker: &Waker) {
        // A broker that failed is found by the next step.
        let _ = self.shared.watch_store(waker);
    }

    /// Makes a commit if one is due.
    pub(super) fn step(&mut self) -> Step {
        match self.try_step() {
            Ok(step) => step,
            Err(Ended::Poisoned) => {
                tracing::error!("the broker failed; what it had not committed is lost");
                Step::Over
            }
            Err(Ended::Store(error)) => {
                let place = self.store.place();
                tracing::error!(
                    "storage: {place} failed: {error}; no request is answered any more that waits for it"
                );
                self.shared.store_failed(error);
                Step::Over
            }
        }
    }

    fn try_step(&mut self) -> Result<Step, Ended> {
        if let Some(commit) = self.refused.take() {
            return self.commit(commit);
        }
        if self.syncing.is_due(&self.shared)? {
            self.store.sync().map_err(Ended::Store)?;
            self.syncing.synced(&self.shared)?;
        }
        match self.store.tend() {
            Ok(()) | Err(StoreError::Full(_)) => {}
            Err(error) => return Err(Ended::Store(error)),
        }
        self.look_for_space(false)?;
        let due = self.shared.poll_commit()?;
        match due.commit {
            Some(commit) => self.commit(commit),
            // Reading from it did.
            None if due.has_failed => Ok(Step::Over),
            None if due.is_over => self.store.close().map(|()| Step::Over).map_err(Ended::Store),
            None => Ok(Step::Wait(due.wait.min(TEND_EVERY).min(self.syncing.wait(&self.shared)))),
        }
    }

    /// Stores a commit, now or when there is space for it.
    fn commit(&mut self, commit: Commit) -> Result<Step, Ended> {
        match self.store.commit(&commit) {
            Ok(()) => {}
            Err(error @ StoreError::Full(_)) => {
                self.look_for_space(true)?;
                let Some(patience) = self.shared.store_patience()? else {
                    return Err(Ended::Store(error));
                };
                self.refused = Some(commit);
                return Ok(Step::Wait(patience.min(RETRY)));
            }
            Err(error) => return Err(Ended::Store(error)),
        }
        self.look_for_space(false)?;
        self.syncing.committed(&self.shared, commit.ticket)?;
        Ok(Step::Again)
    }
}

impl Storekeeper {
    /// Tells the broker and the log whether there is space, if that has changed. `is_refused` says that a commit found none.
    fn look_for_space(&mut self, is_refused: bool) -> Result<(), Poisoned> {
        let before = self.space;
        self.space = before.then(self.store.is_full(), is_refused);
        if self.space.is_full() != before.is_full() {
            self.shared.store_full(self.space.is_full())?;
        }
        self.space.log(before, || self.store.place());
        Ok(())
    }
}

impl Drop for Storekeeper {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.store_failed(StoreError::Failed(Arc::new(Panicked)));
        }
    }
}

/// Why the steps end early.
pub(super) enum Ended {
    Poisoned,
    Store(StoreError),
}

impl From<Poisoned> for Ended {
    fn from(_: Poisoned) -> Self {
        Self::Poisoned
    }
}

/// The store panicked.
#[derive(Debug, Error)]
#[error("the store panicked, which is a defect of the store")]
pub(super) struct Panicked;

/// Wakes a thread.
pub(super) struct Sleeper(Thread);

impl Sleeper {
    pub(super) fn of_this_thread() -> Arc<Self> {
        Arc::new(Self(thread::current()))
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests;

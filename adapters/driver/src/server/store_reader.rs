//! Reads back what is only in the store (rule B8), on a thread of its own: neither do commits wait for it, nor it for them.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use super::shared::Shared;
use super::store::{Fetcher, StoreError};
use super::storekeeper::{Ended, Panicked, Sleeper};
use super::tasks::HousekeeperEntry;
use crate::sync::thread;

/// The thread's niceness: it gets a tenth of the time that another one gets that is always busy.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>, fetcher: Box<dyn Fetcher>) -> io::Result<()> {
    let mut reader = StoreReader::new(shared, fetcher);
    let builder = thread::Builder::new().name("zaichik-reader".to_owned());
    let run = move || {
        give_way();
        reader.wake_with(&Waker::from(Sleeper::of_this_thread()));
        loop {
            match reader.step() {
                Step::Again => {}
                Step::Wait => thread::park(),
                Step::Over => return,
            }
        }
    };
    builder.spawn(run).map(drop)
}

/// Lets other threads go first where the machine has too few cores: reading what is old waits for the disk anyway, and
/// what is new should not wait for that.
#[cfg(target_os = "linux")]
fn give_way() {
    // Without it, all threads are equal.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

#[cfg(not(target_os = "linux"))]
const fn give_way() {}

/// What reads from a store, and the broker that it belongs to.
///
/// If it panics, the store has failed.
pub(super) struct StoreReader {
    shared: Arc<Shared>,
    fetcher: Box<dyn Fetcher>,
    _entry: HousekeeperEntry,
}

/// What is to be done after a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one.
    Again,
    /// The next one when it is woken.
    Wait,
    /// Nothing: the broker has stopped, or it or its store failed.
    Over,
}

impl StoreReader {
    pub(super) fn new(shared: &Arc<Shared>, fetcher: Box<dyn Fetcher>) -> Self {
        Self { shared: Arc::clone(shared), fetcher, _entry: shared.tasks().enter_housekeeper() }
    }

    /// Sets what wakes it when there is something to read.
    pub(super) fn wake_with(&self, waker: &Waker) {
        // A broker that failed is found by the next step.
        let _ = self.shared.watch_fetches(waker);
    }

    /// Reads back one piece that the broker needs.
    pub(super) fn step(&mut self) -> Step {
        match self.try_step() {
            Ok(step) => step,
            // The thread of the commits says so.
            Err(Ended::Poisoned) => Step::Over,
            Err(Ended::Store(error)) => {
                tracing::error!(%error, "the store failed: what is only there cannot be read back");
                self.shared.store_failed(error);
                Step::Over
            }
        }
    }

    fn try_step(&mut self) -> Result<Step, Ended> {
        let due = self.shared.poll_fetch()?;
        let Some(fetch) = due.fetch else {
            return Ok(if due.is_over { Step::Over } else { Step::Wait });
        };
        let records = self.fetcher.fetch(&fetch).map_err(Ended::Store)?;
        match self.shared.fetched(fetch, records)? {
            Ok(()) => Ok(Step::Again),
            Err(error) => Err(Ended::Store(StoreError::Failed(Arc::new(error)))),
        }
    }
}

impl Drop for StoreReader {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.store_failed(StoreError::Failed(Arc::new(Panicked)));
        }
    }
}

#[cfg(test)]
mod tests;

//! What a broker needs of a store.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use zaichik_engine::store::{Commit, Fetch};

/// Keeps the rows of a broker. Its calls may block: they run on a thread of their own, those of its [`Fetcher`] on another
/// one.
pub trait Store: Send + 'static {
    /// Stores everything in the commit, in one atomic step, and returns when it is durable. A store that
    /// [syncs later](Self::sync_every) returns when it survives the end of the process.
    ///
    /// # Errors
    /// [`StoreError::Full`] if nothing of it is stored and it can be repeated; any other ends the broker.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;

    /// What reads records back that are only in the store. Called once, before all others.
    ///
    /// # Errors
    /// The broker does not start.
    fn fetcher(&mut self) -> Result<Box<dyn Fetcher>, StoreError>;

    /// For how long a commit may not be durable although the machine ends (rule B7); zero if [`commit`](Self::commit) makes
    /// it so. Asked once.
    fn sync_every(&self) -> Duration {
        Duration::ZERO
    }

    /// Makes every commit durable although the machine ends. Called when the time of [`sync_every`](Self::sync_every) has
    /// passed since a commit, and at once if a client waits for it.
    ///
    /// # Errors
    /// Any of them ends the broker.
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether there is no space but what the store keeps for commits that bring little: meanwhile the broker refuses what
    /// brings more (rule B9). Asked at the start, after each commit, and now and then. A store that keeps nothing returns
    /// [`StoreError::Full`] from [`commit`](Self::commit) instead, which means the same until a commit is made.
    fn is_full(&self) -> bool {
        false
    }

    /// What the log calls it: a directory, for example.
    fn place(&self) -> String {
        "the store".to_owned()
    }

    /// Does what need not be done while a commit waits. Called after each commit, and now and then if there is none.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit); `Full` is ignored.
    fn tend(&mut self) -> Result<(), StoreError>;

    /// The broker has stopped, and every commit was made.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    fn close(&mut self) -> Result<(), StoreError>;
}

/// Reads records back that are only in the store (rule B8), while the store goes on.
pub trait Fetcher: Send + 'static {
    /// The records of the rows that begin in the range, one after the other. If a commit removes rows meanwhile, they may be
    /// missing; if it only replaces others, none is.
    ///
    /// # Errors
    /// Any of them ends the broker.
    fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError>;
}

/// Why a store did not take a commit.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no space. Nothing of the commit is stored; it is repeated until there is.
    #[error("{0}")]
    Full(#[source] Arc<dyn Error + Send + Sync>),
    /// Anything else. What of the commit is stored is unknown: the broker ends, and the next one finds out.
    #[error("{0}")]
    Failed(#[source] Arc<dyn Error + Send + Sync>),
}

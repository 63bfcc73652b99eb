//! Why a broker cannot start with a directory.

use std::time::Duration;

use thiserror::Error;
use zaichik_driver::ServerError;
use zaichik_engine::store::RowError;
use zaichik_store_journal::{OpenError, StoreError};

/// Why a broker cannot start with a directory. Nothing in the directory has changed.
#[derive(Debug, Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum StorageError {
    /// What the broker itself needs.
    Server(#[from] ServerError),
    /// The directory cannot be used: another process does, it is damaged, or the operating system refuses it.
    Directory(#[from] OpenError),
    /// What the directory has is no state of a broker.
    Rows(#[from] RowError),
    /// The clock is more than an hour before the last commit in the directory (rule B3).
    #[error(
        "the clock of this machine is {} s before the last commit; set the clock, or accept it with accept_clock",
        behind.as_secs()
    )]
    Clock {
        /// By this time.
        behind: Duration,
    },
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        Self::Directory(error.into())
    }
}

//! The exit codes of a broker command. `zaichik store` has the same for a storage directory.

use zaichik_driver::ServerError;
use zaichik_engine::store::RowError;
use zaichik_store_journal::{OpenError, StoreError};

use crate::run_error::RunError;

/// Any other error.
pub(crate) const OTHER: u8 = 1;

/// The configuration is invalid.
pub(crate) const WRONG_CONFIGURATION: u8 = 2;

/// The broker cannot listen on an address.
pub(crate) const CANNOT_BIND: u8 = 3;

/// The storage directory is damaged.
pub(crate) const DAMAGED: u8 = 8;

/// Another program, or another version, wrote the storage directory.
pub(crate) const FOREIGN: u8 = 9;

/// The operating system could not read or write the storage directory (`EX_IOERR`): the next start may succeed.
pub(crate) const STORE_FAILED: u8 = 74;

/// Another process uses the storage directory (`EX_TEMPFAIL`).
pub(crate) const IN_USE: u8 = 75;

/// The code for a broker that did not start, or ended early.
pub(crate) fn of(error: &RunError) -> u8 {
    match error {
        RunError::Server(ServerError::Bind { .. }) => CANNOT_BIND,
        RunError::Topic(_)
        | RunError::Server(ServerError::Config(_))
        | RunError::Rows(RowError::Config(_)) => WRONG_CONFIGURATION,
        RunError::Server(ServerError::Store(_)) => STORE_FAILED,
        RunError::Directory(error) => of_directory(error),
        RunError::Rows(RowError::Key { .. } | RowError::Format { .. }) => FOREIGN,
        RunError::Rows(_) => DAMAGED,
        // The next start may find a better clock.
        RunError::Server(_) | RunError::Clock { .. } => OTHER,
    }
}

const fn of_directory(error: &OpenError) -> u8 {
    match error {
        OpenError::Locked { .. } | OpenError::BeingRead { .. } => IN_USE,
        OpenError::Foreign { .. } | OpenError::Version { .. } => FOREIGN,
        OpenError::Store(StoreError::Corrupt { .. }) => DAMAGED,
        OpenError::Store(_) => STORE_FAILED,
        _ => OTHER,
    }
}

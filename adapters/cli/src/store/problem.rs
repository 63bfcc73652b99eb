//! What is wrong with a storage directory.

use std::fmt;

use zaichik_engine::store::RowError;
use zaichik_store_journal::{OpenError, StoreError};

use crate::failure::Code;

/// What is wrong with a storage directory.
#[derive(Debug)]
pub(super) enum Problem {
    /// The journal cannot be opened or read.
    Journal(OpenError),
    /// What the journal has is not the state of a broker.
    Rows(RowError),
}

impl Problem {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Journal(OpenError::Store(StoreError::Corrupt { .. })) => Code::Damaged,
            Self::Journal(OpenError::Store(_)) => Code::Storage,
            Self::Journal(OpenError::Locked { .. } | OpenError::BeingRead { .. }) => Code::InUse,
            Self::Journal(OpenError::Foreign { .. } | OpenError::Version { .. })
            | Self::Rows(RowError::Key { .. } | RowError::Format { .. }) => Code::Foreign,
            Self::Journal(_) => Code::Other,
            Self::Rows(_) => Code::Damaged,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Rows(error) => error.fmt(f),
        }
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        Self::Journal(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Journal(error.into())
    }
}

impl From<RowError> for Problem {
    fn from(error: RowError) -> Self {
        Self::Rows(error)
    }
}

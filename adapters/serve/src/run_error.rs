//! Why a broker process ends with an error, and what to do about it.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use zaichik_driver::ServerError;
use zaichik_engine::store::RowError;
use zaichik_storage::StorageError;
use zaichik_store_journal::{File, OpenError, StoreError as JournalError};

use crate::config::Mistake;
use crate::topics::TopicError;

/// Why a broker process ends with an error.
#[derive(Debug, Error)]
#[error(transparent)]
pub(crate) enum RunError {
    /// What the broker itself needs, or its store failed.
    Server(#[from] ServerError),
    /// A declared topic cannot be created.
    #[error("{0}")]
    Topic(Mistake),
    /// The directory cannot be used.
    Directory(#[from] OpenError),
    /// What the directory has is no state of a broker.
    Rows(#[from] RowError),
    /// The clock is far before the last commit in the directory.
    #[error("the clock of this machine is {} before the last commit", shown(*behind))]
    Clock {
        /// By this time.
        behind: Duration,
    },
}

impl From<StorageError> for RunError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Server(error) => Self::Server(error),
            StorageError::Directory(error) => Self::Directory(error),
            StorageError::Rows(error) => Self::Rows(error),
            StorageError::Clock { behind } => Self::Clock { behind },
            // There are no others yet.
            _ => Self::Server(ServerError::Failed),
        }
    }
}

impl From<TopicError> for RunError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Refused(mistake) => Self::Topic(mistake),
            TopicError::Server(error) => Self::Server(error),
        }
    }
}

impl RunError {
    /// What happened, in which directory, and what to do, in one line.
    pub(crate) fn explain(&self, dir: &Path) -> String {
        let dir = dir.display();
        match self {
            Self::Server(error @ ServerError::Store(_)) => {
                format!(
                    "storage in {dir}: {error}; what the broker has answered is stored, and the next start reads it back"
                )
            }
            Self::Server(error @ ServerError::Bind { .. }) => format!(
                "{error}; choose another address with --port, --listen or --http; port 0 picks any free port"
            ),
            Self::Server(error) => error.to_string(),
            Self::Topic(mistake) => mistake.to_string(),
            Self::Directory(OpenError::Store(JournalError::Full)) => {
                format!("storage in {dir}: no space left to start with; free some, and start again")
            }
            // These name the directory.
            Self::Directory(error @ OpenError::Locked { .. }) => {
                format!("{error}; stop that one first, or name another directory with --data")
            }
            Self::Directory(error @ (OpenError::BeingRead { .. } | OpenError::Foreign { .. })) => {
                error.to_string()
            }
            Self::Directory(
                error @ OpenError::Store(JournalError::Corrupt { file: File::Segment(_), .. }),
            ) => {
                format!("storage in {dir}: {error}, with: zaichik store repair {dir} --truncate")
            }
            Self::Directory(error @ OpenError::Store(JournalError::Failed(source))) => {
                format!("storage in {dir}: {error}{}", advice(source.kind()))
            }
            Self::Directory(error @ OpenError::Version { .. }) => {
                format!("storage in {dir}: {error}; use the version that wrote it, or name another directory")
            }
            Self::Directory(error) => format!("storage in {dir}: {error}"),
            Self::Rows(error) => format!("storage in {dir}: {error}"),
            Self::Clock { .. } => format!(
                "storage in {dir}: {self}; set the clock, or start with --accept-clock: the broker's time then stands still \
                 until the clock has caught up"
            ),
        }
    }
}

/// A time for people, in whole seconds.
fn shown(time: Duration) -> impl fmt::Display {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

/// What to do if the operating system refuses a directory.
#[expect(clippy::wildcard_enum_match_arm, reason = "the error says all that is known")]
const fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "; let the broker's user write there, or name another directory with --data"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it so that it can be written, or name another directory with --data"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "; name a directory with --data",
        _ => "",
    }
}

//! Why the store could not be opened, or a commit not be made.

use core::fmt;
use std::io;
use std::path::PathBuf;

use crate::disk::File;

/// Why the store does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has claimed the directory. Nothing of the commit is stored.
    #[error("another process has claimed the storage directory; this one must end")]
    Fenced,
    /// There is no space. Nothing of the commit is stored; it can be repeated as it is.
    #[error("no space left for the storage directory; free some, and the commit can be repeated")]
    Full,
    /// What is stored is damaged. The store changes nothing in that case.
    #[error(
        "{file} is damaged at byte {at}: {damage}; restore the directory from a backup, or give up what follows"
    )]
    Corrupt {
        /// The damaged file.
        file: File,
        /// Where the damage begins.
        at: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// The commit is longer than 1 GiB, or a key is empty or longer than 65,535 bytes. Nothing of it is stored.
    #[error(
        "a commit of more than 1 GiB, or with an empty key or one of more than 65,535 bytes, cannot be stored"
    )]
    TooLong,
    /// The operating system refused something. What the last commit stored is unknown, and this journal accepts no more
    /// commits: open the directory again.
    #[error("{0}")]
    Failed(#[source] io::Error),
}

/// What is wrong with a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The file does not say what the directory is.
    Identity,
    /// The header of a segment is not valid.
    Header,
    /// The segment is one of another store.
    OtherStore,
    /// A frame is not valid, and others follow.
    Frame,
    /// A frame's sequence, epoch or oldest segment contradicts the frame before.
    Order,
    /// A row does not have its checksum.
    Row,
    /// A frame has a valid checksum, but cannot be read.
    Malformed,
    /// The segment is missing.
    Missing,
    /// The journal ends here, but later commits were answered.
    Cut,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "it does not say which store this is, but there are segments",
            Self::Header => "the segment's header is not valid",
            Self::OtherStore => "the segment belongs to another store",
            Self::Frame => "a commit is not valid, although others follow",
            Self::Order => "a commit does not continue the one before",
            Self::Row => "a row does not have its checksum",
            Self::Malformed => "a commit has a valid checksum, but cannot be read by this version",
            Self::Missing => "the file is missing",
            Self::Cut => "the journal ends here, although later commits were answered",
        })
    }
}

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses it.
    #[error("{} is used by another broker, process {pid}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, as its lock file says; `"unknown"` if that cannot be read.
        pid: String,
    },
    /// Another process [only reads](crate::Files::read_only) it.
    #[error("{} is being read by another process; try again when that has ended", path.display())]
    BeingRead {
        /// The directory.
        path: PathBuf,
    },
    /// It has no store, but files of somebody else.
    #[error("{} is no storage directory: it contains {entry}; name an empty or a new directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        entry: String,
    },
    /// Another version of this program wrote it.
    #[error("the storage directory has format {found}, but this version reads format {}", crate::FORMAT)]
    Version {
        /// Its format.
        found: u32,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the error says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The error, with what was being done.
pub(crate) fn failed(doing: &str, file: impl fmt::Display, error: &io::Error) -> StoreError {
    StoreError::Failed(io::Error::new(error.kind(), format!("cannot {doing} {file}: {error}")))
}

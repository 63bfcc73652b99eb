//! What the journal does to its directory, as data.

use core::fmt;
use std::io;

/// A file of the journal's directory. Displayed, it is the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    /// What the directory is: its format and the store's id.
    Identity,
    /// The highest sequence that was answered.
    Floor,
    /// Space that is given back when the disk is full.
    Reserve,
    /// That not every commit may be synced.
    Unsynced,
    /// A part of the journal. Numbers begin at 1 and have no gaps.
    Segment(u64),
}

impl File {
    /// The file with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "FORMAT" => Some(Self::Identity),
            "FLOOR" => Some(Self::Floor),
            "RESERVE" => Some(Self::Reserve),
            "UNSYNCED" => Some(Self::Unsynced),
            _ => {
                let file = Self::Segment(name.strip_prefix("segment-")?.parse().ok()?);
                Some(file).filter(|file| file.to_string() == name)
            }
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("FORMAT"),
            Self::Floor => f.write_str("FLOOR"),
            Self::Reserve => f.write_str("RESERVE"),
            Self::Unsynced => f.write_str("UNSYNCED"),
            Self::Segment(number) => write!(f, "segment-{number:010}"),
        }
    }
}

/// One change of the directory. Nothing is durable until a sync says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Creates a file without content, also if there is one already.
    Create(File),
    /// Writes all of these bytes, and extends the file if it is shorter.
    Write {
        /// The file, which exists.
        file: File,
        /// Where the bytes go.
        at: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Cuts the file off.
    Truncate {
        /// The file, which exists.
        file: File,
        /// Its new length.
        len: u64,
    },
    /// Makes the content of a file durable. Never repeated on the same file when it has failed.
    Sync(File),
    /// Makes durable which files there are.
    SyncDirectory,
    /// Removes a file.
    Remove(File),
}

/// A directory: of the file system ([`Files`](crate::Files)), or of a test.
pub trait Disk {
    /// Does this.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says; [`io::ErrorKind::StorageFull`] if there is no space. After an error, any part
    /// of a write may have happened.
    fn run(&mut self, effect: Effect<'_>) -> io::Result<()>;

    /// Reads from a file until the buffer is full or the file ends. Returns how many bytes were read.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says, also if there is no such file.
    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// These bytes will probably be read next, so that the system may begin to. It may do nothing, and reports no error.
    fn will_read(&mut self, file: File, at: u64, len: u64) {
        let _ = (file, at, len);
    }

    /// The journal's files that exist, and their lengths.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn files(&mut self) -> io::Result<Vec<(File, u64)>>;

    /// Whether nobody else has claimed the directory since it was opened.
    fn is_ours(&mut self) -> bool;

    /// Identifies the start of the machine, if that is known: what was written since then is there, also if it was not
    /// synced.
    fn boot(&mut self) -> Option<u128>;
}

impl<D: Disk> Disk for &mut D {
    fn run(&mut self, effect: Effect<'_>) -> io::Result<()> {
        (**self).run(effect)
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        (**self).read(file, at, bytes)
    }

    fn will_read(&mut self, file: File, at: u64, len: u64) {
        (**self).will_read(file, at, len);
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        (**self).files()
    }

    fn is_ours(&mut self) -> bool {
        (**self).is_ours()
    }

    fn boot(&mut self) -> Option<u128> {
        (**self).boot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_names() {
        let files = [File::Identity, File::Floor, File::Reserve, File::Unsynced];
        for file in files.into_iter().chain([1, 12_345_678_901].map(File::Segment)) {
            assert_eq!(File::named(&file.to_string()), Some(file));
        }
        for name in ["segment-1", "segment-", "segment-00000000001", "LOCK", "format", "segment-000000000x"] {
            assert_eq!(File::named(name), None, "{name}");
        }
    }
}

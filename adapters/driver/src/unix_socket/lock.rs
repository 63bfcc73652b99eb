//! A lock on a path, held by one process at a time.

use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Attempts to lock the file at the path itself: each fails only if another process released the lock meanwhile.
const ATTEMPTS: usize = 16;

/// A lock on a path: the file next to it, with `.lock` appended, which exists only while the lock is held.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "a file of this process, to be locked")]
pub(super) struct PathLock {
    path: PathBuf,
    /// Its end releases the lock.
    _file: std::fs::File,
}

impl PathLock {
    /// Locks the path without blocking; `None` if another process holds the lock.
    ///
    /// # Errors
    /// The file cannot be created or locked.
    pub(super) fn acquire(of: &Path) -> io::Result<Option<Self>> {
        let mut path = of.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..ATTEMPTS {
            // Creating a new file follows no symbolic link.
            let created = OpenOptions::new().write(true).create_new(true).open(&path);
            let file = match created {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match OpenOptions::new().write(true).open(&path) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        opened => opened?,
                    }
                }
                created => created?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let locked = file.metadata()?;
            if identity(&path) == Some((locked.dev(), locked.ino())) {
                return Ok(Some(Self { path, _file: file }));
            }
            // The process that held the lock has removed the file: it no longer excludes anyone.
        }
        Ok(None)
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // A file that stays is locked and removed by the next process.
        drop(std::fs::remove_file(&self.path));
    }
}

/// The device and the inode of a file.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

//! The directory of the file system.

#![expect(clippy::disallowed_types, reason = "files are what this module is about")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, Effect, File};
use crate::error::{OpenError, failed};

/// How many files are kept open.
const MAX_OPEN: usize = 64;
/// Its holder is the owner of the directory; it contains the holder's process id.
const LOCK: &str = "LOCK";
/// What the system draws at random when the machine starts; only Linux has it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A directory that this process has locked, or only reads.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// `None` if it is only read and has no lock file.
    lock: Option<fs::File>,
    is_read_only: bool,
    /// Whether somebody else changes it meanwhile.
    is_shared: bool,
    open: BTreeMap<File, fs::File>,
    /// Files with writes that were not synced; their handles stay open, because the system reports the error of a sync to them.
    written: BTreeSet<File>,
}

impl Files {
    /// Locks the directory; creates it if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`Self::existing`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(|error| failed("create", path.display(), &error))?;
        Self::existing(path)
    }

    /// Locks a directory that exists.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`]; [`OpenError::BeingRead`]; [`OpenError::Foreign`] if it has no store, but other files;
    /// [`OpenError::Store`] if the operating system refuses.
    pub fn existing(path: &Path) -> Result<Self, OpenError> {
        let doing = |error: io::Error| OpenError::Store(failed("open", path.display(), &error));
        refuse_foreign(path)?;
        loop {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut lock = options.open(path.join(LOCK)).map_err(doing)?;
            match lock.try_lock() {
                Ok(()) => {}
                // Owners share the lock with nobody, so whoever shares it now only reads.
                Err(TryLockError::WouldBlock) if lock.try_lock_shared().is_ok() => {
                    return Err(OpenError::BeingRead { path: path.to_owned() });
                }
                Err(TryLockError::WouldBlock) => return Err(locked(path, lock)),
                Err(TryLockError::Error(error)) => return Err(doing(error)),
            }
            if !is_at(&lock, &path.join(LOCK)) {
                // It was removed before it was locked.
                continue;
            }
            lock.set_len(0).map_err(doing)?;
            lock.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(doing)?;
            return Ok(Self::new(path, Some(lock), false));
        }
    }

    /// Opens a directory that exists, to look at it: nothing in it is changed, nor is anything created. The lock is
    /// shared with others that read, so that no owner changes the directory meanwhile; one without a lock file, such as a
    /// copy, is not locked.
    ///
    /// # Errors
    ///
    /// Those of [`Self::existing`].
    pub fn read_only(path: &Path) -> Result<Self, OpenError> {
        let doing = |error: io::Error| OpenError::Store(failed("open", path.display(), &error));
        refuse_foreign(path)?;
        let lock = match fs::File::open(path.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new(path, None, true)),
            Err(error) => return Err(doing(error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(Self::new(path, Some(lock), true)),
            Err(TryLockError::WouldBlock) => Err(locked(path, lock)),
            Err(TryLockError::Error(error)) => Err(doing(error)),
        }
    }

    /// Reads a directory that its owner changes meanwhile, who is in the same process. No file stays open, so that one which
    /// the owner removes takes no space any more.
    #[must_use]
    pub fn beside_owner(path: &Path) -> Self {
        Self { is_shared: true, ..Self::new(path, None, true) }
    }

    fn new(path: &Path, lock: Option<fs::File>, is_read_only: bool) -> Self {
        let (open, written) = (BTreeMap::new(), BTreeSet::new());
        Self { path: path.to_owned(), lock, is_read_only, is_shared: false, open, written }
    }

    /// A handle of its own.
    fn handle(&self, file: File) -> io::Result<fs::File> {
        fs::File::open(self.path.join(file.to_string()))
    }

    fn file(&mut self, file: File) -> io::Result<&mut fs::File> {
        if self.open.len() >= MAX_OPEN && !self.open.contains_key(&file) {
            let written = &self.written;
            self.open.retain(|file, _| written.contains(file));
        }
        match self.open.entry(file) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let mut options = OpenOptions::new();
                let options = options.read(true).write(!self.is_read_only);
                Ok(entry.insert(options.open(self.path.join(file.to_string()))?))
            }
        }
    }
}

impl Disk for Files {
    fn run(&mut self, effect: Effect<'_>) -> io::Result<()> {
        if self.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match effect {
            Effect::Create(file) => {
                let path = self.path.join(file.to_string());
                let handle =
                    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
                self.open.insert(file, handle);
                Ok(())
            }
            Effect::Write { file, at, bytes } => {
                self.written.insert(file);
                write_at(self.file(file)?, at, bytes)
            }
            Effect::Truncate { file, len } => self.file(file)?.set_len(len),
            Effect::Sync(file) => {
                self.file(file)?.sync_data()?;
                self.written.remove(&file);
                Ok(())
            }
            Effect::SyncDirectory => sync_directory(&self.path),
            Effect::Remove(file) => {
                self.open.remove(&file);
                self.written.remove(&file);
                fs::remove_file(self.path.join(file.to_string()))
            }
        }
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if self.is_shared {
            return read_at(&mut self.handle(file)?, at, bytes);
        }
        read_at(self.file(file)?, at, bytes)
    }

    fn will_read(&mut self, file: File, at: u64, len: u64) {
        // The read says what is wrong.
        let Ok(handle) = self.handle(file) else { return };
        advise(&handle, at, len);
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(file) = entry.file_name().to_str().and_then(File::named) {
                files.push((file, entry.metadata()?.len()));
            }
        }
        Ok(files)
    }

    fn is_ours(&mut self) -> bool {
        self.lock.as_ref().is_some_and(|lock| !self.is_read_only && is_at(lock, &self.path.join(LOCK)))
    }

    fn boot(&mut self) -> Option<u128> {
        let id = fs::read_to_string(BOOT_ID).ok()?;
        u128::from_str_radix(&id.trim().replace('-', ""), 16).ok()
    }
}

/// The error that names the process whose id is in the lock file.
fn locked(path: &Path, mut lock: fs::File) -> OpenError {
    let mut pid = String::new();
    let read = lock.read_to_string(&mut pid);
    let pid = read.ok().map(|_| pid.trim().to_owned()).filter(|pid| !pid.is_empty());
    OpenError::Locked { path: path.to_owned(), pid: pid.unwrap_or_else(|| "unknown".to_owned()) }
}

/// A directory in which only somebody else has files is not a place for a store.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let doing = |error: io::Error| OpenError::Store(failed("list", path.display(), &error));
    let mut foreign = None;
    for entry in fs::read_dir(path).map_err(doing)? {
        let name = entry.map_err(doing)?.file_name();
        let name = name.to_string_lossy();
        match File::named(&name) {
            Some(File::Identity) => return Ok(()),
            Some(_) => {}
            None if name == LOCK || name == "lost+found" => {}
            None => foreign = Some(name.into_owned()),
        }
    }
    foreign.map_or(Ok(()), |entry| Err(OpenError::Foreign { path: path.to_owned(), entry }))
}

/// Whether this is the file with this path.
#[cfg(unix)]
fn is_at(file: &fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(file), Ok(path)) = (file.metadata(), fs::metadata(path)) else { return false };
    (file.dev(), file.ino()) == (path.dev(), path.ino())
}

/// A locked file cannot be removed elsewhere.
#[cfg(not(unix))]
const fn is_at(_: &fs::File, _: &Path) -> bool {
    true
}

#[cfg(unix)]
fn write_at(file: &mut fs::File, at: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(file: &mut fs::File, at: u64, bytes: &[u8]) -> io::Result<()> {
    io::Seek::seek(file, io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &mut fs::File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
    io::Seek::seek(file, io::SeekFrom::Start(at))?;
    let mut done = 0_usize;
    loop {
        match file.read(bytes.get_mut(done..).unwrap_or_default()) {
            Ok(0) => return Ok(done),
            Ok(read) => done = done.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lets the system begin to read.
#[cfg(target_os = "linux")]
fn advise(file: &fs::File, at: u64, len: u64) {
    // It is a hint, and the read reports errors.
    let _ = rustix::fs::fadvise(file, at, core::num::NonZero::new(len), rustix::fs::Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &fs::File, _: u64, _: u64) {}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Elsewhere a file's own sync makes its name durable.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

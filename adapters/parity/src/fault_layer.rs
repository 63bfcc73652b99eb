//! Makes the disk of a real broker fail on purpose: a C library that intercepts system calls.
//!
//! Needs a C compiler, which Rust's linker is on Linux, and a command that is linked with glibc dynamically.

#![expect(clippy::disallowed_types, reason = "files are how the test and the library talk")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

pub use rustix::io::Errno;

/// The library, which describes the layout of the control file.
const SOURCE: &str = include_str!("fault_layer.c");

/// The bytes of what is before the faults in the control file, and of each of these.
const LINE: u64 = 64;
const FAULTS: u64 = 15;

/// The bytes of the name in a fault; the operation, the error, the calls that are left and the hits follow.
const NAME: usize = 32;

/// What a broker does to files below its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Operation {
    /// Opens a file that it creates if there is none.
    Create,
    /// Writes; half of the bytes are written before it fails.
    Write,
    /// Reads.
    Read,
    /// Changes the length of a file.
    Truncate,
    /// Makes the content of a file durable.
    Sync,
    /// Makes durable which files there are.
    SyncDirectory,
    /// Removes a file.
    Remove,
}

/// The faults of one broker's disk.
#[derive(Debug)]
pub struct Faults {
    folder: PathBuf,
    control: File,
    /// Its lock is held while calls are to wait.
    gate: File,
    used: AtomicU64,
}

/// A fault that has been set.
#[derive(Debug)]
pub struct Fault<'a> {
    faults: &'a Faults,
    at: u64,
}

impl Faults {
    /// No faults yet, for a broker whose directory is [`data`](Self::data). Builds the library in the same folder, which
    /// exists and belongs to the test.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        // The library compares paths with those that the system has for open files.
        let folder = folder.canonicalize().expect("it exists");
        build(&folder.join("faults.so"));
        let create = |name: &str| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true).open(folder.join(name))
        };
        let (control, gate) = (create("control").expect("created"), create("gate").expect("created"));
        control.set_len(LINE.saturating_mul(FAULTS.saturating_add(1))).expect("room on the disk");
        Self { folder, control, gate, used: AtomicU64::new(0) }
    }

    /// The storage directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Lets a broker command use the directory, on the disk with faults.
    pub fn below<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.load(command, "data").arg("--data").arg(self.data())
    }

    /// Lets any command meet the faults, in a directory with this name in the folder.
    pub fn load<'a>(&self, command: &'a mut Command, directory: &str) -> &'a mut Command {
        command
            .env("LD_PRELOAD", self.folder.join("faults.so"))
            .env("FAULT_CONTROL", self.folder.join("control"))
            .env("FAULT_GATE", self.folder.join("gate"))
            .env("FAULT_DIRECTORY", self.folder.join(directory))
    }

    /// Lets so many calls fail, on files whose names begin like this; `None`: until it is lifted.
    #[must_use]
    pub fn fail(&self, operation: Operation, name: &str, error: Errno, calls: Option<u32>) -> Fault<'_> {
        let calls = calls.map_or(-1, i64::from);
        self.set(operation, name, error.raw_os_error().into(), calls)
    }

    /// Lets one call wait until the fault is lifted; then it is made.
    #[must_use]
    pub fn hold(&self, operation: Operation, name: &str) -> Fault<'_> {
        self.gate.lock().expect("nobody else holds it");
        self.set(operation, name, 0, 1)
    }

    fn set(&self, operation: Operation, name: &str, error: i64, calls: i64) -> Fault<'_> {
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        assert!(number < FAULTS, "no more faults");
        let fault = Fault { faults: self, at: LINE.saturating_mul(number.saturating_add(1)) };
        let mut line = [0; NAME];
        line.get_mut(..name.len()).expect("a short name").copy_from_slice(name.as_bytes());
        self.control.write_all_at(&line, fault.at).expect("written");
        fault.write(0, operation as i64);
        fault.write(1, error);
        fault.write(2, calls);
        fault
    }
}

impl Fault<'_> {
    /// How many calls it has happened to.
    ///
    /// # Panics
    /// No broker has loaded the library, so nothing can ever fail.
    #[must_use]
    pub fn hits(&self) -> i64 {
        let loaded = read(&self.faults.control, 0);
        assert_ne!(loaded, 0, "the broker does not load the library: is it linked dynamically?");
        read(&self.faults.control, self.place(3))
    }

    /// Ends it, and lets a call go on that waits because of it.
    pub fn lift(&self) {
        self.write(2, 0);
        self.faults.gate.unlock().expect("the lock can be given back");
    }

    fn write(&self, field: u64, value: i64) {
        self.faults.control.write_all_at(&value.to_ne_bytes(), self.place(field)).expect("written");
    }

    fn place(&self, field: u64) -> u64 {
        self.at.saturating_add(NAME as u64).saturating_add(field.saturating_mul(8))
    }
}

fn read(control: &File, at: u64) -> i64 {
    let mut bytes = [0; 8];
    control.read_exact_at(&mut bytes, at).expect("read");
    i64::from_ne_bytes(bytes)
}

fn build(library: &Path) {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let flags =
        ["-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror", "-xc", "-", "-o"];
    let mut command = Command::new(&compiler);
    let spawned = command.args(flags).arg(library).stdin(Stdio::piped()).spawn();
    let mut process = spawned.unwrap_or_else(|error| {
        panic!(
            "these tests need a C compiler: {}: {error}; install one, or name it in CC",
            compiler.display()
        )
    });
    let mut source = process.stdin.take().expect("a pipe");
    source.write_all(SOURCE.as_bytes()).expect("it reads its input");
    drop(source);
    assert!(process.wait().expect("it ends").success(), "the library does not compile");
    assert!(fs::exists(library).expect("a folder"), "the compiler made nothing");
}

//! What the disk itself does: a loop that writes and syncs, and one that reads.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise, syncfs};
use zaichik_measure::Latencies;

/// Bytes of a read.
const BLOCK: usize = 1 << 20;

/// Commits of the same size, one after the other.
#[derive(Debug)]
pub(super) struct Synced {
    pub(super) commits: u64,
    pub(super) seconds: f64,
    /// Of each commit, in nanoseconds.
    pub(super) latencies: Latencies,
}

/// Where the bytes of a commit go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind those of the one before: the file grows.
    End,
    /// Into a file of 64 MiB that was written before, from its beginning on again and again.
    Within,
}

/// Bytes of a file that is written before.
const FILE: u64 = 64 << 20;

/// Writes this number of bytes to a new file and syncs its data (`fdatasync`), until the time is over. Removes the file.
pub(super) fn write_and_sync(
    folder: &Path,
    place: Place,
    bytes: usize,
    duration: Duration,
) -> Result<Synced> {
    let path = folder.join("plain");
    let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let data: Vec<u8> = (0_u8..251).cycle().take(bytes).collect();
    if place == Place::Within {
        let block = vec![0; BLOCK];
        for _ in 0..FILE / BLOCK as u64 {
            file.write_all(&block).context("writing")?;
        }
        file.rewind().context("seeking")?;
    }
    let mut left = FILE;
    let mut latencies = Latencies::in_nanoseconds()?;
    settle(folder)?;
    let begin = Instant::now();
    let mut end = begin;
    while end - begin < duration {
        if place == Place::Within {
            if left < bytes as u64 {
                file.rewind().context("seeking")?;
                left = FILE;
            }
            left -= bytes as u64;
        }
        file.write_all(&data).context("writing")?;
        file.sync_data().context("syncing")?;
        let now = Instant::now();
        latencies.record(u64::try_from((now - end).as_nanos())?, 1);
        end = now;
    }
    fs::remove_file(&path).context("removing the file")?;
    Ok(Synced { commits: latencies.count(), seconds: (end - begin).as_secs_f64(), latencies })
}

/// Waits until the file system has written everything, so that a run does not pay for what was before it: for a removed
/// file, the space of which the disk is told, the next sync would.
pub(super) fn settle(folder: &Path) -> Result<()> {
    let folder = File::open(folder).with_context(|| format!("opening {}", folder.display()))?;
    syncfs(&folder).context("syncing the file system")
}

/// Reads all files of a folder one after the other; returns the number of their bytes.
pub(super) fn read_all(folder: &Path) -> Result<u64> {
    let (mut buffer, mut bytes) = (vec![0; BLOCK], 0);
    each_file(folder, |mut file| {
        loop {
            let count = file.read(&mut buffer).context("reading")?;
            if count == 0 {
                return Ok(());
            }
            bytes += count as u64;
        }
    })?;
    Ok(bytes)
}

/// Drops the files of a folder from the system's cache, after writing them back.
pub(super) fn forget(folder: &Path) -> Result<()> {
    each_file(folder, |file| {
        file.sync_data().context("syncing")?;
        fadvise(&file, 0, None, Advice::DontNeed).context("dropping a file from the cache")
    })
}

fn each_file(folder: &Path, mut take: impl FnMut(File) -> Result<()>) -> Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        take(File::open(&path).with_context(|| format!("opening {}", path.display()))?)?;
    }
    Ok(())
}

//! A disk on which everything is tried, and nothing done.

use std::collections::BTreeMap;
use std::io;

use crate::disk::{Disk, Effect, File};

/// A disk whose changes are in memory only: what somebody would do to it can be looked at before. Memory: what is written.
///
/// ```
/// use zaichik_store_journal::{Disk, Effect, File, Files, Trial};
/// # let path = std::env::temp_dir().join(format!("zaichik-trial-{}", std::process::id()));
/// # std::fs::create_dir_all(&path)?;
/// let mut trial = Trial::new(Files::read_only(&path)?);
/// trial.run(Effect::Create(File::Floor))?;
/// assert_eq!(trial.files()?, [(File::Floor, 0)]);
/// assert_eq!(trial.into_inner().files()?, []);
/// # std::fs::remove_dir_all(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Trial<D> {
    disk: D,
    /// Files that are not as on the disk; `None` if one is removed.
    changed: BTreeMap<File, Option<Changed>>,
}

/// A file that is not as on the disk.
#[derive(Debug, Default)]
struct Changed {
    /// How much of the disk's file is left; zeros are behind it.
    kept: u64,
    len: u64,
    /// What was written, in order.
    writes: Vec<(u64, Vec<u8>)>,
}

impl<D: Disk> Trial<D> {
    /// Nothing is changed yet.
    pub const fn new(disk: D) -> Self {
        Self { disk, changed: BTreeMap::new() }
    }

    /// The disk, which is as it was.
    pub fn into_inner(self) -> D {
        self.disk
    }

    fn change(&mut self, file: File) -> io::Result<&mut Changed> {
        if !self.changed.contains_key(&file) {
            let len = self.disk.files()?.into_iter().find(|(other, _)| *other == file).map(|(_, len)| len);
            self.changed.insert(file, len.map(|len| Changed { kept: len, len, writes: Vec::new() }));
        }
        let changed = self.changed.get_mut(&file).and_then(Option::as_mut);
        changed.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl<D: Disk> Disk for Trial<D> {
    fn run(&mut self, effect: Effect<'_>) -> io::Result<()> {
        match effect {
            Effect::Create(file) => {
                self.changed.insert(file, Some(Changed::default()));
            }
            Effect::Write { file, at, bytes } => self.change(file)?.write(at, bytes),
            Effect::Truncate { file, len } => self.change(file)?.truncate(len),
            Effect::Sync(_) | Effect::SyncDirectory => {}
            Effect::Remove(file) => {
                let _ = self.change(file)?;
                self.changed.insert(file, None);
            }
        }
        Ok(())
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(changed) = self.changed.get(&file) else { return self.disk.read(file, at, bytes) };
        let Some(changed) = changed else { return Err(io::ErrorKind::NotFound.into()) };
        let count = part(bytes.len(), changed.len.saturating_sub(at));
        let bytes = bytes.get_mut(..count).unwrap_or_default();
        let kept = part(count, changed.kept.saturating_sub(at));
        if let Some(kept) = bytes.get_mut(..kept).filter(|kept| !kept.is_empty()) {
            let _ = self.disk.read(file, at, kept)?;
        }
        bytes.get_mut(kept..).unwrap_or_default().fill(0);
        changed.writes.iter().for_each(|(from, written)| lay_over(bytes, at, *from, written));
        Ok(count)
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        let mut files: BTreeMap<_, _> = self.disk.files()?.into_iter().collect();
        for (file, changed) in &self.changed {
            match changed {
                Some(changed) => files.insert(*file, changed.len),
                None => files.remove(file),
            };
        }
        Ok(files.into_iter().collect())
    }

    fn is_ours(&mut self) -> bool {
        true
    }

    fn boot(&mut self) -> Option<u128> {
        self.disk.boot()
    }
}

impl Changed {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.len = self.len.max(at.saturating_add(bytes.len() as u64));
        self.writes.push((at, bytes.to_vec()));
    }

    fn truncate(&mut self, len: u64) {
        self.len = len;
        self.kept = self.kept.min(len);
        for (at, bytes) in &mut self.writes {
            bytes.truncate(part(bytes.len(), len.saturating_sub(*at)));
        }
    }
}

/// As many of these as `most` allows.
fn part(count: usize, most: u64) -> usize {
    usize::try_from(most).map_or(count, |most| count.min(most))
}

/// Copies what was written from `from` on into `bytes`, which begin at `at`.
fn lay_over(bytes: &mut [u8], at: u64, from: u64, written: &[u8]) {
    let to_skip = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let place = bytes.get_mut(to_skip(from.saturating_sub(at))..).unwrap_or_default();
    let source = written.get(to_skip(at.saturating_sub(from))..).unwrap_or_default();
    for (place, byte) in place.iter_mut().zip(source) {
        *place = *byte;
    }
}

//! A disk in memory that loses power, fills up and fails as a test wants it.
//!
//! It is as unreliable as a disk may be: without a sync, any sectors of what was written may be there after the power was
//! lost, and any files may exist or not. A sync that fails loses what it should have made durable, but what is read before
//! the power is lost still shows it, and the next sync succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, Effect, File};

/// What is written as a whole or not at all.
pub const SECTOR: usize = 512;

/// A disk in memory. Clones are the same disk; [`copy`](Self::copy) makes another.
#[derive(Debug, Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

/// What happens to an effect instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A part of it happens, and it fails with this error.
    Error(io::ErrorKind),
    /// It never happens, and neither does anything after it until the disk [loses power](SimulatedDisk::lose_power) or is
    /// [released](SimulatedDisk::release).
    Stop,
}

#[derive(Debug, Clone, Default)]
struct State {
    random: u64,
    /// What exists, and what would after a loss of power.
    names: BTreeMap<File, usize>,
    durable_names: BTreeMap<File, usize>,
    contents: Vec<Content>,
    capacity: Option<u64>,
    effects: u64,
    faults: BTreeMap<u64, Fault>,
    is_stopped: bool,
    is_taken: bool,
    /// How often it lost power.
    boot: u128,
}

#[derive(Debug, Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that were written since the last sync.
    dirty: BTreeSet<usize>,
    /// The least length since the last sync.
    shortest: Option<usize>,
}

impl SimulatedDisk {
    /// An empty disk. All that is left to chance follows from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { random: seed, ..State::default() })))
    }

    /// Another disk in the same state, without faults to come, that leaves other things to chance.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let state =
            State { random: seed, faults: BTreeMap::new(), is_stopped: false, ..self.state().clone() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// How many effects there were.
    #[must_use]
    pub fn effects(&self) -> u64 {
        self.state().effects
    }

    /// Lets the effect fail that comes after this many others.
    pub fn fail(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.effects.saturating_add(after);
        state.faults.insert(at, fault);
    }

    /// Limits the bytes of all files together; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// The bytes of all files together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Whether somebody else claims the disk.
    pub fn take_away(&self) {
        self.state().is_taken = true;
    }

    /// Lets a disk that stopped go on, as for a process that was started again.
    pub fn release(&self) {
        let mut state = self.state();
        state.is_stopped = false;
        state.faults.clear();
    }

    /// Loses what is not durable: all of it, or a part.
    pub fn lose_power(&self) {
        self.release();
        let mut state = self.state();
        state.boot = state.boot.saturating_add(1);
        let State { contents, random, names, durable_names, .. } = &mut *state;
        for content in contents {
            content.lose(random);
            content.seen.clone_from(&content.durable);
        }
        let changed: BTreeSet<File> = names.keys().chain(durable_names.keys()).copied().collect();
        for file in changed {
            if draw(random) {
                match names.get(&file) {
                    Some(content) => durable_names.insert(file, *content),
                    None => durable_names.remove(&file),
                };
            }
        }
        names.clone_from(durable_names);
    }

    /// The content of a file.
    #[must_use]
    pub fn content(&self, file: File) -> Option<Vec<u8>> {
        let state = self.state();
        let content = state.names.get(&file).and_then(|at| state.contents.get(*at));
        content.map(|content| content.seen.clone())
    }

    /// Replaces the content of a file, durably; `None` removes it.
    pub fn replace(&self, file: File, bytes: Option<Vec<u8>>) {
        let mut state = self.state();
        let Some(bytes) = bytes else {
            state.names.remove(&file);
            state.durable_names.remove(&file);
            return;
        };
        let at = state.contents.len();
        state.contents.push(Content { seen: bytes.clone(), durable: bytes, ..Content::default() });
        state.names.insert(file, at);
        state.durable_names.insert(file, at);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used(&self) -> u64 {
        let lengths = self
            .names
            .values()
            .filter_map(|at| self.contents.get(*at))
            .map(|content| content.seen.len() as u64);
        lengths.fold(0, u64::saturating_add)
    }

    fn content(&mut self, file: File) -> io::Result<&mut Content> {
        let at = self.names.get(&file).copied();
        at.and_then(|at| self.contents.get_mut(at)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// How many bytes of a write there is space for.
    fn room(&mut self, file: File, at: usize, len: usize) -> io::Result<usize> {
        let Some(capacity) = self.capacity else { return Ok(len) };
        let free = usize::try_from(capacity.saturating_sub(self.used())).unwrap_or(usize::MAX);
        let have = self.content(file)?.seen.len().saturating_sub(at);
        Ok(len.min(have.saturating_add(free)))
    }

    fn run(&mut self, effect: Effect<'_>, fault: Option<io::ErrorKind>) -> io::Result<()> {
        match effect {
            Effect::Create(file) => {
                if let Some(kind) = fault {
                    return Err(kind.into());
                }
                if let Ok(content) = self.content(file) {
                    content.cut(0);
                } else {
                    let at = self.contents.len();
                    self.contents.push(Content::default());
                    self.names.insert(file, at);
                }
            }
            Effect::Write { file, at, bytes } => {
                let at = usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
                let mut len = self.room(file, at, bytes.len())?;
                if fault.is_some() {
                    len = len.min(below(&mut self.random, bytes.len().saturating_add(1)));
                }
                self.content(file)?.write(at, bytes.get(..len).unwrap_or_default());
                match fault {
                    Some(kind) => return Err(kind.into()),
                    None if len < bytes.len() => return Err(io::ErrorKind::StorageFull.into()),
                    None => {}
                }
            }
            Effect::Truncate { file, len } => {
                self.content(file)?.cut(usize::try_from(len).unwrap_or(usize::MAX));
            }
            Effect::Sync(file) => {
                let mut random = self.random;
                let content = self.content(file)?;
                if fault.is_some() {
                    content.lose(&mut random);
                } else {
                    content.sync();
                }
                self.random = random;
                if let Some(kind) = fault {
                    return Err(kind.into());
                }
            }
            Effect::SyncDirectory => {
                if let Some(kind) = fault {
                    return Err(kind.into());
                }
                self.durable_names.clone_from(&self.names);
            }
            Effect::Remove(file) => {
                if let Some(kind) = fault {
                    return Err(kind.into());
                }
                self.names.remove(&file).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(())
    }
}

impl Content {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at.saturating_add(bytes.len());
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        if let Some(place) = self.seen.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
        if !bytes.is_empty() {
            self.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
        }
    }

    fn cut(&mut self, len: usize) {
        self.seen.truncate(len);
        self.shortest = Some(self.shortest.unwrap_or(usize::MAX).min(len));
    }

    /// Makes all that was written since the last sync durable. What a sync lost stays lost.
    fn sync(&mut self) {
        self.persist(|| true, || true);
        self.dirty.clear();
        self.shortest = None;
    }

    /// Makes some of what was written since the last sync durable, and loses the rest.
    fn lose(&mut self, random: &mut u64) {
        // All sectors, none or some.
        let style = below(random, 4);
        let (mut sectors, mut lengths) = (next(random), next(random));
        self.persist(|| draw(&mut lengths), || style == 0 || style > 1 && draw(&mut sectors));
        self.dirty.clear();
        self.shortest = None;
    }

    fn persist(&mut self, mut is_length_kept: impl FnMut() -> bool, mut is_kept: impl FnMut() -> bool) {
        if let Some(shortest) = self.shortest.filter(|_| is_length_kept()) {
            self.durable.truncate(shortest);
        }
        for sector in &self.dirty {
            let from = sector.saturating_mul(SECTOR);
            let to = from.saturating_add(SECTOR).min(self.seen.len());
            let Some(bytes) = self.seen.get(from..to).filter(|_| is_kept()) else { continue };
            if self.durable.len() < to {
                self.durable.resize(to, 0);
            }
            if let Some(place) = self.durable.get_mut(from..to) {
                place.copy_from_slice(bytes);
            }
        }
        if self.durable.len() < self.seen.len() && is_length_kept() {
            self.durable.resize(self.seen.len(), 0);
        }
    }
}

impl Disk for SimulatedDisk {
    fn run(&mut self, effect: Effect<'_>) -> io::Result<()> {
        let mut state = self.state();
        let number = state.effects;
        state.effects = number.saturating_add(1);
        let fault = state.faults.remove(&number);
        state.is_stopped |= fault == Some(Fault::Stop);
        if state.is_stopped {
            return Err(io::Error::other("the simulated disk has stopped"));
        }
        let kind = fault.and_then(|fault| match fault {
            Fault::Error(kind) => Some(kind),
            Fault::Stop => None,
        });
        state.run(effect, kind)
    }

    fn read(&mut self, file: File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.is_stopped {
            return Err(io::Error::other("the simulated disk has stopped"));
        }
        let content = &state.content(file)?.seen;
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let found = content.get(from..).unwrap_or_default();
        let len = found.len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..len), found.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn files(&mut self) -> io::Result<Vec<(File, u64)>> {
        let state = self.state();
        let files = state.names.iter();
        Ok(files
            .map(|(file, at)| (*file, state.contents.get(*at).map_or(0, |content| content.seen.len() as u64)))
            .collect())
    }

    fn is_ours(&mut self) -> bool {
        !self.state().is_taken
    }

    fn boot(&mut self) -> Option<u128> {
        Some(self.state().boot)
    }
}

/// The next number of this sequence (splitmix64).
pub(crate) fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*random ^ (*random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number below this one; 0 if that is 0.
pub(crate) fn below(random: &mut u64, limit: usize) -> usize {
    let drawn = next(random).checked_rem(limit as u64).unwrap_or(0);
    usize::try_from(drawn).unwrap_or(0)
}

fn draw(random: &mut u64) -> bool {
    next(random) & 1 == 1
}

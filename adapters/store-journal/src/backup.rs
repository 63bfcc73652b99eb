//! Copies a directory while its owner goes on.
//!
//! Segments before the last are never changed any more, and the last one only grows, so its frames up to the last valid one
//! are what some commit left. From that commit on, the segments that it needs are held: they can be read although the owner
//! removes them. Everything else is left to the copy: it has a floor of its own, and a mark that says what it is.

use core::time::Duration;
use std::io;

use crate::disk::{Disk, Effect, File};
use crate::error::{Damage, OpenError, StoreError, failed};
use crate::floor::{Floor, read_floor};
use crate::identity::{Identity, read_identity};
use crate::inspect::{Report, examine};
use crate::mark::{Ending, encode_backup, read_ending};
use crate::planted::{Defect, is_planted};
use crate::recovery::{Missing, corrupt, find_tail, segments};

/// How often the last commit is looked for before the owner counts as too fast.
const ATTEMPTS: u32 = 1_000;
/// Bytes that are copied at once.
const AT_ONCE: usize = 1 << 20;

/// Why a directory was not backed up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The directory cannot be read, or is damaged.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// The owner removes segments faster than they can be opened.
    #[error("the directory changes faster than it can be read; try again when its owner has less to do")]
    Busy,
    /// The copy cannot be written.
    #[error("cannot write the copy: {0}")]
    Target(#[source] io::Error),
    /// What was read back of the copy is not what was written.
    #[error("the copy is damaged: {0}")]
    Copy(#[source] StoreError),
}

/// Copies the rows of a directory, as one of its last commits left them, to an empty one, while the owner of the first goes
/// on. What is copied is at least what was durable when the copy began. The copy is durable when this returns, and every
/// byte of it has been read back and compared. `None` if nothing was ever stored; then nothing is written.
///
/// The owner goes on from the same commit, so a broker that opens a copy knows less than clients may: a journal
/// [says so](crate::Journal::is_backup). If the copy is interrupted, or fails, it does not open.
///
/// Nothing in the source is locked or changed. A [`Files::beside`](crate::Files::beside) is what it needs: one that keeps files
/// open.
///
/// # Errors
///
/// [`BackupError`].
pub fn backup<T: Disk>(source: &mut impl Disk, target: &mut T) -> Result<Option<Report>, BackupError> {
    let Some(store) = read_identity(source)? else { return Ok(None) };
    // Before the commits are read: they are at least as many.
    let floor = read_floor(source, store).map_err(OpenError::from)?.sequence;
    let Some(settled) = settle(source, store, floor)? else { return Ok(None) };
    let mut copy = Copy { target, buffer: vec![0; AT_ONCE] };
    for number in settled.oldest..=settled.last {
        let len = if number == settled.last { settled.end } else { u64::MAX };
        copy.file(source, File::Segment(number), len)?;
    }
    if !is_planted(Defect::CopyNotMarked) {
        copy.write(File::Unsynced, 0, encode_backup().as_bytes())?;
    }
    let mut floor = Floor::missing();
    if let Some((at, slot)) = floor.raise(store, settled.sequence, Duration::ZERO) {
        copy.write(File::Floor, at, &slot)?;
    }
    copy.run(Effect::SyncDirectory)?;
    let examined = examine(copy.target, store, settled.sequence, Missing::IsDamage);
    let report = examined.map_err(|error| copy.explained(source, error))?;
    // Without it, segments do not open.
    copy.write(File::Identity, 0, Identity::new(store).encode().as_bytes())?;
    copy.run(Effect::SyncDirectory)?;
    Ok(Some(report))
}

/// A state that stays as it is, and the segments that it needs.
struct Settled {
    oldest: u64,
    last: u64,
    /// Where the frames of the last segment end.
    end: u64,
    /// The last frame's.
    sequence: u64,
}

/// Finds the last commit, and opens every segment that it needs.
fn settle(source: &mut impl Disk, store: u128, floor: u64) -> Result<Option<Settled>, BackupError> {
    let mut before = None;
    for _ in 0..ATTEMPTS {
        let error = match try_settle(source, store, floor) {
            Ok(settled) => return Ok(settled),
            Err(error) => error,
        };
        // Between two looks, the owner may remove a segment or write what the second one sees. The same place is never
        // touched twice, so if it is as bad at the next attempt, it is damaged.
        let StoreError::Corrupt { file, at, damage } = &error else {
            return Err(OpenError::from(error).into());
        };
        let place = Some((*file, *at, *damage));
        if place == before {
            return Err(OpenError::from(error).into());
        }
        before = place;
    }
    Err(BackupError::Busy)
}

fn try_settle(source: &mut impl Disk, store: u128, floor: u64) -> Result<Option<Settled>, StoreError> {
    let lengths = segments(source)?;
    let may_be_torn = read_ending(source)? == Ending::OfMachine;
    let tail = match lengths.last_key_value() {
        Some((&last, &len)) => missing(find_tail(source, store, last, len, &lengths, may_be_torn), last)?,
        None => None,
    };
    let Some((tail, _)) = tail else {
        return if floor > 0 { Err(corrupt(1, 0, Damage::Cut)) } else { Ok(None) };
    };
    let last = tail.segment();
    let Some((at, header)) = tail.last else { return Err(corrupt(last, tail.end, Damage::Frame)) };
    let stamp = header.stamp;
    if stamp.sequence < floor {
        return Err(corrupt(last, tail.end, Damage::Cut));
    }
    if stamp.oldest == 0 || stamp.oldest > last {
        return Err(corrupt(last, at, Damage::Order));
    }
    let held = if is_planted(Defect::SegmentsNotHeld) { last } else { stamp.oldest };
    for number in held..=last {
        let opened = source.read(File::Segment(number), 0, &mut [0]);
        let file = File::Segment(number);
        let opened = opened.map_err(|error| failed("open", file, &error));
        let _ = missing(opened, number)?;
    }
    Ok(Some(Settled { oldest: stamp.oldest, last, end: tail.end, sequence: stamp.sequence }))
}

/// A segment that is not there is damage, unless its owner has removed it meanwhile.
fn missing<T>(read: Result<T, StoreError>, number: u64) -> Result<T, StoreError> {
    read.map_err(|error| {
        let is_gone = matches!(&error, StoreError::Failed(error) if error.kind() == io::ErrorKind::NotFound);
        if is_gone { corrupt(number, 0, Damage::Missing) } else { error }
    })
}

/// What is written.
struct Copy<'a, T> {
    target: &'a mut T,
    buffer: Vec<u8>,
}

impl<T: Disk> Copy<'_, T> {
    /// Copies the first `len` bytes of a file, or all if it is shorter.
    fn file(&mut self, source: &mut impl Disk, file: File, len: u64) -> Result<(), BackupError> {
        self.run(Effect::Create(file))?;
        let mut at = 0_u64;
        while at < len {
            let wanted = usize::try_from(len.saturating_sub(at)).unwrap_or(AT_ONCE).min(AT_ONCE);
            let buffer = self.buffer.get_mut(..wanted).unwrap_or_default();
            let read = source.read(file, at, buffer);
            let read = read.map_err(|error| OpenError::from(failed("read", file, &error)))?;
            let bytes = self.buffer.get(..read).unwrap_or_default();
            self.target.run(Effect::Write { file, at, bytes }).map_err(BackupError::Target)?;
            at = at.saturating_add(read as u64);
            if read < wanted {
                break;
            }
        }
        if is_planted(Defect::CopyNotSynced) { Ok(()) } else { self.run(Effect::Sync(file)) }
    }

    /// The error for damage in the copy, which may have been there before.
    fn explained(&mut self, source: &mut impl Disk, error: StoreError) -> BackupError {
        if let StoreError::Corrupt { file, .. } = error
            && self.is_same(source, file)
        {
            return OpenError::from(error).into();
        }
        BackupError::Copy(error)
    }

    /// Whether all of a file that was copied is as it was read.
    fn is_same(&mut self, source: &mut impl Disk, file: File) -> bool {
        let (mut at, mut theirs) = (0_u64, vec![0; AT_ONCE]);
        loop {
            let read = self.target.read(file, at, &mut self.buffer).ok();
            let Some(ours) = read.and_then(|read| self.buffer.get(..read)) else { return false };
            let read = source.read(file, at, &mut theirs).ok();
            if !read.and_then(|read| theirs.get(..read)).is_some_and(|theirs| theirs.starts_with(ours)) {
                return false;
            }
            if ours.is_empty() {
                return true;
            }
            at = at.saturating_add(ours.len() as u64);
        }
    }

    /// Creates a file with these bytes.
    fn write(&mut self, file: File, at: u64, bytes: &[u8]) -> Result<(), BackupError> {
        self.run(Effect::Create(file))?;
        self.run(Effect::Write { file, at, bytes })?;
        self.run(Effect::Sync(file))
    }

    fn run(&mut self, effect: Effect<'_>) -> Result<(), BackupError> {
        self.target.run(effect).map_err(BackupError::Target)
    }
}

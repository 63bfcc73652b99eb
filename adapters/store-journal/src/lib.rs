//! The journal in which the Zaichik message broker keeps what must survive a restart.
//!
//! A store has rows: keys and values. A [commit](Journal::commit) changes any number of them, as a whole or not at all,
//! and returns when the change is durable. It is appended to the journal, as one frame with one sync. Frames fill
//! segments of 64 MiB; a segment in which no row lives any more is removed, and what little lives in the oldest one is
//! written again when the superfluous part grows too large. So a directory stays within 1.5 times what lives and
//! four segments.
//!
//! What is durable and damaged is never taken for a commit that was interrupted: a frame that is not valid is the end
//! only if none follows, and only if nothing behind it was answered. Otherwise the journal does not open, and names file
//! and offset ([`StoreError::Corrupt`]).
//!
//! ```
//! use zaichik_store_journal::{Files, Journal, OpenError, Op, Options, StoreError};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("zaichik-journal-{}", std::process::id()));
//! let mut journal = Journal::open(&path, Options::new(0x5eed))?;
//! journal.commit(&[Op::Put { key: b"\x01key", head: b"", value: &[b"value"] }, Op::Remove { key: b"\x01other" }])?;
//! drop(journal);
//!
//! let mut rows = Vec::new();
//! let mut journal = Journal::open(&path, Options::new(0x5eed))?;
//! journal.rows(|key, value| {
//!     rows.push((key.to_vec(), value.to_vec()));
//!     Ok::<_, StoreError>(())
//! })?;
//! assert_eq!(rows, [(b"\x01key".to_vec(), b"value".to_vec())]);
//! # std::fs::remove_dir_all(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! Commits may also be synced [on demand](Syncing::OnDemand). Then what is read back after the machine has ended are the
//! first of them, at least those that were synced, and the journal [says](Journal::lacks_commits) that others may be
//! missing. As long as only the process ends, all are there.
//!
//! [`backup()`] copies a directory while its owner goes on. Without a broker, [`check`] compares every checksum of a directory, [`salvage()`] shows what can be read of a damaged one, and
//! [`repair()`] gives up what is behind the damage; on a [`Trial`] it shows what that is.
//!
//! Every module but [`Files`] is free of files and clocks: what happens to the directory is an [`Effect`], which a
//! [`Disk`] carries out, and time is an argument.

mod backup;
mod cleaning;
mod disk;
mod error;
mod fetcher;
mod files;
mod floor;
mod frame;
mod identity;
mod index;
mod inspect;
mod journal;
mod mark;
mod op;
mod options;
mod outline;
mod planted;
mod reader;
mod recovery;
mod repair;
mod salvage;
mod scan;
mod segment;
mod shared_index;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;
mod table;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "an overflow fails the test, and the numbers are small"
)]
mod tests;
mod trial;

pub use backup::{BackupError, backup};
pub use cleaning::{MAX_MOVED, MOVED_PER_BROUGHT};
pub use disk::{Disk, Effect, File};
pub use error::{Damage, OpenError, StoreError};
pub use fetcher::Fetcher;
pub use files::Files;
pub use floor::FLOOR_INTERVAL;
pub use inspect::{Report, check};
pub use journal::{Info, Journal, Shown};
pub use op::Op;
pub use options::{Options, Syncing};
#[cfg(feature = "planted")]
pub use planted::{Defect, plant};
pub use repair::{Repair, repair};
pub use salvage::salvage;
pub use segment::FORMAT;
pub use table::{MAX_HEAD, MAX_KEY};
pub use trial::Trial;

//! What a broker stores: rows, and commits of them. Data only; a store of an adapter does the I/O.
//!
//! A *row* is a fact with a key, and replaces the row that had the key before. The rows of a broker are everything that
//! survives a restart; what ends with its connections is not in them. Stores that know nothing else see bytes:
//! [`Key::encode`] and [`Row::encode`]. The order of keys is that of their bytes, so the record rows of a topic lie in
//! the order of their offsets.
//!
//! | kind | key after it | row | written when |
//! |---|---|---|---|
//! | 0 | | [`MetaRow`] | the store is created, and as time passes |
//! | 1 | topic `u32` | [`TopicRow`] | it is created or altered, offsets are given to records that nobody can read, or records are removed |
//! | 2 | topic `u32`, first offset `u64` | [`RecordsRow`] | records were accepted; the log rewrote a part of itself |
//! | 3 | | reserved | |
//! | 4 | topic `u32`, name | [`CursorRow`] | a durable subscription changed |
//! | 5 | producer `u128` | [`ProducerRow`] | one of its requests was answered |
//! | 6 | producer `u128`, number `u64` | [`AnswerRow`] | the same; a run of plain successes is one row that is replaced |
//! | 7 | topic `u32`, first offset of a block `u64` | [`MarksRow`] | records of that block of [`Row::BLOCK`] offsets were superseded |
//! | 8 | topic `u32`, first offset of a block `u64` | [`KeysRow`] | a record of that block whose key is remembered has no [`RecordsRow`] any more |
//! | 9 | topic `u32`, name | [`GroupRow`] | a shared subscription changed |
//!
//! Numbers in keys are big-endian, all others little-endian, as in the records. A value begins with its format, which is 1.
//!
//! **Keys of `first` compaction** are those of the records in the topic's rows, from the first era of windows on
//! ([`TopicRow::eras`]), with the record's timestamp as the time of acceptance, and those in [`KeysRow`]s. So a key costs
//! nothing while its record has a row, and is written once more when that row is removed, or if there never was one.
//!
//! **Dead records** need no rows if their deaths follow from the records themselves: those of the topic's and of their own
//! time to live. A record that was superseded is marked ([`MarksRow`]), because the newer one may be gone already, and the
//! windows may have changed since. Where the log has reclaimed the space of dead records, the row says how they died
//! ([`RunKind`]): a reader that has not reached them gets a Gap or skips them silently (rules C6, R9).

mod codec;
mod error;
mod head;
mod key;
mod progress;
mod row;

use thiserror::Error;

pub use self::error::RowError;
pub use self::head::RecordsHead;
pub use self::key::Key;
pub(crate) use self::progress::{Awaited, Progress};
pub use self::row::{
    Answer, AnswerRow, CursorRow, DeliveredRange, Era, GroupRow, KeysRow, Mark, MarkedRun, MarksRow, MetaRow,
    ProducerRow, RecordsRow, RememberedKey, Row, Run, RunKind, TopicRow,
};

/// The number of a commit of one broker; the first is 1, and each is one above the one before.
///
/// ```
/// use zaichik_engine::store::Ticket;
/// assert_eq!(Ticket::FIRST.next().number(), 2);
/// assert_eq!(Ticket::new(2), Ticket::FIRST.next());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// The first commit.
    pub const FIRST: Self = Self(1);

    /// The commit with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The commit after it. The number does not wrap.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What a store does in one atomic, durable step.
///
/// The operations are in order: a later one on a key replaces what an earlier one did.
///
/// ```
/// use zaichik_engine::Timestamp;
/// use zaichik_engine::store::{Commit, MetaRow, Op, Row, Ticket};
/// let row = Row::Meta(MetaRow { instance: 7, now: Timestamp::from_micros(1), stopped_micros: 0 });
/// let commit = Commit { ticket: Ticket::FIRST, ops: vec![Op::Put { row }] };
/// assert_eq!(commit.ops.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its number.
    pub ticket: Ticket,
    /// What it changes.
    pub ops: Vec<Op>,
}

/// Records that a broker needs back from its store: those of whole rows, which lie next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// The topic's number.
    pub topic: u32,
    /// The offset of the first record, with which a row begins.
    pub from: u64,
    /// The offset after the last record, with which a row ends.
    pub to: u64,
}

/// A store returned other records than those that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the store does not have the records {}..{} of topic number {} any more; restore it from a backup",
    fetch.from, fetch.to, fetch.topic
)]
pub struct FetchError {
    /// What was asked for.
    pub fetch: Fetch,
}

/// A change of stored rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Stores a row; it replaces the one with the same key.
    Put {
        /// The row.
        row: Row,
    },
    /// Removes the row with this key, if there is one.
    Remove {
        /// The key.
        key: Key,
    },
    /// Removes the record rows and the marks rows of a topic whose first offset is in `from..to`. Unless it is one row, they
    /// hold at most 1 MiB of records. A marks row that begins in front of `to` and has marks behind it is put again.
    Trim {
        /// The topic's number.
        topic: u32,
        /// The first offset.
        from: u64,
        /// The offset after the last one.
        to: u64,
    },
}

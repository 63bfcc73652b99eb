//! How a journal is kept.

/// The shortest segment in bytes.
pub(crate) const MIN_SEGMENT: u64 = 1024;

/// How a journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The id of the store, if it is created: drawn at random, so that no two stores have the same. Ignored otherwise.
    pub store: u128,
    /// The length of a segment in bytes, from 1 KiB to 1 GiB; the nearest of them is used. A commit that is longer has a segment of its own. Default:
    /// 64 MiB.
    pub segment_bytes: u64,
    /// The space in bytes that is kept for a full disk: commits that find no other use it piece by piece, and
    /// [`Info::is_full`](crate::Info::is_full) is true until it is there again. 0 keeps none. Default: 64 MiB.
    pub reserve_bytes: u64,
    /// When commits are synced. Default: each.
    pub syncing: Syncing,
}

/// When commits are synced: become durable although the machine ends, and not only the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncing {
    /// Before [`commit`](crate::Journal::commit) returns.
    EachCommit,
    /// When [`sync`](crate::Journal::sync) is called, and with the first commit of each segment.
    OnDemand,
}

impl Options {
    /// The defaults, for a store with this id if it is created.
    #[must_use]
    pub const fn new(store: u128) -> Self {
        Self { store, segment_bytes: 64 << 20, reserve_bytes: 64 << 20, syncing: Syncing::EachCommit }
    }
}

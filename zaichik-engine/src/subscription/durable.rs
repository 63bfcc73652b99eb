//! What makes a subscription outlive its connection (semantics D1 to D5).

use crate::time::Timestamp;

/// The durable part of a subscription.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Unique within its topic.
    pub(crate) name: Box<str>,
    /// Rises with each attach.
    pub(crate) epoch: u32,
    /// How long it is kept while detached, in microseconds.
    pub(crate) inactive_micros: u64,
    /// When it is gone, once it is detached; [`Timestamp::MAX`] while it is attached.
    pub(crate) expires_at: Timestamp,
}

impl Durable {
    /// Bytes allocated, its place in the table of names included.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>().saturating_add(self.name.len()).saturating_add(size_of::<u64>())
    }
}

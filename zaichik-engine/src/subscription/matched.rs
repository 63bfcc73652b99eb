//! What a subscription has that was made for a pattern (chapter W).

use super::Subscription;
use crate::id::PatternKey;

/// The pattern that a subscription belongs to.
#[derive(Debug)]
pub(crate) struct Matched {
    pub(crate) pattern: PatternKey,
    /// Whether its Matched is in the output.
    pub(crate) is_announced: bool,
    /// The records and bytes that the pattern counts for it.
    pub(crate) counted: (u64, u64),
}

impl Subscription {
    /// Records delivered and not committed, and their bytes.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.window.len() as u64, self.window.bytes())
    }
}

//! How much space a store has (rule B9).

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Enough.
    Some,
    /// Nothing but what the store keeps for commits that bring little.
    Reserve,
    /// Not even that: commits wait.
    None,
}

impl Space {
    /// How much there is according to a store, and to a commit that was refused or not. What waited may wait again, until
    /// there is enough.
    pub(super) const fn then(self, is_full: bool, is_refused: bool) -> Self {
        match (self, is_full, is_refused) {
            (_, _, true) | (Self::None, true, false) => Self::None,
            (_, true, false) => Self::Reserve,
            (_, false, false) => Self::Some,
        }
    }

    /// Whether the broker is to refuse what brings much.
    pub(super) const fn is_full(self) -> bool {
        !matches!(self, Self::Some)
    }

    /// Logs what has changed: a line when there is no space, one if commits wait, and one when there is space again.
    pub(super) fn log(self, before: Self, place: impl FnOnce() -> String) {
        match (before, self) {
            (Self::Some, Self::Reserve) => tracing::warn!(
                "storage: {} has no space but its reserve: publishes are refused with StorageFull until there is some; \
                 free some on its disk, or remove messages, with: zaichik topic trim",
                place()
            ),
            (Self::Some | Self::Reserve, Self::None) => tracing::warn!(
                "storage: {} has no space at all: publishes are refused with StorageFull, and what waits for a commit is not \
                 answered, until there is some; free some on its disk",
                place()
            ),
            (Self::Reserve | Self::None, Self::Some) => {
                tracing::info!("storage: {} has space again: publishes are accepted", place());
            }
            (Self::None | Self::Reserve, Self::Reserve)
            | (Self::Some, Self::Some)
            | (Self::None, Self::None) => {}
        }
    }
}

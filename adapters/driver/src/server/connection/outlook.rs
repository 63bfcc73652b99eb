//! What a turn of a connection did, and what is left to do.

/// The result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// There is more to do at once.
    Busy,
    /// There is more to do, after others had a turn: this one used its share of work, or of room for answers.
    Sated,
    /// Nothing to do before a wake.
    Idle,
    /// The connection is over.
    Over,
}

/// How much a read or a write moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Nothing,
    Some,
    ToTheLimit,
}

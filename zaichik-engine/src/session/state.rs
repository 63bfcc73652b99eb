//! The states of a session and of what it received.

use crate::error::CloseReason;

/// The state of a session, in more detail than [`Status`](super::Status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Handshake,
    /// The handshake is done; the broker has not been informed.
    Welcomed,
    Open,
    /// Over; the broker has not been informed.
    Ending(CloseReason),
    /// Over, and the broker has been informed.
    Ended(CloseReason),
}

/// How much of the received bytes has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// Every whole frame.
    All,
    /// As much as one exchange may apply; there may be more.
    More,
    /// As much as can be answered, because a lane is full.
    Paused,
}

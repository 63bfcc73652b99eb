//! The states of a session.

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

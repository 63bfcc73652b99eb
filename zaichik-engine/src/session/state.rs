//! The states of a session.

use crate::error::CloseReason;

/// Where a session is in its life, as [`Status`](super::Status) does not show it.
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

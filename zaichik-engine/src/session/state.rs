//! The states of a session.

use crate::error::CloseReason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Handshake,
    /// The handshake is done, and the broker does not know yet.
    Welcomed,
    Open,
    /// Over; the broker does not know yet.
    Ending(CloseReason),
    /// Over, and the broker knows.
    Ended(CloseReason),
}

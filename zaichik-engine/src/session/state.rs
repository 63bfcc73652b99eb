//! The states of a connection, and of what it received.

use crate::error::CloseReason;

/// Where a connection is in its life.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Status, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// let session = broker.accept(now, &mut effects);
/// assert_eq!(session.status(), Status::Handshake);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The handshake is not done.
    Handshake,
    /// Requests are served.
    Open,
    /// Over, but bytes are left to send: write them, then close.
    Closing,
    /// Over: close the byte stream and detach.
    Closed,
}

impl Status {
    /// Whether to close the byte stream now.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// The state of a session, in more detail than [`Status`].
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

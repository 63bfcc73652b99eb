//! Why a connection ended.

use core::fmt;

use zaichik_proto::{FaultCode, ProtocolError};

/// Why a session is over.
///
/// ```
/// use zaichik_engine::{Broker, BrokerConfig, CloseReason, Effects, Seed, Timestamp};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
/// let mut session = broker.accept(now, &mut effects);
/// session.close(now, CloseReason::PeerGone); // its socket is broken
/// assert_eq!(session.close_reason(), Some(CloseReason::PeerGone));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client requested it.
    Requested,
    /// The peer closed or lost the connection.
    PeerGone,
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// The handshake did not arrive in time.
    HandshakeTimeout,
    /// The token is missing or wrong.
    Unauthorized,
    /// The broker has reached its maximum of connections, or of unfinished handshakes.
    ServerFull,
    /// Nothing was received from the peer for three heartbeats.
    HeartbeatMissed,
    /// The peer accepted too little output within the write timeout (rule S16).
    SlowConsumer,
    /// Too little of a frame that the peer had begun arrived within the frame timeout (rule S16).
    SlowProducer,
    /// It made no progress while other connections needed the memory that it held (rule S15).
    MemoryNeeded,
    /// The broker is stopping.
    Stopped,
    /// The broker failed.
    Internal,
}

impl CloseReason {
    /// The code in the Fatal frame that the peer gets; `None` if it gets none.
    pub(crate) const fn fault_code(&self) -> Option<FaultCode> {
        match self {
            Self::Requested | Self::PeerGone => None,
            Self::Protocol(error) => Some(error.fault.code()),
            Self::HandshakeTimeout => Some(FaultCode::HandshakeTimeout),
            Self::Unauthorized => Some(FaultCode::Unauthorized),
            Self::ServerFull => Some(FaultCode::ServerFull),
            Self::HeartbeatMissed => Some(FaultCode::HeartbeatMissed),
            Self::SlowConsumer => Some(FaultCode::SlowConsumer),
            Self::SlowProducer => Some(FaultCode::SlowProducer),
            Self::MemoryNeeded => Some(FaultCode::MemoryNeeded),
            Self::Stopped => Some(FaultCode::Stopped),
            Self::Internal => Some(FaultCode::Internal),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("the client closed the connection"),
            Self::PeerGone => f.write_str("the peer is gone"),
            Self::Protocol(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::HandshakeTimeout => f.write_str("the handshake did not arrive in time"),
            Self::Unauthorized => f.write_str("the token is missing or wrong"),
            Self::ServerFull => {
                f.write_str("the broker has reached its maximum of connections; try again later")
            }
            Self::HeartbeatMissed => f.write_str("nothing was received from the peer for three heartbeats"),
            Self::SlowConsumer => f.write_str("the peer accepted too little output within the write timeout"),
            Self::SlowProducer => f.write_str("too little of a frame arrived within the frame timeout"),
            Self::MemoryNeeded => f.write_str(
                "the connection made no progress while the broker needed its memory; read answers and finish frames",
            ),
            Self::Stopped => f.write_str("the broker is stopping; connect again later"),
            Self::Internal => f.write_str("the broker failed; see its log"),
        }
    }
}

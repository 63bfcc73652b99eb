//! What the async client reports.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use zaichik_engine::{ErrorClass, LinkError, RequestError};
use zaichik_proto::GapReason;

/// Why something that a client was asked to do failed.
///
/// [`class`](Self::class) says what to do about it.
///
/// ```
/// # use zaichik_simulated::{Embedded, Simulation, default_config, ClientError, ErrorClass, RequestError};
/// # Simulation::new().run(async {
/// # let broker = Embedded::start(default_config()?)?;
/// let client = broker.client();
/// let error = client.publish("$reserved", "hello").await.expect_err("the name is not allowed");
/// assert_eq!(error.class(), ErrorClass::Refused); // change it, do not try again
/// assert!(matches!(error, ClientError::Request(RequestError::InvalidTopic(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// One request failed; the client goes on.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The first connection could not be made; the error names the address.
    #[error("cannot connect to the broker: {0}; check the address (host:port) and that the broker runs")]
    Connect(#[source] Arc<io::Error>),
    /// The client is over.
    #[error(transparent)]
    Ended(#[from] LinkError),
    /// The runtime dropped the client's background task.
    #[error("the client's background task is gone: its runtime was shut down")]
    Abandoned,
    /// Messages with these offsets will not come (semantics R9); the subscription goes on.
    #[error("topic {topic:?}: messages {from} up to, not including, {to} are lost: {}; the subscription goes on", why(*reason))]
    Gap {
        /// The topic's name.
        topic: Arc<str>,
        /// The first missing offset.
        from: u64,
        /// The first offset after the gap.
        to: u64,
        /// Why; `None` if they went while there was no connection.
        reason: Option<GapReason>,
    },
    /// The connection is open again, to a broker that forgot everything (semantics P5); the subscription goes on
    /// from its original position.
    #[error("topic {topic:?}: the broker was restarted; its offsets start anew, from {start}")]
    Restarted {
        /// The topic's name.
        topic: Arc<str>,
        /// The first offset that will come.
        start: u64,
    },
    /// Another connection took the durable subscription over; this one has ended.
    #[error("topic {topic:?}: another connection took the subscription over")]
    Fenced {
        /// The topic's name.
        topic: Arc<str>,
    },
}

/// Why messages are lost, in words.
const fn why(reason: Option<GapReason>) -> &'static str {
    match reason {
        Some(GapReason::Expired) => "they expired",
        Some(GapReason::Limit) => "a limit of the topic removed them",
        Some(_) => "the broker removed them",
        None => "they went while there was no connection",
    }
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Request(error) => error.class(),
            Self::Connect(_) => ErrorClass::Retryable,
            Self::Gap { .. } | Self::Restarted { .. } => ErrorClass::Unknown,
            Self::Ended(_) | Self::Abandoned | Self::Fenced { .. } => ErrorClass::Fatal,
        }
    }
}

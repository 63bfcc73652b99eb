//! The errors of the async client.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use thiserror::Error;
use zaichik_client::{ErrorClass, Event, LinkError, RequestError};

/// Why a request, a subscription or the client failed.
///
/// [`class`](Self::class) says what to do about it.
///
/// ```
/// # use zaichik_simulated::{BrokerConfig, ClientError, EmbeddedBroker, ErrorClass, RequestError, Simulation};
/// # Simulation::new().run(async {
/// # let broker = EmbeddedBroker::start(BrokerConfig::default())?;
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
    /// One request failed; the client continues.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The first connection could not be made; the error names the address.
    #[error(
        "cannot connect to the broker: {0}; check the address (host:port) and that the broker is running"
    )]
    Connect(#[source] Arc<io::Error>),
    /// The client has ended.
    #[error(transparent)]
    Ended(#[from] LinkError),
    /// The runtime dropped the client's background task.
    #[error("the client's background task is gone: its runtime was shut down")]
    Abandoned,
    /// Messages were lost, and the subscription is set to fail on loss ([`OnLoss::Fail`](super::OnLoss::Fail)). It
    /// continues with the next call.
    #[error("topic {topic:?}: {event}; the subscription continues")]
    Lost {
        /// The topic's name.
        topic: Arc<str>,
        /// [`Gap`](Event::Gap), [`Reconnected`](Event::Reconnected) or [`Restarted`](Event::Restarted).
        event: Event<Infallible>,
    },
    /// Another connection took over the durable subscription; this one has ended.
    #[error("topic {topic:?}: another connection took over the subscription")]
    Fenced {
        /// The topic's name.
        topic: Arc<str>,
    },
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Request(error) => error.class(),
            Self::Connect(_) => ErrorClass::Retryable,
            Self::Lost { .. } => ErrorClass::Lost,
            Self::Ended(_) | Self::Abandoned | Self::Fenced { .. } => ErrorClass::Fatal,
        }
    }
}

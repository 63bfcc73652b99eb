//! Errors of a client: of one request, or of the client as a whole.

mod violation;

use std::sync::Arc;

use thiserror::Error;
use zaichik_proto::{FaultCode, NameError, PatternError, ProtocolError, RecordError, Refusal, RefusalCode};

pub use self::violation::Violation;
use crate::answer::SubscriptionId;

/// What to do about an error.
///
/// ```
/// use zaichik_client::{ErrorClass, RequestError};
/// match RequestError::Full.class() {
///     ErrorClass::Retryable => {} // wait, and try again
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The request had no effect, or repeating it is harmless: try again later.
    Retryable,
    /// The request will never succeed as it is: change it.
    Refused,
    /// It may have taken effect: check, or accept that trying again may apply it twice.
    Unknown,
    /// Messages were lost, and their consumer is set to fail on loss. It can continue: ask for the next message.
    Lost,
    /// This client can no longer be used: create a new one.
    Fatal,
}

/// Why one request failed.
///
/// ```
/// use zaichik_client::{Client, ClientConfig, PublishOptions, RequestError};
/// use zaichik_engine::Timestamp;
/// let mut client = Client::new(ClientConfig::new(9));
/// let nothing = client.publish(Timestamp::from_micros(1), "orders", &[], PublishOptions::new());
/// assert_eq!(nothing, Err(RequestError::NoRecords));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The configured maximum number of requests or bytes is in flight. Nothing was sent.
    #[error("too many requests or bytes are in flight; wait for answers, then try again")]
    Full,
    /// The client is closing or closed. Nothing was sent.
    #[error("the client is closed; open a new one")]
    Closed,
    /// The topic's name breaks a rule. Nothing was sent.
    #[error("the topic's name is invalid: {0}")]
    InvalidTopic(#[source] NameError),
    /// The pattern of topics breaks a rule. Nothing was sent.
    #[error("the pattern of topics is invalid: {0}")]
    InvalidPattern(#[source] PatternError),
    /// The dead-letter topic's name breaks a rule. Nothing was sent.
    #[error("the dead-letter topic's name is invalid: {0}")]
    InvalidDeadLetter(#[source] NameError),
    /// The name of a durable subscription is empty or longer than 255 bytes. Nothing was sent.
    #[error("a durable subscription's name of {got} bytes is invalid; use 1 to 255")]
    InvalidDurableName {
        /// Its length in bytes.
        got: usize,
    },
    /// A subscription that is to be durable and shared at once. Nothing was sent.
    #[error("a subscription is durable or shared, not both; a shared one also outlives its members")]
    DurableAndShared,
    /// The offsets to acknowledge, to give back or to extend are not 1 to 1,024 ranges of at least one offset each. Nothing
    /// was sent.
    #[error("name 1 to 1,024 ranges of at least one offset each; split more into several requests")]
    InvalidRanges,
    /// This client does not hold the message any more: it was settled before, or its deadline passed and another member
    /// has got it. Nothing happened.
    #[error(
        "topic {topic:?}: message {offset} is not held by this member any more; it was settled, or its deadline passed; extend it in time, or ask for a longer ack_deadline"
    )]
    NotHeld {
        /// The topic of the subscription.
        topic: Arc<str>,
        /// The message's offset.
        offset: u64,
    },
    /// The message was received over a connection that is gone: with that it came back to the members of its shared
    /// subscription and is redelivered. Nothing happened.
    #[error(
        "topic {topic:?}: the connection over which the message was received is gone, so it is redelivered to a member of the shared subscription; settle that delivery"
    )]
    Returned {
        /// The topic of the subscription.
        topic: Arc<str>,
    },
    /// A publish without records. Nothing was sent.
    #[error("a publish needs at least one record")]
    NoRecords,
    /// A record breaks a rule. Nothing was sent.
    #[error("record {index} of the publish is invalid: {error}")]
    BadRecord {
        /// Which record, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        error: RecordError,
    },
    /// A message, or the frame of all of them, is above the broker's limit. Nothing was sent.
    #[error("{got} bytes are above the broker's limit of {limit}; send less at once")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// What the request has.
        got: usize,
    },
    /// More records than the broker accepts in one publish. Nothing was sent.
    #[error("{got} records in one publish are above the broker's limit of {limit}; split them")]
    TooManyRecords {
        /// The limit.
        limit: u32,
        /// What the request has.
        got: usize,
    },
    /// More operations in one batch than [`Batch::MAX_OPERATIONS`](crate::Batch::MAX_OPERATIONS). Nothing was sent.
    #[error("a batch has at most {limit} operations; split it")]
    BatchTooLong {
        /// The limit.
        limit: usize,
    },
    /// A batch that asked for no acknowledgement. Nothing was sent.
    #[error("a batch is always answered; ask for the acknowledgement level accepted or durable")]
    BatchUnanswered,
    /// One operation of a batch is invalid. Nothing was sent.
    #[error("operation {operation} of the batch: {error}")]
    InBatch {
        /// Which operation, from 0.
        operation: usize,
        /// What is wrong with it.
        #[source]
        error: Box<Self>,
    },
    /// The window of a subscription, in messages or in bytes, is above the broker's limit. Nothing was sent.
    #[error("a window of {got} is above the broker's limit of {limit}; ask for less")]
    WindowTooLarge {
        /// The limit.
        limit: u32,
        /// What the request has.
        got: u32,
    },
    /// The client has the maximum number of subscriptions that the broker allows, including ended ones whose end was
    /// not taken.
    #[error("there are already {limit} subscriptions, the limit; unsubscribe from some first")]
    TooManySubscriptions {
        /// The limit.
        limit: u32,
    },
    /// The client has no such subscription, or it has ended. Nothing was sent.
    #[error("{0} does not exist or has ended; subscribe again")]
    NoSubscription(SubscriptionId),
    /// A commit, nack or seek of a whole pattern: each topic that it matches has a position of its own. Nothing was sent.
    #[error("{0} is a pattern of topics; commit, nack or seek the subscription of one topic")]
    IsPattern(SubscriptionId),
    /// No message of a subscription with a window was taken yet. Nothing was sent.
    #[error("no message was taken yet, so there is nothing to commit")]
    NothingToCommit,
    /// The message is committed, so it can't be redelivered by a nack. Nothing was sent.
    ///
    /// Commits are cumulative: one of a later message covers it.
    #[error(
        "topic {topic:?}: message {offset} can't be nacked, because everything before {cursor} is committed; commit messages in order"
    )]
    AlreadyCommitted {
        /// The topic of the subscription.
        topic: Arc<str>,
        /// The message's offset.
        offset: u64,
        /// The first offset that is not committed.
        cursor: u64,
    },
    /// The broker refused the request, or would have to: it had no effect, and the connection stays open.
    #[error("{}topic {topic:?}: {refusal}", operation_of(refusal))]
    Refused {
        /// The topic of the request, or of the batch operation that `refusal` names.
        topic: Arc<str>,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// A publish or batch waited until its deadline behind an earlier one that the broker refused temporarily. It had
    /// no effect.
    #[error(
        "topic {topic:?}: nothing was published, because an earlier publish of this client was refused until the deadline ({refusal}); try again"
    )]
    HeldBack {
        /// The topic that the request was about.
        topic: Arc<str>,
        /// Why the earlier publish was refused.
        #[source]
        refusal: Refusal,
    },
    /// The connection broke before the batch took effect: it had no effect, and the messages that it would have
    /// committed are redelivered.
    #[error(
        "topic {topic:?}: the connection broke before the transaction was applied, so it had no effect; its messages are redelivered"
    )]
    NotApplied {
        /// The topic of the batch's first operation, or of the operation that is no longer possible.
        topic: Arc<str>,
    },
    /// The producer has used every sequence number. Nothing was sent.
    #[error("the producer's sequence numbers are used up; open a client with a higher epoch")]
    SequencesExhausted,
    /// No answer arrived in time, or the connection broke: the request took effect once, or not at all.
    #[error(
        "topic {topic:?}: no answer arrived, so it is unknown whether the broker applied the request; check before trying again"
    )]
    Unknown {
        /// The topic that the request was about.
        topic: Arc<str>,
    },
    /// No answer was read before the deadline, because messages of subscriptions with `window = 0` that were not taken
    /// fill [`buffer_bytes`](crate::ClientConfig::buffer_bytes): the request took effect once, or not at all.
    #[error(
        "topic {topic:?}: no answer was read, because messages of subscriptions with window 0 wait to be taken; take them in another task, use another client, or use a window; it is unknown whether the broker applied the request"
    )]
    Unread {
        /// The topic that the request was about; empty for a ping.
        topic: Arc<str>,
    },
    /// The deadline passed before there was a connection, room in the output, or the request's turn. Nothing was sent.
    #[error(
        "topic {topic:?}: the request could not be sent before its deadline, so nothing happened; try again"
    )]
    NotSent {
        /// The topic that the request was about; empty for a ping.
        topic: Arc<str>,
    },
    /// The connection broke before the answer arrived. Trying again is harmless.
    #[error("topic {topic:?}: the connection broke before the answer arrived; try again")]
    Disconnected {
        /// The topic that the request was about; empty for a ping.
        topic: Arc<str>,
    },
}

impl RequestError {
    /// What to do about it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Full
            | Self::NotSent { .. }
            | Self::Disconnected { .. }
            | Self::HeldBack { .. }
            | Self::NotApplied { .. } => ErrorClass::Retryable,
            Self::Refused { refusal, .. } if refusal.code.is_retryable() => ErrorClass::Retryable,
            Self::Refused { refusal, .. } if matches!(refusal.code, RefusalCode::ProducerFenced) => {
                ErrorClass::Fatal
            }
            Self::InvalidTopic(_)
            | Self::InvalidPattern(_)
            | Self::InvalidDeadLetter(_)
            | Self::InvalidDurableName { .. }
            | Self::DurableAndShared
            | Self::InvalidRanges
            | Self::NotHeld { .. }
            | Self::Returned { .. }
            | Self::NoRecords
            | Self::BadRecord { .. }
            | Self::TooLarge { .. }
            | Self::TooManyRecords { .. }
            | Self::BatchTooLong { .. }
            | Self::BatchUnanswered
            | Self::InBatch { .. }
            | Self::WindowTooLarge { .. }
            | Self::TooManySubscriptions { .. }
            | Self::NoSubscription(_)
            | Self::IsPattern(_)
            | Self::NothingToCommit
            | Self::AlreadyCommitted { .. }
            | Self::Refused { .. } => ErrorClass::Refused,
            Self::Unknown { .. } | Self::Unread { .. } => ErrorClass::Unknown,
            Self::Closed | Self::SequencesExhausted => ErrorClass::Fatal,
        }
    }
}

/// Names the refused operation of a batch; operation 0 is not named, since other requests report it as well.
fn operation_of(refusal: &Refusal) -> String {
    match refusal.operation {
        0 => String::new(),
        operation => format!("operation {operation} of the batch, "),
    }
}

/// Why a connection, or the client, ended.
///
/// ```
/// use zaichik_client::{Client, ClientConfig, Link, LinkError};
/// use zaichik_engine::Timestamp;
/// let mut config = ClientConfig::new(9);
/// config.reconnect = false;
/// let mut client = Client::new(config);
/// let now = Timestamp::from_micros(1);
/// client.handle_connected(now);
/// client.handle_disconnected(now);
/// assert_eq!(client.link(), Link::Closed(Some(LinkError::Disconnected)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No connection could be made.
    #[error("cannot connect to the broker; check the address and that the broker is running")]
    ConnectFailed,
    /// The connection broke.
    #[error("the connection to the broker broke; check that the broker is still running, and connect again")]
    Disconnected,
    /// The broker did not finish the handshake in time.
    #[error("the broker did not answer the handshake in time; check that the address is a Zaichik broker's")]
    HandshakeTimeout,
    /// Nothing was received from the broker for three heartbeats.
    #[error("nothing was received from the broker for three heartbeats")]
    HeartbeatMissed,
    /// The broker ended the connection and gave a reason.
    #[error("the broker ended the connection: {code}: {text}")]
    Fatal {
        /// Why.
        code: FaultCode,
        /// The broker's description of the reason.
        text: Arc<str>,
    },
    /// The broker's bytes are not valid in the protocol.
    #[error("the broker broke the protocol: {0}; check that the address is a Zaichik broker's")]
    Protocol(#[from] ProtocolError),
    /// The broker's frames are well formed, but contradict earlier ones.
    #[error("the broker broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The token is longer than 1,024 bytes. Nothing was sent.
    #[error("the token has {got} bytes; at most 1024 are allowed")]
    TokenTooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// The client was closed, and requests were unanswered when its drain deadline passed.
    #[error("the client was closed with {unanswered} requests unanswered at the drain deadline")]
    DrainTimeout {
        /// Their number.
        unanswered: usize,
    },
}

impl LinkError {
    /// Whether reconnecting is useless.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::ConnectFailed | Self::Disconnected | Self::HandshakeTimeout | Self::HeartbeatMissed => {
                false
            }
            // Codes below 32 mean that this client broke the protocol, and it would do so again.
            Self::Fatal { code, .. } => code.code() < 32 || matches!(code, FaultCode::Unauthorized),
            Self::Protocol(_)
            | Self::Violation(_)
            | Self::TokenTooLong { .. }
            | Self::DrainTimeout { .. } => true,
        }
    }
}

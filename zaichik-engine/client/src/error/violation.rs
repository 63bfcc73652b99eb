//! Frames that contradict earlier ones.

use thiserror::Error;

/// A frame of the broker that contradicts earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The Welcome names a version that was not offered.
    #[error("it chose protocol version {got}, which was not offered")]
    Version {
        /// The version chosen.
        got: u16,
    },
    /// An answer that no request waits for, of the wrong kind, or out of order.
    #[error("it answered request {request}, which is not waiting for such an answer")]
    Answer {
        /// The request's id on the wire.
        request: u32,
    },
    /// The answer to a publish or batch whose offsets or duplicates contradict the request.
    #[error("its answer to request {request} does not fit the records sent")]
    Offsets {
        /// The request's id on the wire.
        request: u32,
    },
    /// A frame for a subscription that does not exist, has not begun or has ended.
    #[error("it sent a frame for subscription {subscription}, which is not active")]
    Subscription {
        /// The subscription's number.
        subscription: u32,
    },
    /// Offsets of one subscription decreased without a rewind.
    #[error("it delivered offset {got} to subscription {subscription} after offset {after}")]
    OffsetBack {
        /// The subscription's number.
        subscription: u32,
        /// The first offset that was expected.
        after: u64,
        /// The offset delivered.
        got: u64,
    },
    /// More messages were delivered than the window allows.
    #[error("it delivered more to subscription {subscription} than its window of {window} allows")]
    Window {
        /// The subscription's number.
        subscription: u32,
        /// The window.
        window: u32,
    },
    /// A topic or an answer for a pattern that is not subscribed to.
    #[error("it sent a frame for pattern {subscription}, which is not subscribed to")]
    Pattern {
        /// The pattern's number.
        subscription: u32,
    },
    /// A topic that its pattern does not match, or that was matched before.
    #[error("it named a topic that pattern {subscription} does not match, or matched before")]
    Topic {
        /// The pattern's number.
        subscription: u32,
    },
    /// The number of a matched topic is below 2^31, or was used before on this connection.
    #[error("it gave a topic the number {alias}, which is below 2^31 or was used before")]
    Alias {
        /// The number.
        alias: u32,
    },
    /// More topics were matched than a client can have subscriptions.
    #[error("it matched more than {limit} topics")]
    TooManyTopics {
        /// The limit.
        limit: u32,
    },
    /// A frame that does not answer anything this client can request.
    #[error("it sent frame kind {kind:#04x}, which this client did not request")]
    Unexpected {
        /// The frame's kind byte.
        kind: u8,
    },
}

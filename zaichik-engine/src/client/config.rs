//! What a client may be told before it starts, and with each request.

use core::fmt;
use core::time::Duration;

use zaichik_proto::{AckLevel, Start};

/// How a [`Client`](super::Client) behaves.
///
/// Start from [`ClientConfig::new`] and change fields. Nothing in it is unlimited: each queue has its bound here.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// What the client calls itself in the broker's logs; cut to 255 bytes. Default empty.
    pub name: String,
    /// The shared token, at most 1,024 bytes; empty for none, the default.
    pub token: Vec<u8>,
    /// Where the jitter of delays starts; any number, best a random one for each client.
    pub jitter_seed: u64,
    /// Whether a broken connection is opened again. Default true.
    pub reconnect: bool,
    /// Whether the first connection is retried too, as if it had been open before. Default false: a wrong address
    /// is reported at once.
    pub retry_first_connect: bool,
    /// The first delay before connecting again; it doubles with each failure. Default 50 ms.
    pub reconnect_min: Duration,
    /// The longest delay before connecting again. Default 5 s.
    pub reconnect_max: Duration,
    /// How long the broker may take to say Welcome. Default 5 s.
    pub handshake_timeout: Duration,
    /// How long topic requests, answered commits and pings may take. Default 30 s.
    pub request_timeout: Duration,
    /// How long [`Client::close`](super::Client::close) waits for what is unanswered. Default 10 s.
    pub drain_timeout: Duration,
    /// Most requests unanswered, with the answers that were not polled yet; at least 1, at most 65,536.
    /// Default 1,024.
    pub max_in_flight: usize,
    /// Most bytes of unanswered requests, which are kept for resending; one more request may exceed it.
    /// Default 8 MiB.
    pub max_in_flight_bytes: usize,
    /// Most bytes that wait to be written; one more request may exceed it. Default 1 MiB.
    pub max_outbound_bytes: usize,
    /// Most bytes received and not taken yet for subscriptions with `window = 0`; one read may exceed it.
    /// Default 1 MiB.
    pub buffer_bytes: usize,
}

impl ClientConfig {
    /// The largest [`max_in_flight`](Self::max_in_flight).
    pub const MAX_IN_FLIGHT: usize = 65_536;

    /// The defaults, with jitter that starts at `jitter_seed`.
    #[must_use]
    pub const fn new(jitter_seed: u64) -> Self {
        Self {
            name: String::new(),
            token: Vec::new(),
            jitter_seed,
            reconnect: true,
            retry_first_connect: false,
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            max_in_flight: 1_024,
            max_in_flight_bytes: 8 << 20,
            max_outbound_bytes: 1 << 20,
            buffer_bytes: 1 << 20,
        }
    }
}

impl fmt::Debug for ClientConfig {
    /// Leaves the token out: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.token.is_empty() { "none" } else { "redacted" };
        f.debug_struct("ClientConfig")
            .field("name", &self.name)
            .field("token", &token)
            .field("reconnect", &self.reconnect)
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}

/// How a publish is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// Which answer is wanted. Default [`AckLevel::Accepted`].
    pub ack: AckLevel,
    /// How long to wait for it, and to retry what the broker refuses for the moment. Default 30 s.
    pub deadline: Duration,
}

impl PublishOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { ack: AckLevel::Accepted, deadline: Duration::from_secs(30) }
    }

    /// Which answer is wanted.
    #[must_use]
    pub const fn ack(mut self, ack: AckLevel) -> Self {
        self.ack = ack;
        self
    }

    /// How long to wait for it.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a subscription begins and how much of it may be uncommitted (semantics R3, A1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Where it begins. Default [`Start::Earliest`].
    pub start: Start,
    /// Most messages delivered and not committed; 0 turns commits off. Default 1.
    pub window: u32,
    /// The same in bytes; 0 for the broker's limit, the default.
    pub window_bytes: u32,
}

impl SubscribeOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { start: Start::Earliest, window: 1, window_bytes: 0 }
    }

    /// Where it begins.
    #[must_use]
    pub const fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Most messages delivered and not committed; 0 turns commits off.
    #[must_use]
    pub const fn window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    /// The same in bytes.
    #[must_use]
    pub const fn window_bytes(mut self, bytes: u32) -> Self {
        self.window_bytes = bytes;
        self
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self::new()
    }
}

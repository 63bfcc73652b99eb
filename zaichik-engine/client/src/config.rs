//! The settings of a client, and the options of its requests.

mod pattern;
mod shared;

use core::fmt;
use core::time::Duration;

use zaichik_proto::{AckLevel, OnConflict, Start};

pub use self::pattern::PatternOptions;
pub use self::shared::SharedOptions;

/// How a [`Client`](crate::Client) behaves.
///
/// Start from [`ClientConfig::new`] and change fields. Each queue is bounded by a field here.
///
/// ```
/// use std::time::Duration;
/// use zaichik_client::{ClientConfig, ProducerIdentity};
/// let mut config = ClientConfig::new(0x5eed);
/// config.name = "billing".to_owned();
/// config.producer = Some(ProducerIdentity::new(0x1234)); // retries are stored once
/// config.reconnect_max = Duration::from_secs(1);
/// assert_eq!(config.max_in_flight, 1_024);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The client's name in the broker's logs; truncated to 255 bytes. Default empty.
    pub name: String,
    /// The shared token, at most 1,024 bytes; empty for none, the default.
    pub token: Vec<u8>,
    /// The seed for the jitter in delays; any number, preferably a random one for each client.
    pub jitter_seed: u64,
    /// Numbers publishes and batches, so that one resent after a broken connection is stored once (rules P3, P4).
    /// Default `None`: the outcome of a publish whose connection breaks before the answer is reported as unknown.
    pub producer: Option<ProducerIdentity>,
    /// Whether to reconnect after a broken connection. Default true.
    pub reconnect: bool,
    /// Whether to retry the first connection too. Default false: a wrong address
    /// is reported at once.
    pub retry_first_connect: bool,
    /// The first delay before reconnecting; it doubles with each failure. Default 50 ms.
    pub reconnect_min: Duration,
    /// The maximum delay before reconnecting. Default 5 s.
    pub reconnect_max: Duration,
    /// How long the broker may take to send Welcome. Default 5 s.
    pub handshake_timeout: Duration,
    /// How long topic requests, answered commits, nacks, seeks and pings may take. Default 30 s.
    pub request_timeout: Duration,
    /// How long after the broker was last heard to resend publishes and batches that it may have applied; after that
    /// they are reported as unknown. Keep it below the time that the broker remembers a producer (10 min). Default 9
    /// min.
    pub resend_timeout: Duration,
    /// How long [`Client::close`](crate::Client::close) waits for unanswered requests. Default 10 s.
    pub drain_timeout: Duration,
    /// Maximum unanswered requests, together with the answers that were not polled; at least 1, at most 65,536.
    /// Default 1,024.
    pub max_in_flight: usize,
    /// Maximum bytes of unanswered requests, which are kept for resending; the last request may exceed it.
    /// Default 8 MiB.
    pub max_in_flight_bytes: usize,
    /// Maximum bytes that wait to be written; the last request may exceed it. Default 1 MiB.
    pub max_outbound_bytes: usize,
    /// Maximum bytes received but not taken for subscriptions with `window = 0`; one read may exceed it.
    /// Default 1 MiB.
    pub buffer_bytes: usize,
}

impl ClientConfig {
    /// The largest [`max_in_flight`](Self::max_in_flight).
    pub const MAX_IN_FLIGHT: usize = 65_536;

    /// The defaults, with this seed for the jitter.
    #[must_use]
    pub const fn new(jitter_seed: u64) -> Self {
        Self {
            name: String::new(),
            token: Vec::new(),
            jitter_seed,
            producer: None,
            reconnect: true,
            retry_first_connect: false,
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            resend_timeout: Duration::from_mins(9),
            drain_timeout: Duration::from_secs(10),
            max_in_flight: 1_024,
            max_in_flight_bytes: 8 << 20,
            max_outbound_bytes: 1 << 20,
            buffer_bytes: 1 << 20,
        }
    }
}

impl fmt::Debug for ClientConfig {
    /// Omits the token, which is a secret.
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

/// The identity under which a client numbers its publishes and batches (rule P3).
///
/// Two clients that use the same id and epoch at the same time lose the guarantee: draw a random id for each client,
/// or keep one and raise the epoch with each new owner, which fences the older owners.
///
/// ```
/// use zaichik_client::ProducerIdentity;
/// // A program that numbers its own work continues where it stopped, under a higher epoch.
/// let identity = ProducerIdentity::new(0x1234).epoch(2).first_sequence(1_001);
/// assert_eq!((identity.epoch, identity.first_sequence), (2, 1_001));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerIdentity {
    /// Unique among the producers of the broker.
    pub id: u128,
    /// Which owner of the id this is; a higher one fences the lower. Default 1.
    pub epoch: u32,
    /// The number of the first request. Default 0.
    pub first_sequence: u64,
}

impl ProducerIdentity {
    /// The identity of the first owner of an id.
    #[must_use]
    pub const fn new(id: u128) -> Self {
        Self { id, epoch: 1, first_sequence: 0 }
    }

    /// Which owner of the id this is.
    #[must_use]
    pub const fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = epoch;
        self
    }

    /// The number of the first request.
    #[must_use]
    pub const fn first_sequence(mut self, sequence: u64) -> Self {
        self.first_sequence = sequence;
        self
    }
}

/// Options of a publish or a batch: its acknowledgement and its deadline.
///
/// ```
/// use std::time::Duration;
/// use zaichik_client::PublishOptions;
/// use zaichik_proto::AckLevel;
/// let options = PublishOptions::new().ack(AckLevel::Accepted).deadline(Duration::from_secs(5));
/// assert_eq!(options.deadline, Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// The acknowledgement level. Default [`AckLevel::Accepted`].
    pub ack: AckLevel,
    /// How long to wait for the answer, and to retry after temporary refusals. Default 30 s.
    pub deadline: Duration,
}

impl PublishOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { ack: AckLevel::Accepted, deadline: Duration::from_secs(30) }
    }

    /// Sets the acknowledgement level.
    #[must_use]
    pub const fn ack(mut self, ack: AckLevel) -> Self {
        self.ack = ack;
        self
    }

    /// How long to wait for the answer, and to retry after temporary refusals.
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

/// Where a subscription begins, its window, its durable cursor and dead-letter topic (rules R3, A1, A6, chapter D), and
/// whether it is shared (chapter G).
///
/// ```
/// use zaichik_client::{DurableOptions, SubscribeOptions};
/// use zaichik_proto::Start;
/// let options = SubscribeOptions::new().start(Start::Latest).window(64).durable(DurableOptions::new("billing"));
/// assert_eq!(options.window, 64);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Where it begins; a durable one that exists resumes at its cursor instead. Default [`Start::Earliest`].
    pub start: Start,
    /// Maximum messages delivered and not committed; 0 turns commits off. Default 1.
    pub window: u32,
    /// The same in bytes; 0 for the broker's limit, the default.
    pub window_bytes: u32,
    /// Makes the cursor outlive the client. Default `None`.
    pub durable: Option<DurableOptions>,
    /// Shares the messages with other members. Default `None`. Never together with `durable`.
    pub shared: Option<SharedOptions>,
    /// Failures of one message after which it is moved to the dead-letter topic; 0 for no limit, the default.
    pub max_attempts: u32,
    /// The topic that such a message is moved to; empty for none, the default: it is redelivered without limit.
    pub dead_letter: String,
}

impl SubscribeOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            durable: None,
            shared: None,
            max_attempts: 0,
            dead_letter: String::new(),
        }
    }

    /// Where it begins.
    #[must_use]
    pub const fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Maximum messages delivered and not committed; 0 turns commits off.
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

    /// Makes the cursor outlive the client.
    #[must_use]
    pub fn durable(mut self, durable: DurableOptions) -> Self {
        self.durable = Some(durable);
        self
    }

    /// Shares the messages with other members: each goes to one of them.
    #[must_use]
    pub fn shared(mut self, shared: SharedOptions) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Moves a message to a dead-letter topic after `max_attempts` failures, at least 1.
    #[must_use]
    pub fn dead_letter(mut self, max_attempts: u32, topic: impl Into<String>) -> Self {
        (self.max_attempts, self.dead_letter) = (max_attempts, topic.into());
        self
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A cursor that outlives its client, named within its topic (chapter D).
///
/// ```
/// use std::time::Duration;
/// use zaichik_client::DurableOptions;
/// use zaichik_proto::OnConflict;
/// let options = DurableOptions::new("billing").on_conflict(OnConflict::Reject).inactive_ttl(Duration::from_hours(1));
/// assert_eq!(options.name, "billing");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurableOptions {
    /// Its name, 1 to 255 bytes.
    pub name: String,
    /// What to do when another connection holds it. Default [`OnConflict::TakeOver`].
    ///
    /// It has no effect when a client reconnects: either no other connection has held it since, or the client is
    /// fenced.
    pub on_conflict: OnConflict,
    /// How long it is kept while no connection holds it; [`Duration::MAX`] for no limit, zero for the broker's setting
    /// (24 h), which is the default.
    pub inactive_ttl: Duration,
}

impl DurableOptions {
    /// The defaults, with this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), on_conflict: OnConflict::TakeOver, inactive_ttl: Duration::ZERO }
    }

    /// What to do when another connection holds it.
    #[must_use]
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = on_conflict;
        self
    }

    /// How long it is kept while no connection holds it.
    #[must_use]
    pub fn inactive_ttl(mut self, ttl: Duration) -> Self {
        self.inactive_ttl = ttl;
        self
    }
}

impl<T: Into<String>> From<T> for DurableOptions {
    fn from(name: T) -> Self {
        Self::new(name)
    }
}

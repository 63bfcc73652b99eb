//! The connection to the broker: its state, its handshake, and when to open it again.
//!
//! A client has at most one connection at a time. [`Link`] is the driver's view of it.

use core::time::Duration;

use zaichik_proto::{Limits, Timestamp, Version, Welcome};

use crate::backoff::{Backoff, Jitter};
use crate::config::ClientConfig;
use crate::error::{LinkError, RequestError, Violation};
use crate::heartbeat::{Heartbeat, Silence};

/// The state of the connection, and what the driver has to do about it.
///
/// ```
/// use zaichik_client::{Client, ClientConfig, Link, Timestamp};
/// let mut client = Client::new(ClientConfig::new(9));
/// assert_eq!(client.link(), Link::Connect { at: Timestamp::ZERO }, "at once");
/// client.handle_connected(Timestamp::from_micros(1));
/// assert_eq!(client.link(), Link::Handshake);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// There is no connection, and one is wanted from `at` on.
    ///
    /// A driver that still holds an old connection drops it. This time is not part of
    /// [`Client::next_timeout`](crate::Client::next_timeout).
    Connect {
        /// When to connect; [`Timestamp::ZERO`] for at once.
        at: Timestamp,
    },
    /// Bytes flow in both directions, but the handshake is not complete.
    Handshake,
    /// Requests are sent and answered.
    Open,
    /// The client is closing: every request is answered, and Close was sent to the broker.
    Closing,
    /// The client has closed, with an error unless the application closed it: drop the connection.
    Closed(Option<LinkError>),
}

/// The connection of a client, over all its successive byte streams.
#[derive(Debug)]
pub(crate) struct Connection {
    link: Link,
    handshake_deadline: Timestamp,
    opened_at: Timestamp,
    /// Set once the application has called `close`.
    drain_deadline: Option<Timestamp>,
    heartbeat: Heartbeat,
    backoff: Backoff,
    jitter: Jitter,
    last_error: Option<LinkError>,
    /// The broker's instance, known since its first Welcome.
    instance: Option<u128>,
    /// The broker's name and version.
    server: Box<str>,
    limits: Limits,
    /// The optional parts of the protocol that the broker offers.
    capabilities: u64,
    /// The version of the last connection; the first one before the broker's first Welcome.
    version: Version,
    policy: ReconnectPolicy,
}

/// When to reopen a broken connection.
#[derive(Debug, Clone, Copy)]
struct ReconnectPolicy {
    reconnects: bool,
    retries_first: bool,
    /// A connection that stayed open for this long resets the delays.
    stable_after: Duration,
}

impl Connection {
    /// Wants a byte stream at once, unless the configuration is invalid.
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let token_len = config.token.len();
        let link = if token_len > Limits::MAX_TOKEN {
            Link::Closed(Some(LinkError::TokenTooLong { got: token_len }))
        } else {
            Link::Connect { at: Timestamp::ZERO }
        };
        Self {
            link,
            handshake_deadline: Timestamp::MAX,
            opened_at: Timestamp::ZERO,
            drain_deadline: None,
            heartbeat: Heartbeat::default(),
            backoff: Backoff::new(config.reconnect_min, config.reconnect_max),
            jitter: Jitter::new(config.jitter_seed),
            last_error: None,
            instance: None,
            server: Box::default(),
            limits: Limits::default(),
            capabilities: 0,
            version: Version::One,
            policy: ReconnectPolicy {
                reconnects: config.reconnect,
                retries_first: config.retry_first_connect,
                stable_after: config.reconnect_max,
            },
        }
    }

    pub(crate) const fn link(&self) -> &Link {
        &self.link
    }

    /// Whether there is a byte stream.
    pub(crate) const fn has_stream(&self) -> bool {
        matches!(self.link, Link::Handshake | Link::Open | Link::Closing)
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.link, Link::Open)
    }

    /// Whether Close was sent, so that only the broker's Goodbye is awaited.
    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.link, Link::Closing)
    }

    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.link, Link::Closed(_))
    }

    /// Whether the application has called `close`.
    pub(crate) const fn is_draining(&self) -> bool {
        self.drain_deadline.is_some()
    }

    pub(crate) const fn check_accepts_requests(&self) -> Result<(), RequestError> {
        if self.is_draining() || self.is_closed() {
            return Err(RequestError::Closed);
        }
        Ok(())
    }

    pub(crate) const fn last_error(&self) -> Option<&LinkError> {
        self.last_error.as_ref()
    }

    pub(crate) const fn instance(&self) -> Option<u128> {
        self.instance
    }

    pub(crate) const fn server(&self) -> &str {
        &self.server
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the broker takes: its limits and capabilities.
    pub(crate) const fn terms(&self) -> (&Limits, u64) {
        (&self.limits, self.capabilities)
    }

    /// Whether the broker of the last connection has this capability.
    pub(crate) const fn offers(&self, capability: u64) -> bool {
        self.capabilities & capability != 0
    }

    /// The version of the connection.
    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// A byte stream exists, and the handshake begins.
    pub(crate) fn start_handshake(&mut self, deadline: Timestamp) {
        self.link = Link::Handshake;
        self.handshake_deadline = deadline;
    }

    /// Processes the broker's Welcome; returns whether the instance is that of the previous connection.
    pub(crate) fn welcomed(&mut self, welcome: &Welcome<'_>, now: Timestamp) -> Result<bool, Violation> {
        self.version =
            Version::from_number(welcome.version).ok_or(Violation::Version { got: welcome.version })?;
        let same_instance = self.instance.replace(welcome.instance) == Some(welcome.instance);
        self.server = welcome.server.into();
        self.limits = welcome.limits;
        self.capabilities = welcome.capabilities;
        self.heartbeat = Heartbeat::new(&self.limits, now);
        self.opened_at = now;
        Ok(same_instance)
    }

    /// Requests may be sent.
    pub(crate) fn open(&mut self) {
        self.link = Link::Open;
    }

    /// Starts to drain, unless it has already.
    pub(crate) fn drain_until(&mut self, deadline: Timestamp) {
        if !self.is_draining() && !self.is_closed() {
            self.drain_deadline = Some(deadline);
        }
    }

    /// Close was sent.
    pub(crate) fn close_sent(&mut self) {
        self.link = Link::Closing;
    }

    /// The client is closed, for good.
    pub(crate) fn closed(&mut self, error: Option<LinkError>) {
        self.last_error.clone_from(&error);
        self.link = Link::Closed(error);
    }

    /// Whether to reconnect after a connection broke for this reason.
    pub(crate) const fn reconnects_after(&self, cause: &LinkError) -> bool {
        let may_retry = self.instance.is_some() || self.policy.retries_first;
        !cause.is_final() && may_retry && self.policy.reconnects
    }

    /// The byte stream broke, or none could be opened: another one is wanted after a delay.
    pub(crate) fn broken(&mut self, now: Timestamp, cause: LinkError) {
        if self.is_open() && now.since(self.opened_at) >= self.policy.stable_after {
            // A connection that breaks right after opening must not shorten the delay.
            self.backoff.reset();
        }
        self.last_error = Some(cause);
        self.link = Link::Connect { at: now.plus_micros(self.backoff.next(&mut self.jitter)) };
    }

    pub(crate) const fn heard(&mut self, now: Timestamp) {
        self.heartbeat.heard(now);
    }

    /// The client is not reading, so silence means nothing.
    pub(crate) const fn pause_heartbeat(&mut self) {
        self.heartbeat.pause();
    }

    /// When the broker was last heard on this connection.
    pub(crate) const fn heard_at(&self) -> Timestamp {
        self.heartbeat.heard_at()
    }

    pub(crate) fn check_heartbeat(&mut self, now: Timestamp) -> Silence {
        self.heartbeat.check(now)
    }

    /// When the handshake has taken too long.
    pub(crate) fn handshake_timer(&self) -> Option<Timestamp> {
        (self.link == Link::Handshake).then_some(self.handshake_deadline)
    }

    /// When the broker has been silent for too long, provided that the client reads.
    pub(crate) fn heartbeat_timer(&self) -> Option<Timestamp> {
        self.heartbeat.next_timeout().filter(|_| self.is_open() || self.is_closing())
    }

    /// When to stop waiting for answers after `close`.
    pub(crate) fn drain_timer(&self) -> Option<Timestamp> {
        self.drain_deadline.filter(|_| !self.is_closed())
    }
}

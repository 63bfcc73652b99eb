//! The client as a state machine: requests and bytes in, answers, messages and bytes out.
//!
//! This file has the methods that a driver calls. The requests of an application are in the submodules, one for each
//! kind; the modules beside this one keep the state.

mod admin;
mod connecting;
mod patterns;
mod publish;
mod receive;
mod rewind;
mod shared;
mod subscribe;
mod timeouts;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::BytesMut;
use zaichik_proto::{ClientFrame, Limits, Refusal, Timestamp, TopicName, Version, micros};

use crate::answer::{Answer, RequestId, SubscriptionId};
use crate::config::ClientConfig;
use crate::connection::{Connection, Link};
use crate::encoder::Encoder;
use crate::error::{LinkError, RequestError};
use crate::event::Event;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::outcomes::Outcomes;
use crate::requests::{NewRequest, RequestKind, Requests};
use crate::subscription::Subscription;
use crate::subscriptions::Subscriptions;

/// One client of a broker, over any number of successive connections.
///
/// It knows no socket: a driver opens the connection when [`link`](Self::link) asks for one, appends received bytes
/// to [`inbound`](Self::inbound) and calls [`handle_read`](Self::handle_read), writes what
/// [`outbound`](Self::outbound) holds, and calls [`handle_timeout`](Self::handle_timeout) at the time that
/// [`next_timeout`](Self::next_timeout) returns; in any order, and any number of times.
/// [`poll_answer`](Self::poll_answer) returns answers, and [`poll_event`](Self::poll_event) messages.
///
/// Requests may be made before the connection is open; they are sent in order when it is. Every queue is bounded
/// by [`ClientConfig`], by the windows and by the number of subscriptions.
///
/// ```
/// use bytes::Buf;
/// use zaichik_client::{Answer, Client, ClientConfig, Link};
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Timestamp, Seed};
///
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// let mut session = broker.accept(now, &mut effects);
/// let mut client = Client::new(ClientConfig::new(9));
/// assert_eq!(client.link(), Link::Connect { at: Timestamp::ZERO });
///
/// client.handle_connected(now); // there is a connection, and bytes are carried both ways
/// let ping = client.ping(now)?;
/// for _ in 0..3 {
///     let out = client.outbound();
///     let bytes = out.copy_to_bytes(out.remaining());
///     session.inbound().extend_from_slice(&bytes);
///     session.handle_read(now);
///     let _ = session.exchange(now, &mut broker, &mut effects);
///     let out = session.outbound();
///     let bytes = out.copy_to_bytes(out.remaining());
///     client.inbound().extend_from_slice(&bytes);
///     client.handle_read(now);
/// }
/// assert_eq!(client.poll_answer(), Some((ping, Ok(Answer::Pong))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    config: ClientConfig,
    /// The latest time passed to any call.
    now: Timestamp,
    connection: Connection,
    inbound: Inbound,
    outbound: Outbound,
    requests: Requests,
    subscriptions: Subscriptions,
    encoder: Encoder,
}

impl Client {
    /// A client that wants a connection at once.
    #[must_use]
    pub fn new(mut config: ClientConfig) -> Self {
        let name_len = config.name.floor_char_boundary(zaichik_proto::MAX_NAME_LEN);
        config.name.truncate(name_len);
        Self {
            now: Timestamp::ZERO,
            connection: Connection::new(&config),
            inbound: Inbound::new(),
            outbound: Outbound::default(),
            requests: Requests::new(&config),
            subscriptions: Subscriptions::default(),
            encoder: Encoder::default(),
            config,
        }
    }

    /// A new byte stream to the broker exists: queues the magic and the Hello.
    ///
    /// An earlier stream counts as broken. Has no effect on a closed client.
    pub fn handle_connected(&mut self, now: Timestamp) {
        let now = self.tick(now);
        if self.connection.has_stream() {
            self.connection_lost(now, LinkError::Disconnected);
        }
        if !self.connection.is_closed() {
            self.start_handshake();
        }
    }

    /// The byte stream ended or broke, or connecting failed: [`link`](Self::link) returns what the client wants next.
    ///
    /// First pass the bytes received before to [`handle_read`](Self::handle_read). Before the time in [`Link::Connect`]
    /// nothing can have failed, so the call has no effect then.
    pub fn handle_disconnected(&mut self, now: Timestamp) {
        let now = self.tick(now);
        match *self.connection.link() {
            Link::Connect { at } if now < at => {}
            Link::Connect { .. } => self.connection_lost(now, LinkError::ConnectFailed),
            Link::Handshake | Link::Open | Link::Closing => {
                self.connection_lost(now, LinkError::Disconnected);
            }
            Link::Closed(_) => {}
        }
        self.settle();
    }

    /// Where received bytes are appended; then call [`handle_read`](Self::handle_read).
    pub const fn inbound(&mut self) -> &mut BytesMut {
        self.inbound.bytes()
    }

    /// Processes the complete frames received; calling it again without new bytes does nothing.
    pub fn handle_read(&mut self, now: Timestamp) {
        let now = self.tick(now);
        if self.inbound.has_new_bytes() {
            self.connection.heard(now);
        }
        self.read_frames();
        if self.connection.is_open() && !self.wants_read() {
            self.connection.pause_heartbeat();
        }
        self.settle();
    }

    /// Whether the driver should read now.
    ///
    /// False without a connection, and while subscriptions with `window = 0` hold more than
    /// [`buffer_bytes`](ClientConfig::buffer_bytes) that were not taken: then nothing is read from the broker at all,
    /// so answers wait too, and a broker that can't write until its write deadline closes the connection as too slow.
    /// Subscriptions with a window never cause this, because the broker respects their windows. May change after any
    /// call.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.connection.link() {
            Link::Handshake | Link::Closing => true,
            Link::Open => {
                let unwindowed = self.subscriptions.unwindowed_bytes();
                unwindowed <= self.config.buffer_bytes || self.connection.is_draining()
            }
            Link::Connect { .. } | Link::Closed(_) => false,
        }
    }

    /// The bytes to write.
    pub fn outbound(&mut self) -> &mut Outbound {
        // Requests that found no room may fit now that bytes were taken.
        self.settle();
        &mut self.outbound
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; `None` if only another call can change that.
    ///
    /// O(log n) in the requests in flight. May change after any call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timers().earliest()
    }

    /// Does what is due; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.tick(now);
        self.run_timers();
        self.settle();
    }

    /// The next answer to a request.
    ///
    /// Answers that were not polled count as requests in flight.
    pub fn poll_answer(&mut self) -> Option<(RequestId, Result<Answer, RequestError>)> {
        self.requests.pop_answer()
    }

    /// A subscription that received something since it was last returned here, or whose client closed.
    pub fn poll_ready(&mut self) -> Option<SubscriptionId> {
        self.subscriptions.pop_ready()
    }

    /// The next message or event of a subscription to one topic; `None` if there is none now, or no such subscription. Those of
    /// a pattern are returned by [`poll_pattern`](Self::poll_pattern).
    ///
    /// A message that was taken can be [committed](Self::commit). After [`Event::Ended`], [`Event::Fenced`] and
    /// [`Event::Refused`] the subscription is gone. While a nack or a seek is unanswered this returns `None`, because
    /// the messages received may be stale.
    pub fn poll_event(&mut self, subscription: SubscriptionId) -> Option<Event> {
        let is_plain = |one: &&Subscription| !one.is_pattern() && one.pattern().is_none();
        self.subscriptions.get(subscription).filter(is_plain)?;
        self.subscriptions.take(subscription)
    }

    /// Drops the messages and events that a subscription has received; they do not count as taken.
    ///
    /// For an application that no longer reads the subscription: [`unsubscribe`](Self::unsubscribe) first, then call this
    /// whenever the subscription is [ready](Self::poll_ready).
    pub fn discard_events(&mut self, subscription: SubscriptionId) {
        self.subscriptions.discard(subscription);
        self.settle();
    }

    /// Whether every message of the subscription's window was taken and none of them is committed: the next one arrives
    /// after a commit.
    #[must_use]
    pub fn is_window_taken(&self, subscription: SubscriptionId) -> bool {
        self.subscriptions.get(subscription).is_some_and(Subscription::is_window_taken)
            || self.subscriptions.is_pattern_window_taken(subscription)
    }

    /// Refusals, since the last call, of publishes, commits and acknowledgements that wanted no answer: their number and the
    /// latest one. A message that was acknowledged and not held counts as one.
    pub const fn poll_refused(&mut self) -> Option<(u64, Refusal)> {
        self.requests.take_refused()
    }

    /// Accepts no more requests, waits for outstanding answers, sends Close and closes.
    ///
    /// A broken connection is reopened for requests that still need it. Subscriptions with a window continue until
    /// everything is answered; those without receive nothing new. If the drain deadline passes first, the client closes
    /// with [`LinkError::DrainTimeout`].
    pub fn close(&mut self, now: Timestamp) {
        self.tick(now);
        self.connection.drain_until(self.after(self.config.drain_timeout));
        self.settle();
    }

    /// Frees empty buffers, for a connection that becomes idle.
    pub fn shrink(&mut self) {
        self.inbound.shrink();
        self.outbound.shrink();
        self.encoder.shrink();
    }

    /// The state of the connection, and what the driver has to do about it.
    #[must_use]
    pub fn link(&self) -> Link {
        self.connection.link().clone()
    }

    /// Why the last connection broke, or why the client closed.
    #[must_use]
    pub const fn last_error(&self) -> Option<&LinkError> {
        self.connection.last_error()
    }

    /// The broker's instance, known since its first Welcome (rule P5).
    #[must_use]
    pub const fn instance(&self) -> Option<u128> {
        self.connection.instance()
    }

    /// The broker's name and version; empty before its first Welcome.
    #[must_use]
    pub fn server(&self) -> &str {
        self.connection.server()
    }

    /// The protocol version of the last connection; version 1 before the broker's first Welcome.
    #[must_use]
    pub const fn protocol(&self) -> Version {
        self.connection.version()
    }

    /// The limits of the connection; the defaults before the broker's first Welcome.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        self.connection.limits()
    }

    /// Whether one more request may be made now: if not, requests fail with [`RequestError::Full`]. May change after any
    /// call.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.check_room() != Err(RequestError::Full)
    }

    /// The publishes and batches that would be lost, or whose outcome would stay unknown, if the client were dropped now.
    ///
    /// O(n) in the requests in flight.
    #[must_use]
    pub fn unanswered_publishes(&self) -> usize {
        self.requests.unanswered_publishes()
    }

    /// Keeps time from moving backwards.
    fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    fn after(&self, duration: Duration) -> Timestamp {
        self.now.plus_micros(micros(duration))
    }

    /// Whether one more request may be made.
    fn check_room(&self) -> Result<(), RequestError> {
        self.connection.check_accepts_requests()?;
        let unwritten = self.requests.unsent_bytes().saturating_add(self.outbound.len());
        if self.requests.len() >= self.config.max_in_flight.clamp(1, ClientConfig::MAX_IN_FLIGHT)
            || self.requests.kept_bytes() >= self.config.max_in_flight_bytes.max(1)
            || unwritten >= self.config.max_outbound_bytes.max(1)
        {
            return Err(RequestError::Full);
        }
        Ok(())
    }

    fn check_topic(&mut self, topic: &str) -> Result<Arc<str>, RequestError> {
        let name = TopicName::parse(topic.as_bytes()).map_err(RequestError::InvalidTopic)?;
        Ok(self.encoder.share_topic(name))
    }

    /// A request with the configured timeout.
    fn with_timeout(&self, topic: Arc<str>, kind: RequestKind) -> NewRequest {
        NewRequest { topic, kind, deadline: self.after(self.config.request_timeout), operations: None }
    }

    /// Makes a request of one small frame, if there is room.
    fn ask<'f>(
        &mut self,
        topic: Arc<str>,
        kind: RequestKind,
        frame: impl FnOnce(u32) -> ClientFrame<'f>,
    ) -> Result<RequestId, RequestError> {
        self.check_room()?;
        Ok(self.request(topic, kind, frame))
    }

    /// Makes a request of one small frame, for a caller that has checked the room.
    fn request<'f>(
        &mut self,
        topic: Arc<str>,
        kind: RequestKind,
        frame: impl FnOnce(u32) -> ClientFrame<'f>,
    ) -> RequestId {
        let new = self.with_timeout(topic, kind);
        let (_, id) = self.requests.insert(new, |request| self.encoder.small(&frame(request)));
        self.settle();
        id
    }

    const fn outcomes(&mut self) -> Outcomes<'_> {
        Outcomes { now: self.now, requests: &mut self.requests, subscriptions: &mut self.subscriptions }
    }
}

impl fmt::Debug for Client {
    /// Omits received and unsent bytes, which may contain the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("link", &self.connection.link())
            .field("instance", &self.connection.instance())
            .field("requests", &self.requests.len())
            .field("subscriptions", &self.subscriptions.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Client {
    /// Everything that a call can change.
    fn state(&self) -> String {
        let bytes = (&self.inbound, &self.outbound);
        format!("{:?} {bytes:?} {:?} {:?}", self.connection, self.requests, self.subscriptions)
    }

    fn check_invariants(&self) {
        self.requests.check_invariants();
        self.subscriptions.check_invariants();
    }
}

#[cfg(test)]
mod tests;

//! The client as a state machine: requests and bytes in, answers, messages and bytes out.

mod answer;
mod backoff;
mod batch;
mod config;
mod describe;
mod error;
mod event;
mod inflight;
mod link;
mod pending;
mod producer;
mod receive;
mod reconnect;
mod refused;
mod request;
mod rewind;
mod size;
mod subscribe;
mod subscription;
mod subscriptions;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::BytesMut;
use zaichik_proto::{Limits, Refusal, ServerDecoder, micros};

pub use self::answer::{Answer, BatchReceipt, PublishReceipt, RequestId, SubscriptionId, SubscriptionStart};
pub use self::batch::Batch;
pub use self::config::{ClientConfig, DurableOptions, ProducerIdentity, PublishOptions, SubscribeOptions};
pub use self::describe::{SubscriptionInfo, TopicInfo};
pub use self::error::{ErrorClass, LinkError, RequestError, Violation};
pub use self::event::{Event, Message, MessageHeaders};
pub use self::link::Link;

use self::backoff::{Backoff, Jitter};
use self::inflight::Inflight;
use self::link::Heartbeat;
use self::pending::{Kind, Phase, PublishState};
use self::producer::Producer;
use self::subscriptions::Subscriptions;
use crate::outbound::Outbound;
use zaichik_proto::Timestamp;

/// One client of a broker, over as many connections as it takes.
///
/// It knows no socket: a driver opens the connection when [`link`](Self::link) asks for one, appends received bytes
/// to [`inbound`](Self::inbound) and calls [`handle_read`](Self::handle_read), writes what
/// [`outbound`](Self::outbound) holds, and calls [`handle_timeout`](Self::handle_timeout) when the time that
/// [`next_timeout`](Self::next_timeout) names has come; in any order, as often as it likes. Answers come out of
/// [`poll_answer`](Self::poll_answer), messages out of [`poll_event`](Self::poll_event).
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
    /// The largest moment told so far.
    now: Timestamp,
    link: Link,
    handshake_deadline: Timestamp,
    opened_at: Timestamp,
    drain_deadline: Option<Timestamp>,
    heartbeat: Heartbeat,
    backoff: Backoff,
    jitter: Jitter,
    last_error: Option<LinkError>,
    /// The broker's, once it said Welcome.
    instance: Option<u128>,
    /// What it calls itself.
    server: Box<str>,
    limits: Limits,
    decoder: ServerDecoder,
    inbound: BytesMut,
    /// How much of `inbound` was looked at, and is the start of a frame.
    parsed_len: usize,
    outbound: Outbound,
    inflight: Inflight,
    subscriptions: Subscriptions,
    /// Refusals of what wanted no answer: how many, and the latest.
    refused: Option<(u64, Refusal)>,
    /// Records are encoded here on their way into a frame.
    scratch: Vec<u8>,
    /// Frames are cut from this.
    arena: BytesMut,
    last_topic: Arc<str>,
}

impl Client {
    /// A client that wants a connection at once.
    #[must_use]
    pub fn new(mut config: ClientConfig) -> Self {
        let name_len = config.name.floor_char_boundary(zaichik_proto::MAX_NAME_LEN);
        config.name.truncate(name_len);
        let token_len = config.token.len();
        let link = if token_len > Limits::MAX_TOKEN {
            Link::Closed(Some(LinkError::TokenTooLong { got: token_len }))
        } else {
            Link::Connect { at: Timestamp::ZERO }
        };
        Self {
            now: Timestamp::ZERO,
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
            decoder: ServerDecoder::handshake(&Limits::default()),
            inbound: BytesMut::new(),
            parsed_len: 0,
            outbound: Outbound::default(),
            inflight: Inflight::new(Producer::new(config.producer, config.resend_timeout)),
            subscriptions: Subscriptions::default(),
            refused: None,
            scratch: Vec::new(),
            arena: BytesMut::new(),
            last_topic: Arc::default(),
            config,
        }
    }

    /// Where received bytes are appended; then call [`handle_read`](Self::handle_read).
    pub const fn inbound(&mut self) -> &mut BytesMut {
        &mut self.inbound
    }

    /// Takes in the whole frames of what was received; calling it again without new bytes does nothing.
    pub fn handle_read(&mut self, now: Timestamp) {
        let now = self.tick(now);
        if self.inbound.len() > self.parsed_len {
            self.heartbeat.heard(now);
        }
        self.read_frames();
        if self.link == Link::Open && !self.wants_read() {
            self.heartbeat.pause();
        }
        self.settle();
    }

    /// Whether received bytes are welcome now.
    ///
    /// False without a connection, and while subscriptions with `window = 0` hold more than
    /// [`buffer_bytes`](ClientConfig::buffer_bytes) that were not taken: then the broker is not heard at all, so
    /// answers wait too, and a broker that can't write for its write deadline ends the connection as too slow.
    /// Subscriptions with a window never cause it, because the broker keeps to their windows. May change after any
    /// call.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.link {
            Link::Handshake | Link::Closing => true,
            Link::Open => {
                let unwindowed = self.subscriptions.unwindowed_bytes();
                unwindowed <= self.config.buffer_bytes || self.drain_deadline.is_some()
            }
            Link::Connect { .. } | Link::Closed(_) => false,
        }
    }

    /// What is to be written.
    pub fn outbound(&mut self) -> &mut Outbound {
        // What did not fit before may do so since bytes were taken.
        self.settle();
        &mut self.outbound
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; `None` for not before another call.
    ///
    /// O(log n) in the requests in flight. May change after any call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let requests = self.inflight.next_timeout();
        let held = self.inflight.producer.next_timeout();
        self.next_link_timeout().into_iter().chain(requests).chain(held).min()
    }

    /// Does what is due; an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.tick(now);
        while let Some(wire) = self.inflight.pop_due(now) {
            self.request_due(wire, now);
        }
        self.link_timeout(now);
        self.settle();
    }

    /// The next answer to a request.
    ///
    /// Answers that are not polled count as requests in flight.
    pub fn poll_answer(&mut self) -> Option<(RequestId, Result<Answer, RequestError>)> {
        self.inflight.pop_answer()
    }

    /// A subscription that got something since it was named here last, or whose client closed.
    pub fn poll_ready(&mut self) -> Option<SubscriptionId> {
        self.subscriptions.pop_ready()
    }

    /// The next thing that a subscription has to tell; `None` if there is nothing now, or no such subscription.
    ///
    /// Taking a message is what [`commit`](Self::commit) goes by. After [`Event::Ended`],
    /// [`Event::Fenced`] and [`Event::Refused`] the subscription is gone. While a nack or a seek is unanswered
    /// there is nothing, since what was received may be stale.
    pub fn poll_event(&mut self, subscription: SubscriptionId) -> Option<Event> {
        self.subscriptions.take(subscription)
    }

    /// Refusals of publishes and commits that wanted no answer, since the last call: how many, and the latest.
    pub const fn poll_refused(&mut self) -> Option<(u64, Refusal)> {
        self.refused.take()
    }

    /// Gives buffers back that hold nothing: the connection goes idle.
    pub fn shrink(&mut self) {
        if self.inbound.is_empty() {
            self.inbound = BytesMut::new();
        }
        self.outbound.shrink();
        self.arena = BytesMut::new();
        self.scratch = Vec::new();
    }

    /// The state of the connection, and what the driver is to do about it.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Why the last connection broke, or why the client closed.
    #[must_use]
    pub const fn last_error(&self) -> Option<&LinkError> {
        self.last_error.as_ref()
    }

    /// The broker's instance, once it said Welcome (semantics P5).
    #[must_use]
    pub const fn instance(&self) -> Option<u128> {
        self.instance
    }

    /// What the broker calls itself, with its version; empty until it said Welcome.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What the connection may carry: the defaults until the broker said Welcome.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Time does not go back in here.
    fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    fn after(&self, duration: Duration) -> Timestamp {
        self.now.plus_micros(micros(duration))
    }

    /// A request's timer has run out: it is time to send it again, or to stop waiting.
    fn request_due(&mut self, wire: u32, now: Timestamp) {
        let Some(request) = self.inflight.get(wire) else {
            return;
        };
        let topic = Arc::clone(&request.topic);
        let (phase, kind, deadline) = (request.phase, request.kind, request.deadline);
        let may_be_applied = request.may_be_applied;
        if now < deadline && phase == Phase::Retry {
            self.inflight.set_timer(wire, deadline);
            self.inflight.requeue(wire);
            return;
        }
        // Behind a publish that came back nothing is applied, so what is sent comes back as well.
        let held_by = self.inflight.producer.held_by().filter(|_| self.inflight.is_numbered(wire));
        match (phase, kind, held_by) {
            (Phase::Sent { .. }, _, Some(refusal)) => {
                self.inflight.answer_early(wire, Err(RequestError::HeldBack { topic, refusal }));
            }
            (Phase::Sent { .. }, ..) => {
                self.inflight.answer_early(wire, Err(RequestError::Unknown { topic }));
            }
            _ if may_be_applied => self.inflight.answer_early(wire, Err(RequestError::Unknown { topic })),
            (
                _,
                Kind::Publish(PublishState { refusal, .. }) | Kind::Batch(PublishState { refusal, .. }),
                _,
            ) => {
                self.finish_held(wire, refusal);
            }
            _ => {
                self.rewind_failed(kind);
                self.inflight.answer(wire, Err(RequestError::NotSent { topic }));
            }
        }
    }
}

impl fmt::Debug for Client {
    /// Leaves out what was received and is to be sent: the token may be among it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("link", &self.link)
            .field("instance", &self.instance)
            .field("requests", &self.inflight.len())
            .field("subscriptions", &self.subscriptions.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Client {
    /// Everything that a call can change.
    fn state(&self) -> String {
        let link = (&self.link, self.heartbeat, self.backoff, &self.last_error, self.drain_deadline);
        let bytes = (&self.inbound, self.parsed_len, &self.outbound, &self.decoder);
        let rest = (&self.inflight, &self.subscriptions, &self.jitter, self.refused);
        format!("{link:?} {bytes:?} {rest:?}")
    }

    fn check_invariants(&self) {
        self.inflight.check_invariants();
        self.subscriptions.check_invariants();
    }
}

#[cfg(test)]
mod tests;

//! The connection: handshake, heartbeats, what happens when it breaks, and the orderly end.

use zaichik_proto::{
    ClientFrame, Hello, Limits, MAGIC, PROTOCOL_VERSION, Refusal, RefusalCode, ServerDecoder, Welcome,
};

use super::Client;
use crate::error::{LinkError, RequestError, Violation};
use crate::requests::request::Kind;
use zaichik_proto::Timestamp;

/// What the client needs of its driver: the state of the connection.
///
/// ```
/// use zaichik_client::{Client, ClientConfig, Link};
/// use zaichik_engine::Timestamp;
/// let mut client = Client::new(ClientConfig::new(9));
/// assert_eq!(client.link(), Link::Connect { at: Timestamp::ZERO }, "at once");
/// client.handle_connected(Timestamp::from_micros(1));
/// assert_eq!(client.link(), Link::Handshake);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// There is no connection, and one is wanted from `at` on.
    ///
    /// A driver that still holds an old one drops it. The moment is not part of
    /// [`next_timeout`](Client::next_timeout).
    Connect {
        /// When to connect; [`Timestamp::ZERO`] for at once.
        at: Timestamp,
    },
    /// Bytes flow, and the handshake is not done.
    Handshake,
    /// Requests are answered.
    Open,
    /// Everything is answered: the broker was told to close.
    Closing,
    /// The client is over, with an error unless it was closed: drop the connection.
    Closed(Option<LinkError>),
}

/// When something was heard from the broker, and what was done about silence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heartbeat {
    /// Zero turns heartbeats off.
    interval_micros: u64,
    heard_at: Timestamp,
    /// Whole intervals of silence, each of which had its ping.
    pings: u64,
    /// Reading is paused, so silence means nothing.
    is_paused: bool,
}

impl Heartbeat {
    /// Silence after which the connection counts as broken, in intervals.
    const MAX_SILENCE: u64 = 3;

    fn new(limits: &Limits, now: Timestamp) -> Self {
        Self {
            interval_micros: u64::from(limits.heartbeat_millis).saturating_mul(1_000),
            heard_at: now,
            pings: 0,
            is_paused: false,
        }
    }

    pub(super) const fn heard(&mut self, now: Timestamp) {
        (self.heard_at, self.pings, self.is_paused) = (now, 0, false);
    }

    /// From here on silence means nothing, until reading goes on and the clock starts anew.
    pub(super) const fn pause(&mut self) {
        self.is_paused = true;
    }

    const fn next_timeout(&self) -> Option<Timestamp> {
        if self.interval_micros == 0 {
            return None;
        }
        let intervals = self.pings.saturating_add(1);
        Some(self.heard_at.plus_micros(self.interval_micros.saturating_mul(intervals)))
    }
}

impl Client {
    /// A fresh byte stream to the broker exists: queues the magic and the Hello.
    ///
    /// A stream that the client still had counts as broken. Has no effect on a client that is closed.
    pub fn handle_connected(&mut self, now: Timestamp) {
        let now = self.tick(now);
        if matches!(self.link, Link::Handshake | Link::Open | Link::Closing) {
            self.link_broken(now, LinkError::Disconnected);
        }
        if matches!(self.link, Link::Closed(_)) {
            return;
        }
        self.outbound.clear();
        self.inbound.clear();
        self.subscriptions.forget_left();
        self.parsed_len = 0;
        self.decoder = ServerDecoder::handshake(&Limits::default());
        let hello = ClientFrame::Hello(Hello {
            version: PROTOCOL_VERSION,
            name: &self.config.name,
            token: &self.config.token,
        });
        self.outbound.frame(|out| {
            out.extend_from_slice(&MAGIC);
            hello.encode(out);
        });
        self.link = Link::Handshake;
        self.handshake_deadline = self.after(self.config.handshake_timeout);
    }

    /// The byte stream ended or broke, or connecting failed: the client says in [`link`](Self::link) what it wants.
    ///
    /// Hand in the bytes that were received before with [`handle_read`](Self::handle_read) first. Before the
    /// moment that [`Link::Connect`] names nothing can have failed, so the call has no effect then.
    pub fn handle_disconnected(&mut self, now: Timestamp) {
        let now = self.tick(now);
        match self.link {
            Link::Connect { at } if now < at => {}
            Link::Connect { .. } => self.link_broken(now, LinkError::ConnectFailed),
            Link::Handshake | Link::Open | Link::Closing => self.link_broken(now, LinkError::Disconnected),
            Link::Closed(_) => {}
        }
        self.settle();
    }

    /// Takes no more requests, waits for the answers to those it has, says goodbye and closes.
    ///
    /// The connection is opened again for requests that still need it. Subscriptions with a window go on until
    /// everything is answered, those without get nothing new. When the drain deadline passes first, the
    /// client closes with [`LinkError::DrainTimeout`].
    pub fn close(&mut self, now: Timestamp) {
        self.tick(now);
        if self.drain_deadline.is_none() && !matches!(self.link, Link::Closed(_)) {
            self.drain_deadline = Some(self.after(self.config.drain_timeout));
        }
        self.settle();
    }

    /// The broker said Welcome.
    pub(super) fn welcomed(&mut self, welcome: &Welcome<'_>) -> Result<(), LinkError> {
        if welcome.version != PROTOCOL_VERSION {
            return Err(Violation::Version { got: welcome.version }.into());
        }
        let now = self.now;
        let same_instance = self.instance.replace(welcome.instance) == Some(welcome.instance);
        self.server = welcome.server.into();
        self.limits = welcome.limits;
        self.decoder.open(&self.limits);
        self.heartbeat = Heartbeat::new(&self.limits, now);
        self.opened_at = now;
        if !same_instance {
            self.subscriptions.forget_taken();
            self.inflight.producer.forget();
        }
        if !same_instance || self.inflight.producer.resend_until() <= now {
            self.give_up_uncertain();
        }
        self.link = Link::Open;
        self.resubscribe_all(same_instance);
        Ok(())
    }

    /// The link can't be used any more, and `cause` says why.
    pub(super) fn link_broken(&mut self, now: Timestamp, cause: LinkError) {
        if self.link == Link::Closing {
            // Everything was answered: how the connection ends makes no difference.
            self.closed(None);
            return;
        }
        let is_first = self.instance.is_none() && !self.config.retry_first_connect;
        if cause.is_final() || is_first || !self.config.reconnect {
            self.closed(Some(cause));
            return;
        }
        if self.link == Link::Open && !self.inflight.has_uncertain() {
            self.inflight.producer.last_heard(self.heartbeat.heard_at);
        }
        if self.link == Link::Open && now.since(self.opened_at) >= self.config.reconnect_max {
            // A link that breaks as soon as it is open is no reason to come back faster.
            self.backoff.reset();
        }
        self.last_error = Some(cause);
        self.requests_lost(false);
        self.drop_buffers();
        let at = now.plus_micros(self.backoff.next(&mut self.jitter));
        self.link = Link::Connect { at };
    }

    /// The client is over.
    pub(super) fn closed(&mut self, error: Option<LinkError>) {
        self.requests_lost(true);
        self.inflight.producer.close();
        self.drop_buffers();
        self.last_error.clone_from(&error);
        self.link = Link::Closed(error);
        self.subscriptions.wake_all();
    }

    /// Moves on what can move: requests to the output, a closing client to its end.
    pub(super) fn settle(&mut self) {
        self.pump();
        if self.drain_deadline.is_none() || self.inflight.awaited() > 0 || self.inflight.has_unsent() {
            return;
        }
        match self.link {
            Link::Connect { .. } | Link::Handshake => self.closed(None),
            Link::Open => {
                self.outbound.frame(|out| ClientFrame::Close.encode(out));
                self.link = Link::Closing;
            }
            Link::Closing | Link::Closed(_) => {}
        }
    }

    /// Writes requests to the output while there is room in it.
    pub(super) fn pump(&mut self) {
        self.inflight.producer.release(self.now);
        while self.link == Link::Open && self.outbound.len() < self.config.max_outbound_bytes.max(1) {
            let Some(request) = self.inflight.first_unsent(self.now) else {
                return;
            };
            let (wire, size) = (request.wire, request.size());
            let may_be_applied = request.may_be_applied;
            // It may have been made before this broker's limits were known.
            let fits = size.map_or(Ok(()), |size| size.check(&self.limits));
            match fits.and_then(|()| self.inflight.assign(wire)) {
                Ok(()) => self.write_request(wire),
                Err(_) if may_be_applied => {
                    let topic = self.topic_of(wire);
                    self.finish(wire, Err(RequestError::Unknown { topic }));
                }
                Err(error) => self.unsendable(wire, error),
            }
        }
    }

    fn write_request(&mut self, wire: u32) {
        if let Some(request) = self.inflight.get(wire) {
            self.outbound.frame(|out| request.write(out));
        }
        let end = self.outbound.taken().saturating_add(self.outbound.len() as u64);
        self.inflight.sent(wire, end, self.now);
    }

    fn unsendable(&mut self, wire: u32, error: RequestError) {
        if let Some(Kind::PublishQuiet(_)) = self.inflight.get(wire).map(|request| request.kind) {
            let limit = u64::from(self.limits.max_message);
            self.count_refused(1, Refusal::with_value(RefusalCode::TooLarge, limit));
        }
        self.finish(wire, Err(error));
    }

    /// Does what is due on the connection.
    pub(super) fn link_timeout(&mut self, now: Timestamp) {
        let is_over = matches!(self.link, Link::Closed(_));
        if !is_over && self.drain_deadline.is_some_and(|deadline| deadline <= now) {
            let unanswered = self.inflight.owed();
            let error = (unanswered > 0).then_some(LinkError::DrainTimeout { unanswered });
            self.closed(error);
        }
        match self.link {
            Link::Handshake if self.handshake_deadline <= now => {
                self.link_broken(now, LinkError::HandshakeTimeout);
            }
            Link::Open | Link::Closing if self.wants_read() => self.check_heartbeat(now),
            Link::Connect { .. } | Link::Handshake | Link::Open | Link::Closing | Link::Closed(_) => {}
        }
        if self.resend_deadline().is_some_and(|deadline| deadline <= now) {
            if self.link == Link::Open {
                // What is in the output may not leave any more: the broker could take it for new.
                self.link_broken(now, LinkError::Disconnected);
            }
            self.give_up_uncertain();
        }
    }

    pub(super) fn next_link_timeout(&self) -> Option<Timestamp> {
        let own = match self.link {
            Link::Handshake => Some(self.handshake_deadline),
            Link::Open | Link::Closing if self.wants_read() => self.heartbeat.next_timeout(),
            Link::Connect { .. } | Link::Open | Link::Closing | Link::Closed(_) => None,
        };
        let drain = self.drain_deadline.filter(|_| !matches!(self.link, Link::Closed(_)));
        own.into_iter().chain(drain).chain(self.resend_deadline()).min()
    }

    /// Until when everything must have left again that may have been applied on a connection that is gone.
    fn resend_deadline(&self) -> Option<Timestamp> {
        let has_unresent = self.inflight.has_unresent(self.outbound.taken());
        has_unresent.then(|| self.inflight.producer.resend_until())
    }

    fn check_heartbeat(&mut self, now: Timestamp) {
        if self.heartbeat.is_paused {
            self.heartbeat.heard(now);
            return;
        }
        let before = self.heartbeat.pings;
        while self.heartbeat.pings < Heartbeat::MAX_SILENCE
            && self.heartbeat.next_timeout().is_some_and(|at| at <= now)
        {
            self.heartbeat.pings = self.heartbeat.pings.saturating_add(1);
        }
        if self.heartbeat.pings == before {
            return;
        }
        if self.heartbeat.pings >= Heartbeat::MAX_SILENCE {
            self.link_broken(now, LinkError::HeartbeatMissed);
            return;
        }
        let ping = ClientFrame::Ping { nonce: HEARTBEAT_NONCE };
        self.outbound.frame(|out| ping.encode(out));
    }

    fn drop_buffers(&mut self) {
        self.outbound.clear();
        self.inbound.clear();
        self.parsed_len = 0;
    }
}

/// The nonce of the client's own pings; those of the application are request ids, which are not zero.
pub(super) const HEARTBEAT_NONCE: u64 = 0;

//! The broker's end of one connection: bytes in, bytes out, and one call in which it exchanges them with the broker.

mod answers;
mod costs;
mod ending;
mod handshake;
mod holding;
mod inbound;
mod memory;
mod progress;
mod requests;
mod state;
mod timers;

use core::time::Duration;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use zaichik_proto::{ClientDecoder, HEADER_LEN, Limits, MAGIC, ServerFrame, Timestamp, micros};

use self::answers::{Answers, SHORT_ANSWER};
use self::inbound::Inbound;
pub(crate) use self::inbound::{BUSY_ROOM, IDLE_ROOM};
pub use self::state::Status;
use self::state::{Applied, State};
use self::timers::Timers;
use crate::broker::{Broker, ExchangeReport, PublishRun};
use crate::effects::{Effects, Turn};
use crate::error::CloseReason;
use crate::id::SessionId;
use crate::outbound::Outbound;
use crate::session_config::SessionConfig;

/// Bytes that a connection may send before its handshake is done.
const HANDSHAKE_ROOM: usize = MAGIC.len() + HEADER_LEN + Limits::MAX_HANDSHAKE_FRAME as usize;

const MICROS_PER_MILLI: u64 = 1_000;

/// The broker's end of one connection.
///
/// Four steps drive it, in any order and any number of times: *read* (append to [`inbound`](Self::inbound),
/// then [`handle_read`](Self::handle_read)), *exchange* with the broker, *write* (from
/// [`outbound`](Self::outbound)) and *time* ([`handle_timeout`](Self::handle_timeout)). Leaving one out delays
/// progress but is otherwise harmless. No call fails: a peer's mistake shows in [`status`](Self::status).
///
/// Memory: bounded by [`max_connection_bytes`](crate::BrokerConfig::max_connection_bytes) and reserved before it is
/// allocated (rule S15); about half a kibibyte when idle.
///
/// ```
/// use bytes::{Buf, BytesMut};
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Status, Timestamp};
/// use zaichik_proto::{ClientFrame, Hello, MAGIC};
///
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(7, 8))?;
/// let mut session = broker.accept(now, &mut effects);
///
/// let mut hello = BytesMut::from(&MAGIC[..]);
/// ClientFrame::Hello(Hello { version: 1, name: "doc", token: b"" }).encode(&mut hello);
/// session.inbound().extend_from_slice(&hello); // read
/// session.handle_read(now);
/// let _ = session.exchange(now, &mut broker, &mut effects); // exchange
/// assert_eq!(session.status(), Status::Open);
/// let welcome = session.outbound(); // write
/// assert!(welcome.has_remaining());
/// assert!(session.next_timeout().is_some(), "a heartbeat is due");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::struct_excessive_bools, reason = "each is independent of the others")]
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    config: Arc<SessionConfig>,
    decoder: ClientDecoder,
    inbound: Inbound,
    outbound: Outbound,
    /// Bytes that its buffers may hold.
    allowance: usize,
    /// Whether other connections need memory.
    is_scarce: bool,
    /// Bytes that they would have to hold for the next request or record; 0 if there is room.
    lacks: usize,
    /// Bytes more that a request or a record needs that this exchange had no room for; 0 if there was room.
    wants: usize,
    /// Whether the rest of a begun frame is read as soon as it arrives.
    is_read: bool,
    answers: Answers,
    timers: Timers,
    /// The last publishes applied.
    run: PublishRun,
    state: State,
    /// The client's name, until the broker has been informed.
    name: Box<str>,
    /// Bytes of answers put into the stream lane since it last had none.
    stream_answers: usize,
    /// Where the last of them ends, counted in bytes ever put into the stream lane.
    stream_answers_end: u64,
    /// Nothing more will be received.
    eof: bool,
    /// The broker is short of memory for this connection's publishes.
    throttled: bool,
    /// It has published, so it waits when memory is short. A session that has not may be a reconnecting consumer.
    publishes: bool,
    /// A request of this exchange asked for an answer when it is durable.
    awaits_sync: bool,
    /// When a stopping broker closes it, once the peer has received a Goodbye.
    stops_at: Option<Timestamp>,
}

impl Session {
    /// The connection's id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Where received bytes are appended; at most [`read_limit`](Self::read_limit) of them.
    pub const fn inbound(&mut self) -> &mut BytesMut {
        self.inbound.buffer()
    }

    /// Bytes were appended to [`inbound`](Self::inbound); a call without new ones changes nothing.
    pub fn handle_read(&mut self, now: Timestamp) {
        let now = self.timers.tick(now);
        self.timers.observe(&self.outbound);
        if self.inbound.observe() {
            self.timers.heard();
        }
        if self.state == State::Handshake {
            self.shake_hands(now);
            self.outbound.hold(None);
        }
        self.timers.observe_frame(self.inbound.received(), self.missing());
    }

    /// The peer will send no more bytes. The bytes received are still applied, and answered if the peer still reads.
    pub const fn handle_eof(&mut self, _now: Timestamp) {
        self.eof = true;
    }

    /// Whether to read more bytes now.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.read_limit() > 0
    }

    /// How many more bytes may be appended to [`inbound`](Self::inbound) now.
    #[must_use]
    pub fn read_limit(&self) -> usize {
        let limit = match self.state {
            State::Handshake => HANDSHAKE_ROOM,
            State::Welcomed | State::Open => usize::MAX,
            State::Ending(_) | State::Ended(_) => 0,
        };
        if self.eof || self.throttled { 0 } else { self.inbound.free(limit) }
    }

    /// The bytes to send.
    pub const fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// Passes requests to the broker, and receives answers and due records; a bounded amount of each.
    pub fn exchange(&mut self, now: Timestamp, broker: &mut Broker, effects: &mut Effects) -> Turn {
        let now = self.timers.tick(broker.tick(now));
        self.timers.observe(&self.outbound);
        if broker.end_expired(now) {
            return Turn::More;
        }
        let mut start = broker.begin_exchange(self.id);
        (self.allowance, self.is_scarce) = (start.allowance, start.is_scarce);
        (self.lacks, self.wants) = (0, 0);
        if broker.is_storing() {
            start.close = self.release(broker).or(start.close);
        }
        if let Some(reason) = start.close {
            // Its Fatal was not sent before, unless it is over already.
            let is_unread = self.close_reason().is_none() && self.outbound.has_remaining();
            self.finish(now, reason);
            if reason == CloseReason::MemoryNeeded && is_unread {
                // The peer does not read, so waiting for it would keep the memory.
                self.outbound.clear();
            }
        }
        if self.state == State::Welcomed {
            broker.open(self.id, core::mem::take(&mut self.name), effects);
            self.state = State::Open;
        }
        let mut applied = Applied::All;
        if self.state == State::Open {
            applied = self.apply(now, broker, effects);
        }
        if broker.is_storing() {
            self.hold_answers(broker, effects);
        }
        let mut stopping = Turn::Done;
        if let Some(stops_at) = start.stops_at {
            stopping = self.stop(now, stops_at, broker);
        }
        if self.eof && applied == Applied::All && !self.outbound.is_holding() {
            self.finish(now, CloseReason::PeerGone);
        }
        let mut more = applied == Applied::More || stopping == Turn::More;
        let mut lacks_for_records = false;
        if self.state == State::Open {
            more |= broker.hand_out_wakes(self.id, effects);
            if broker.is_ready(self.id) {
                let delivered =
                    broker.deliver(now, self.id, self.delivery_room(), &mut self.outbound, effects);
                more |= delivered.more;
                lacks_for_records = delivered.lacks_memory;
                if lacks_for_records {
                    self.wants = self.wants.max(SHORT_ANSWER.saturating_mul(2));
                }
            }
        }
        if broker.is_storing() {
            self.hold_records(broker, effects);
        }
        self.timers.observe(&self.outbound);
        if let State::Ending(reason) | State::Ended(reason) = self.state {
            self.state = State::Ended(reason);
            return broker.close_session(now, self.id, self.held(), reason, effects);
        }
        let needs = self.reserve_inbound(applied);
        more |= self.settle_wants(lacks_for_records);
        let waits_for_peer = self.waits_for_peer();
        if waits_for_peer {
            self.lacks = 0;
        }
        let end = broker.end_exchange(self.id, self.report(), effects);
        if self.throttled && !end.throttled {
            // While it was not read, nothing could be heard from it.
            self.timers.heard();
        }
        self.throttled = end.throttled;
        self.is_read = applied != Applied::Paused && needs == 0 && !self.throttled;
        self.timers.observe_frame(self.inbound.received(), self.missing());
        debug_assert!(
            more || self.lacks > 0
                || waits_for_peer
                || self.outbound.stream_len() >= self.config.output_buffer
                || !broker.is_ready(self.id),
            "a delivery leaves nothing that fits"
        );
        if more || end.more { Turn::More } else { Turn::Done }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do if nothing else happens before. O(1).
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let write = self.timers.write_deadline(&self.outbound, self.config.write_micros);
        let rest = match self.state {
            State::Ending(_) | State::Ended(_) => None,
            State::Handshake => Some(self.timers.handshake_by),
            State::Welcomed | State::Open => {
                // After the end of its stream a peer can't be heard; only the write deadline remains.
                let heartbeat = (!self.eof).then(|| self.timers.heartbeat(self.config.heartbeat_micros));
                let report = self.answers.report_due();
                let frame = self.timers.frame_deadline(self.config.frame_micros);
                heartbeat.into_iter().chain(report).chain(frame).chain(self.stops_at).min()
            }
        };
        write.into_iter().chain(rest).min()
    }

    /// Does what is due. An early or repeated call changes nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.timers.tick(now);
        self.time_out(now);
        // What it sends concerns no commit.
        self.outbound.hold(None);
    }

    fn time_out(&mut self, now: Timestamp) {
        self.timers.observe(&self.outbound);
        let write = self.timers.write_deadline(&self.outbound, self.config.write_micros);
        if write.is_some_and(|deadline| deadline <= now) {
            self.finish(now, CloseReason::SlowConsumer);
            // The peer does not read, so waiting for it is pointless.
            self.outbound.clear();
            return;
        }
        match self.state {
            State::Handshake if self.timers.handshake_by <= now => {
                self.finish(now, CloseReason::HandshakeTimeout);
            }
            State::Welcomed | State::Open => {
                if self.stops_at.is_some_and(|by| by <= now) {
                    self.finish(now, CloseReason::Stopped);
                    return;
                }
                let frame = self.timers.frame_deadline(self.config.frame_micros);
                if frame.is_some_and(|deadline| deadline <= now) {
                    self.finish(now, CloseReason::SlowProducer);
                    return;
                }
                self.answers.report(now, &mut self.outbound);
                if !self.eof && self.timers.heartbeat(self.config.heartbeat_micros) <= now {
                    match self.timers.ping(now, self.config.heartbeat_micros, self.wants_read()) {
                        Some(nonce) => self.answers.passing(&mut self.outbound, ServerFrame::Ping { nonce }),
                        None => self.finish(now, CloseReason::HeartbeatMissed),
                    }
                }
            }
            State::Handshake | State::Ending(_) | State::Ended(_) => {}
        }
    }

    /// The broker did not run for `pause`, although `now` advanced by as much: the machine was suspended, the process
    /// stopped, or the wall clock set forward. Call it before the next call with a time after the pause, and call
    /// [`Broker::resumed`] once.
    ///
    /// The deadlines of the handshake, of silence and of output move by `pause` (rule S4), also if the time steps back after
    /// it; the end of a drain does not.
    pub fn resumed(&mut self, pause: Duration) {
        self.timers.resumed(micros(pause));
    }

    /// Ends the connection; the peer receives the reason. The first reason counts.
    pub fn close(&mut self, now: Timestamp, reason: CloseReason) {
        let now = self.timers.tick(now);
        self.finish(now, reason);
        self.outbound.hold(None);
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Handshake => Status::Handshake,
            State::Welcomed | State::Open => Status::Open,
            State::Ending(_) | State::Ended(_) if !self.outbound.is_empty() => Status::Closing,
            State::Ending(_) | State::Ended(_) => Status::Closed,
        }
    }

    /// Why the connection is over, once it is.
    #[must_use]
    pub const fn close_reason(&self) -> Option<CloseReason> {
        match self.state {
            State::Ending(reason) | State::Ended(reason) => Some(reason),
            State::Handshake | State::Welcomed | State::Open => None,
        }
    }

    /// Whether it waits for memory (rule S15): until it is woken it is not read, or answers and records wait.
    #[must_use]
    pub const fn lacks_memory(&self) -> bool {
        self.lacks > 0
    }

    /// Frees spare memory of its buffers: the connection becomes idle. The next exchange returns it to the broker.
    pub fn shrink(&mut self) {
        self.inbound.shrink();
        self.outbound.shrink();
        self.answers.shrink();
    }

    /// Bytes that the frame at the front of the received ones lacks, if it is read.
    fn missing(&self) -> usize {
        if self.inbound.is_empty() || self.eof || !self.is_read || self.state != State::Open {
            return 0;
        }
        let len = self.decoder.frame_len(self.inbound.as_slice()).unwrap_or(HEADER_LEN);
        len.saturating_sub(self.inbound.len())
    }

    fn report(&self) -> ExchangeReport {
        ExchangeReport {
            held: self.held(),
            lacks: self.lacks,
            stalled_since: self.timers.stalled_since(&self.outbound),
            pins: self.outbound.pins_topics(),
            received: self.inbound.len(),
            publishes: self.publishes,
        }
    }
}

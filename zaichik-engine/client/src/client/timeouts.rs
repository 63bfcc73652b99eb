//! The timers of a client.

use zaichik_proto::{ClientFrame, Timestamp};

use super::Client;
use crate::connection::Link;
use crate::error::LinkError;
use crate::heartbeat::Silence;

/// The nonce of the client's own pings; the nonces of the application's pings are request ids, which are not zero.
const HEARTBEAT_NONCE: u64 = 0;

/// When each timer expires; `None` for one that is off.
#[derive(Debug)]
pub(super) struct Timers {
    /// A request is to be resent, or its deadline has passed.
    request: Option<Timestamp>,
    /// The producer may send again after a refusal.
    hold: Option<Timestamp>,
    /// Requests that may have been applied on an earlier connection may no longer be resent.
    resend: Option<Timestamp>,
    /// The broker has not sent Welcome.
    handshake: Option<Timestamp>,
    /// The broker is silent.
    heartbeat: Option<Timestamp>,
    /// Requests are unanswered after `close`.
    drain: Option<Timestamp>,
}

impl Timers {
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        let Self { request, hold, resend, handshake, heartbeat, drain } = *self;
        [request, hold, resend, handshake, heartbeat, drain].into_iter().flatten().min()
    }
}

impl Client {
    pub(super) fn timers(&self) -> Timers {
        Timers {
            request: self.requests.request_timer(),
            hold: self.requests.hold_timer(),
            resend: self.resend_timer(),
            handshake: self.connection.handshake_timer(),
            heartbeat: self.connection.heartbeat_timer().filter(|_| self.wants_read()),
            drain: self.connection.drain_timer(),
        }
    }

    /// Does what is due.
    pub(super) fn run_timers(&mut self) {
        // Answers wait behind messages that are not taken.
        let is_unread = self.connection.is_open() && !self.wants_read();
        while self.outcomes().next_due(is_unread) {
            let is_open = self.connection.is_open();
            self.outcomes().resume_settled(is_open);
        }
        self.drain_timeout();
        match self.connection.link() {
            Link::Handshake => self.handshake_timeout(),
            Link::Open | Link::Closing if self.wants_read() => self.heartbeat_timeout(),
            Link::Connect { .. } | Link::Open | Link::Closing | Link::Closed(_) => {}
        }
        self.resend_timeout();
    }

    fn drain_timeout(&mut self) {
        if is_due(self.connection.drain_timer(), self.now) {
            let unanswered = self.requests.unfinished();
            let error = (unanswered > 0).then_some(LinkError::DrainTimeout { unanswered });
            self.closed(error);
        }
    }

    fn handshake_timeout(&mut self) {
        if is_due(self.connection.handshake_timer(), self.now) {
            self.connection_lost(self.now, LinkError::HandshakeTimeout);
        }
    }

    fn heartbeat_timeout(&mut self) {
        match self.connection.check_heartbeat(self.now) {
            Silence::Short => {}
            Silence::Ping => {
                let ping = ClientFrame::Ping { nonce: HEARTBEAT_NONCE };
                self.outbound.frame(|out| ping.encode(out));
            }
            Silence::Broken => self.connection_lost(self.now, LinkError::HeartbeatMissed),
        }
    }

    fn resend_timeout(&mut self) {
        if is_due(self.resend_timer(), self.now) {
            if self.connection.is_open() {
                // Requests in the output may no longer be sent: the broker could mistake them for new ones.
                self.connection_lost(self.now, LinkError::Disconnected);
            }
            self.requests.give_up_uncertain();
            let is_open = self.connection.is_open();
            self.outcomes().resume_settled(is_open);
        }
    }

    fn resend_timer(&self) -> Option<Timestamp> {
        self.requests.resend_timer(self.outbound.taken())
    }
}

fn is_due(timer: Option<Timestamp>, now: Timestamp) -> bool {
    timer.is_some_and(|at| at <= now)
}

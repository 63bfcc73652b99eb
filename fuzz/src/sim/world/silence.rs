//! Since when a peer is silent, and makes no progress.

use bytes::Buf;
use zaichik_engine::Session;

use crate::sim::check::{Broken, Verdict};

/// Heartbeats of silence after which a peer may be dropped.
const MISSED: u64 = 3;

/// The silence of a peer.
#[derive(Debug, Default)]
pub(super) struct Silence {
    pub(super) heard: u64,
    /// When it was last sent a Ping, if that was after it was heard.
    pub(super) pinged: Option<u64>,
}

impl Silence {
    pub(super) const fn heard(&mut self, now: u64) {
        (self.heard, self.pinged) = (now, None);
    }

    /// Rule S4: a peer is dropped for its silence only after three heartbeats, and one after a Ping.
    pub(super) fn check(&self, now: u64, heartbeat: u64) -> Verdict {
        let is_asked = self.pinged.is_some_and(|pinged| now >= pinged + heartbeat);
        if is_asked && now >= self.heard + MISSED * heartbeat {
            return Ok(());
        }
        Broken::because(
            "S4",
            format!("dropped for its silence at {now}, with heartbeats of {heartbeat}: {self:?}"),
        )
    }
}

/// When the deadlines of a broker's end began.
#[derive(Debug)]
pub(super) struct Deadlines {
    pub(super) accepted: u64,
    /// The session's clock, which is behind the broker's if clocks move backwards; an exchange sets it. A pause, which is no
    /// time for which the broker ran, leaves it as it is.
    clock: u64,
    pub(super) silence: Silence,
    /// When no output waited.
    pub(super) sent: u64,
    /// When no byte of a frame waited.
    pub(super) read: u64,
}

impl Deadlines {
    pub(super) fn new(now: u64) -> Self {
        Self {
            accepted: now,
            clock: now,
            silence: Silence { heard: now, pinged: None },
            sent: now,
            read: now,
        }
    }

    /// The session is passed a time.
    pub(super) fn tick(&mut self, now: u64) {
        self.clock = self.clock.max(now);
    }

    pub(super) fn observe(&mut self, now: u64, session: &mut Session) {
        if !session.outbound().has_remaining() {
            self.sent = now;
        }
        if session.inbound().is_empty() {
            self.read = now;
        }
    }

    pub(super) const fn heard(&mut self) {
        self.silence.heard(self.clock);
    }
}

//! Deadlines of one connection (docs/protocol.md §10).

use bytes::Buf;

use super::progress::Progress;
use crate::outbound::Outbound;
use zaichik_proto::Timestamp;

/// Heartbeats without a byte from the peer after which it is considered gone.
const MISSED: u64 = 3;

/// The deadlines of a connection, and the state that they depend on.
#[derive(Debug)]
pub(super) struct Timers {
    /// The latest time of any call.
    latest: Timestamp,
    /// The time at which deadlines begin: the latest one of any call, moved by the pauses since, as the deadlines are. So
    /// a clock that steps back after a pause hastens none of them.
    clock: Timestamp,
    /// The deadline of the handshake.
    pub(super) handshake_by: Timestamp,
    /// When bytes last arrived from the peer.
    heard: Timestamp,
    /// Pings sent since.
    pings: u64,
    /// When the last of them was sent.
    pinged: Timestamp,
    /// Pings ever sent; the nonce of the next one.
    nonce: u64,
    /// How fast the peer accepts output.
    write: Progress,
    /// How fast the frame arrives that the peer has begun.
    frame: Progress,
}

impl Timers {
    pub(super) const fn new(now: Timestamp, handshake_by: Timestamp) -> Self {
        let (write, frame) = (Progress::new(now), Progress::new(now));
        let (latest, clock, heard, pinged) = (now, now, now, now);
        Self { latest, clock, handshake_by, heard, pings: 0, pinged, nonce: 0, write, frame }
    }

    /// The latest time of any call: time does not move backwards.
    pub(super) fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.latest = self.latest.max(now);
        self.clock = self.clock.max(now);
        self.latest
    }

    /// The broker did not run for `pause` microseconds, of which no deadline counts any.
    pub(super) fn resumed(&mut self, pause: u64) {
        let Self { clock, handshake_by, heard, pinged, write, frame, .. } = self;
        for at in [clock, handshake_by, heard, pinged] {
            *at = at.plus_micros(pause);
        }
        write.resumed(pause);
        frame.resumed(pause);
    }

    /// Bytes arrived from the peer.
    pub(super) const fn heard(&mut self) {
        self.heard = self.clock;
        self.pings = 0;
    }

    /// Observes whether the peer has accepted bytes.
    pub(super) fn observe(&mut self, outbound: &Outbound) {
        self.write.observe(self.clock, outbound.taken(), outbound.remaining() as u64);
    }

    /// Observes the bytes ever received, and how many the frame that the peer has begun still lacks.
    pub(super) fn observe_frame(&mut self, received: u64, missing: usize) {
        if !self.frame.is_due() {
            // A frame that begins now has all of its time, however long ago the last one ended.
            self.frame.observe(self.clock, received, 0);
            if missing == 0 {
                return;
            }
        }
        self.frame.observe(self.clock, received, missing as u64);
    }

    /// When the write timeout expires if the peer accepts too few bytes until then.
    pub(super) fn write_deadline(&self, outbound: &Outbound, timeout: u64) -> Option<Timestamp> {
        outbound.has_remaining().then(|| self.write.since().plus_micros(timeout))
    }

    /// When the frame timeout expires if too little of the frame arrives until then.
    pub(super) fn frame_deadline(&self, timeout: u64) -> Option<Timestamp> {
        self.frame.is_due().then(|| self.frame.since().plus_micros(timeout))
    }

    /// Since when the peer has made no progress while it makes the broker hold memory.
    pub(super) fn stalled_since(&self, outbound: &Outbound) -> Option<Timestamp> {
        let write = outbound.has_remaining().then(|| self.write.since());
        let frame = self.frame.is_due().then(|| self.frame.since());
        match (write, frame) {
            (Some(write), Some(frame)) => Some(write.min(frame)),
            (write, frame) => write.or(frame),
        }
    }

    /// When the next heartbeat is due: at a multiple of the interval, and an interval or more after the last ping.
    pub(super) fn heartbeat(&self, every: u64) -> Timestamp {
        let due = self.heard.plus_micros(every.saturating_mul(self.pings.saturating_add(1)));
        if self.pings == 0 { due } else { due.max(self.pinged.plus_micros(every)) }
    }

    /// A heartbeat is due: the nonce of the ping to send, or `None` if the peer missed too many. A peer that is
    /// not read cannot miss any, and neither can one whose silence was not watched: a check that is late by an interval
    /// sends another ping.
    pub(super) fn ping(&mut self, now: Timestamp, every: u64, is_read: bool) -> Option<u64> {
        let is_late = now >= self.heartbeat(every).plus_micros(every);
        let is_silent = self.pings > 0 && now >= self.heard.plus_micros(every.saturating_mul(MISSED));
        if is_read && is_silent && !is_late {
            return None;
        }
        self.pings = self.pings.saturating_add(1);
        self.pinged = self.clock;
        self.nonce = self.nonce.saturating_add(1);
        Some(self.nonce)
    }
}

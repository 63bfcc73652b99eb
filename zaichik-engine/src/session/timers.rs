//! Deadlines of one connection (docs/protocol.md §10).

use bytes::Buf;

use crate::outbound::Outbound;
use zaichik_proto::Timestamp;

/// Heartbeats without a sign of life after which the peer counts as gone.
const MISSED: u64 = 3;

/// When a connection has to have done what.
#[derive(Debug)]
pub(super) struct Timers {
    /// The latest moment told.
    now: Timestamp,
    /// The handshake, in total.
    pub(super) handshake_by: Timestamp,
    /// When the peer was heard last.
    heard: Timestamp,
    /// Pings sent since.
    pings: u64,
    /// Pings ever sent; the nonce of the next one.
    nonce: u64,
    /// Bytes that the peer had taken when it was looked at last.
    taken: u64,
    /// When that number changed last, or when there was nothing to take.
    write_since: Timestamp,
}

impl Timers {
    pub(super) const fn new(now: Timestamp, handshake_by: Timestamp) -> Self {
        Self { now, handshake_by, heard: now, pings: 0, nonce: 0, taken: 0, write_since: now }
    }

    /// Time does not go back: the latest moment told.
    pub(super) fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    /// Bytes came from the peer.
    pub(super) const fn heard(&mut self, now: Timestamp) {
        self.heard = now;
        self.pings = 0;
    }

    /// Looks whether the peer has taken something.
    pub(super) fn observe(&mut self, now: Timestamp, outbound: &Outbound) {
        if !outbound.has_remaining() || outbound.taken() != self.taken {
            self.taken = outbound.taken();
            self.write_since = now;
        }
    }

    /// When the peer will have taken nothing for the whole timeout.
    pub(super) fn write_deadline(&self, outbound: &Outbound, timeout: u64) -> Option<Timestamp> {
        outbound.has_remaining().then(|| self.write_since.plus_micros(timeout))
    }

    /// When the next heartbeat is due.
    pub(super) const fn heartbeat(&self, every: u64) -> Timestamp {
        self.heard.plus_micros(every.saturating_mul(self.pings.saturating_add(1)))
    }

    /// A heartbeat is due: the nonce of the ping to send, or `None` if the peer missed too many. A peer that is
    /// not read can't miss any.
    pub(super) fn ping(&mut self, now: Timestamp, every: u64, is_read: bool) -> Option<u64> {
        if is_read && now >= self.heard.plus_micros(every.saturating_mul(MISSED)) {
            return None;
        }
        self.pings = self.pings.saturating_add(1);
        self.nonce = self.nonce.saturating_add(1);
        Some(self.nonce)
    }
}

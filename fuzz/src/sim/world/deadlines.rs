//! Connections that are closed because a deadline has passed (rules S1, S4, S16): none of them too early.
//!
//! The times of a broker's end are times for which the broker ran, so a pause that is reported does not count.

use bytes::Buf;
use zaichik_client::{Link as ClientLink, LinkError};
use zaichik_engine::{CloseReason, Status};
use zaichik_proto::{FrameHeader, HEADER_LEN};

use super::link::new_frames;
use super::silence::Deadlines;
use super::{Client, Peer, World};
use crate::sim::app::at;
use crate::sim::check::{Broken, Verdict};

/// The kinds of a client's and of a broker's Ping (docs/protocol.md §6.13, §7.13).
const PING: [u8; 2] = [0x0b, 0x4d];

impl World {
    /// The broker's end of a connection handles its deadlines, after it read and wrote what it could; returns whether
    /// one was due.
    pub(super) fn time_out(&mut self, link: u64) -> Result<bool, Broken> {
        let now = self.pauses.running();
        let heartbeat = u64::from(self.plan.limits.heartbeat_millis) * 1_000;
        let config = self.connections.broker.config();
        let handshake = u64::try_from(config.handshake_timeout.as_micros()).unwrap_or(u64::MAX);
        let frame = u64::try_from(config.frame_timeout.as_micros()).unwrap_or(u64::MAX);
        let Some(open) = self.links.get_mut(&link) else { return Ok(false) };
        let Some(connection) = open.session else { return Ok(false) };
        let Some(session) = self.connections.session(connection) else { return Ok(false) };
        open.deadlines.observe(now, session);
        let was_over = session.close_reason().is_some();
        let before = session.outbound().unsent_lengths();
        if !self.connections.time_out(connection) {
            return Ok(false);
        }
        let Some(session) = self.connections.session(connection) else { return Ok(true) };
        let (control, _) = new_frames(before, session.outbound());
        let Deadlines { accepted, silence, sent, read, .. } = &mut open.deadlines;
        if has_ping(&control) {
            silence.pinged = Some(now);
        }
        let (rule, since, least) = match session.close_reason() {
            Some(_) if was_over => return Ok(true),
            Some(CloseReason::HeartbeatMissed) => return silence.check(now, heartbeat).map(|()| true),
            Some(CloseReason::HandshakeTimeout) => ("S1", *accepted, handshake),
            Some(CloseReason::SlowConsumer) => ("S16", *sent, self.plan.limits.write_timeout),
            Some(CloseReason::SlowProducer) => ("S16", *read, frame),
            _ => return Ok(true),
        };
        if now < since + least {
            let reason = session.close_reason();
            return Broken::because(
                rule,
                format!("{reason:?} at {now}, {least} us after {since} at the earliest"),
            );
        }
        Ok(true)
    }

    /// Rule S1: no handshake takes longer than it may, however often the broker was stopped.
    pub(super) fn check_handshake(&mut self, link: u64) -> Verdict {
        let now = self.pauses.running();
        let limit = self.connections.broker.config().handshake_timeout.as_micros();
        let Some(open) = self.links.get(&link) else { return Ok(()) };
        let Some(session) = open.session.and_then(|it| self.connections.session(it)) else { return Ok(()) };
        let took = now.saturating_sub(open.deadlines.accepted);
        // A session's clock may be behind the broker's if clocks move backwards.
        if session.status() == Status::Handshake
            && u128::from(took) >= limit
            && self.plan.faults.clock_back == 0
        {
            return Broken::because("S1", format!("a handshake lasts for {took} us"));
        }
        Ok(())
    }

    /// A client handles its deadlines.
    pub(super) fn time_out_client(&mut self, index: usize) -> Verdict {
        let (now, heartbeat) = (self.now, u64::from(self.plan.limits.heartbeat_millis) * 1_000);
        let Client { peer: Peer::App(app), silence, .. } = &mut self.clients[index] else { return Ok(()) };
        let (before, was_open) = (app.client.outbound().remaining(), is_open(&app.client.link()));
        app.client.handle_timeout(at(now));
        let out = app.client.outbound();
        if has_ping(out.chunk().get(before..).unwrap_or_default()) {
            silence.pinged = Some(now);
        }
        let is_lost = was_open && !is_open(&app.client.link());
        if is_lost && app.client.last_error() == Some(&LinkError::HeartbeatMissed) {
            return silence.check(now, heartbeat);
        }
        Ok(())
    }
}

const fn is_open(link: &ClientLink) -> bool {
    matches!(link, ClientLink::Open | ClientLink::Closing)
}

/// Whether one of these frames is a Ping.
fn has_ping(mut frames: &[u8]) -> bool {
    while let Some(Ok(header)) = frames.first_chunk::<HEADER_LEN>().map(|head| FrameHeader::from_bytes(*head))
    {
        if PING.contains(&header.kind) {
            return true;
        }
        frames = frames.get(HEADER_LEN + header.body_len as usize..).unwrap_or_default();
    }
    false
}

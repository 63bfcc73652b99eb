//! How a connection ends, and the last frame that its peer receives.

use zaichik_proto::{Fatal, Goodbye, GoodbyeReason, ProtocolError, ProtocolFault, ServerFrame};

use super::answers::control;
use super::state::State;
use super::{MICROS_PER_MILLI, Session};
use crate::broker::{Broker, Owes};
use crate::effects::Turn;
use crate::error::CloseReason;
use crate::outbound::LaneKind;
use crate::planted::{Defect, is_planted};
use zaichik_proto::Timestamp;

impl Session {
    /// The broker is stopping: the peer receives a Goodbye, and the connection ends when nothing is outstanding on
    /// either side. Returns whether the next exchange finds out.
    #[cold]
    #[inline(never)]
    pub(super) fn stop(&mut self, now: Timestamp, stops_at: Timestamp, broker: &mut Broker) -> Turn {
        match self.state {
            State::Open => {}
            State::Handshake => {
                self.finish(now, CloseReason::Stopped);
                return Turn::Done;
            }
            State::Welcomed | State::Ending(_) | State::Ended(_) => return Turn::Done,
        }
        if self.stops_at.is_none() {
            self.stops_at = Some(stops_at);
            let grace = stops_at.as_micros().saturating_sub(now.as_micros()) / MICROS_PER_MILLI;
            let grace_millis = u32::try_from(grace).unwrap_or(u32::MAX);
            let goodbye = Goodbye { reason: GoodbyeReason::Draining, grace_millis };
            self.answers.control(&mut self.outbound, ServerFrame::Goodbye(goodbye));
        } else if self.inbound.is_empty() && self.outbound.is_empty() {
            match broker.owes(self.id) {
                // The Goodbye was sent and nothing is outstanding.
                Owes::Nothing => self.state = State::Ending(CloseReason::Stopped),
                Owes::Something => {}
                Owes::Unknown => return Turn::More,
            }
        }
        Turn::Done
    }

    pub(super) fn finish(&mut self, now: Timestamp, reason: CloseReason) {
        if matches!(self.state, State::Ending(_) | State::Ended(_)) {
            return;
        }
        self.timers.observe(&self.outbound);
        self.state = State::Ending(reason);
        self.inbound.close();
        // A peer that does not speak the protocol at all receives no answer.
        let stranger =
            matches!(reason, CloseReason::Protocol(ProtocolError { fault: ProtocolFault::BadMagic, .. }));
        if stranger {
            self.outbound.clear();
            return;
        }
        if reason == CloseReason::Internal && !is_planted(Defect::AnswersOfFailure) {
            // The store has failed, so what waits for it may never be stored: the peer asks again.
            self.outbound.drop_held();
        }
        let text = reason.to_string();
        let last = match (reason, reason.fault_code()) {
            (CloseReason::Requested, _) => {
                ServerFrame::Goodbye(Goodbye { reason: GoodbyeReason::Closed, grace_millis: 0 })
            }
            (_, Some(code)) => {
                let offset = if let CloseReason::Protocol(error) = reason { error.offset } else { 0 };
                ServerFrame::Fatal(Fatal { code, offset, text: &text })
            }
            (_, None) => return,
        };
        self.answers.report(now, &mut self.outbound);
        self.answers.flush(&mut self.outbound);
        if self.owes_stream_answers() {
            // It is the last frame, so it follows the outstanding answers.
            self.outbound.frame(LaneKind::Stream, |out| last.encode(out));
        } else {
            self.outbound.clear_stream();
            control(&mut self.outbound, &last);
        }
    }

    /// Whether answers wait in the stream lane.
    pub(super) const fn owes_stream_answers(&self) -> bool {
        let (_, taken) = self.outbound.stream_progress();
        taken < self.stream_answers_end
    }
}

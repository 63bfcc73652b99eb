//! What leaves of an outbound buffer whose output waits for a store (rule B6).

use super::gate::Gate;
use super::{Filler, Outbound};

impl Outbound {
    /// Counts, besides what the lanes allocate, what the gate does, and what may leave.
    #[cold]
    pub(super) fn count_gated(&mut self) {
        let Some(gate) = &self.gate else { return };
        self.allocated = self.allocated.saturating_add(gate.allocated());
        self.open = gate.open_len();
    }

    /// The first bytes that may leave.
    #[cold]
    pub(super) fn gated_chunk<'a>(&'a self, gate: &'a Gate) -> &'a [u8] {
        let (control, passing, stream) = gate.open();
        let (lane, limit) = if self.stream_partial > 0 {
            (&self.stream, self.stream_partial)
        } else if gate.passing_partial > 0 {
            (&gate.passing, gate.passing_partial)
        } else if control == 0 && passing > 0 {
            (&gate.passing, passing)
        } else if control > 0 {
            (&self.control, control)
        } else {
            (&self.stream, stream)
        };
        let chunk = lane.chunk();
        chunk.get(..limit).unwrap_or(chunk)
    }

    #[cold]
    pub(super) fn fill_gated<'a>(&'a self, gate: &'a Gate, filler: &mut Filler<'_, 'a>) {
        let (control, passing, stream) = gate.open();
        filler.add(self.stream.chunks(0), self.stream_partial);
        filler.add(gate.passing.chunks(0), gate.passing_partial);
        filler.add(self.control.chunks(0), control);
        filler.add(gate.passing.chunks(gate.passing_partial), passing.saturating_sub(gate.passing_partial));
        let rest = stream.saturating_sub(self.stream_partial);
        filler.add(self.stream.chunks(self.stream_partial), rest);
    }

    /// Takes bytes of what may leave.
    #[cold]
    pub(super) fn advance_gated(&mut self, count: usize) {
        let Some((control, passing, _)) = self.gate.as_ref().map(|gate| gate.open()) else { return };
        let mut left = count;
        let mut part = |limit: usize| {
            let part = left.min(limit);
            left = left.saturating_sub(part);
            part
        };
        let partial = part(self.stream_partial);
        if partial > 0 {
            self.stream_partial = self.stream_partial.saturating_sub(partial);
            self.stream.take(partial);
        }
        if passing > 0
            && let Some(gate) = &mut self.gate
        {
            let begun = part(gate.passing_partial);
            gate.passing_partial = gate.passing_partial.saturating_sub(begun);
            gate.passing.take(begun);
        }
        let control = part(control);
        if control > 0 {
            self.control.take(control);
        }
        if passing > 0
            && let Some(gate) = &mut self.gate
        {
            let more = part(gate.passing.len());
            if more > 0 {
                gate.passing_partial = gate.passing.take(more);
            }
        }
        if left > 0 {
            self.stream_partial = self.stream.take(left);
        }
        if let Some(gate) = &mut self.gate {
            gate.took(control, partial.saturating_add(left));
        }
        self.count();
    }
}

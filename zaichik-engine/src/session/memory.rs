//! Memory that a connection makes the broker hold: what its buffers may allocate until the next exchange, and what it
//! waits for (rule S15).

use super::Session;
use super::answers::SHORT_ANSWER;
use super::inbound::Wish;
use super::state::Applied;

impl Session {
    /// Bytes allocated for its buffers, or reserved for them.
    pub(super) fn held(&self) -> usize {
        let output = self.outbound.allocated().saturating_add(self.answers.allocated());
        self.inbound.reserved().saturating_add(output)
    }

    /// Whether that many more bytes may be held.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.held().saturating_add(more) <= self.allowance
    }

    /// Bytes that the output may allocate while records are delivered.
    pub(super) fn delivery_room(&self) -> usize {
        let others = self.held().saturating_sub(self.outbound.allocated());
        self.allowance.saturating_sub(others).saturating_sub(SHORT_ANSWER)
    }

    /// Reserves memory for what may be received before the next exchange. Returns the bytes that all buffers would have
    /// to hold, if that is more than allowed, or 0.
    pub(super) fn reserve_inbound(&mut self, applied: Applied) -> usize {
        let wish = if self.eof || applied == Applied::Paused {
            Wish::Nothing
        } else if self.inbound.is_empty() {
            Wish::More
        } else {
            let len = self.decoder.frame_len(self.inbound.as_slice());
            len.filter(|len| *len > self.inbound.len()).map_or(Wish::More, Wish::Frame)
        };
        // What it keeps for later may be enough for what it lacks.
        let is_scarce = self.is_scarce || self.wants > 0;
        if is_scarce {
            self.outbound.shrink();
            self.answers.shrink();
        }
        for _ in 0..2 {
            let output = self.outbound.allocated().saturating_add(self.answers.allocated());
            // A frame must leave room for its answer.
            let others = output.saturating_add(SHORT_ANSWER);
            match self.inbound.reserve(wish, self.allowance.saturating_sub(others), is_scarce) {
                None => return 0,
                Some(needs) => self.lacks = needs.saturating_add(others),
            }
            self.outbound.shrink();
            self.answers.shrink();
        }
        self.lacks
    }

    /// A request, or records, may have found no room in this exchange: waits for memory, unless spare memory of its own was
    /// enough meanwhile. Returns whether it was.
    pub(super) fn settle_wants(&mut self, for_records: bool) -> bool {
        if self.wants == 0 {
            return false;
        }
        let all = self.held().saturating_add(self.wants);
        let has_room_for_records = || self.outbound.allocated() <= self.delivery_room();
        if all <= self.allowance || (for_records && has_room_for_records()) {
            return true;
        }
        self.lacks = self.lacks.max(all);
        false
    }

    /// Whether it lacks memory that no others could free for it: it is at its own limit, and goes on when its peer has
    /// read.
    pub(super) fn waits_for_peer(&self) -> bool {
        self.lacks > self.config.connection_bytes && !self.outbound.is_empty()
    }
}

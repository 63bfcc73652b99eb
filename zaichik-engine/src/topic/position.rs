//! Where a subscription begins, and where a seek leads (semantics R3, D6).

use zaichik_proto::Start;

use super::{Position, Topic};
use zaichik_proto::Timestamp;

impl Topic {
    /// Where a new subscription begins (R3).
    pub(crate) fn start(&mut self, now: Timestamp, start: Start) -> u64 {
        let at = now.as_micros();
        self.log.expire(at, self.settings.retention_ttl_micros);
        let end = self.log.end();
        let asked = match start {
            Start::Earliest => 0,
            Start::Latest => end,
            Start::Offset(offset) => offset,
            Start::Time(time) => self.log.first_since(time),
        };
        if asked >= end || self.settings.is_live_only() {
            return asked.max(end);
        }
        self.log.first_live(Position::at(asked.max(self.hidden_below)), at).offset.min(end)
    }

    /// Where a subscription that stands at `cursor` goes on after a seek (D6): as if it began there. A live-only
    /// topic still has what it keeps for the subscription, and nothing below its cursor.
    pub(crate) fn seek(&mut self, now: Timestamp, to: Start, cursor: u64) -> u64 {
        if !self.settings.is_live_only() {
            return self.start(now, to);
        }
        let end = self.log.end();
        let asked = match to {
            Start::Earliest => cursor,
            Start::Latest => end,
            Start::Offset(offset) => offset.max(cursor),
            Start::Time(time) => self.log.first_since(time).max(cursor),
        };
        if asked >= end {
            return asked;
        }
        self.log.first_live(Position::at(asked), now.as_micros()).offset.min(end)
    }
}

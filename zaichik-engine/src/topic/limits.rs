//! What commits, times to live and limits remove, and what limits refuse (semantics R1, R2, R5).

use zaichik_proto::{Overflow, Refusal, RefusalCode};

use super::publish::Draft;
use super::{Position, Topic};
use crate::config::TopicSettings;

impl Topic {
    /// Checks that the draft fits, and with `overflow = reject` how much it needs removed and may (R5).
    pub(super) fn check_limits(&mut self, at: u64, draft: &mut Draft) -> Result<(), Refusal> {
        let &mut Draft { count, bytes, .. } = draft;
        // The last offset is never given out, so that "the offset after" always exists.
        if self.log.end().checked_add(count).is_none_or(|end| end == u64::MAX) {
            return Err(Refusal::new(RefusalCode::OffsetsExhausted));
        }
        // A publish never evicts its own records.
        let TopicSettings { max_messages, max_bytes, .. } = self.settings;
        if count > max_messages || bytes > max_bytes {
            let limit = if count > max_messages { max_messages } else { max_bytes };
            return Err(Refusal::with_value(RefusalCode::TooLarge, limit));
        }
        if self.settings.overflow == Overflow::DropOldest || count == 0 {
            return Ok(());
        }
        // What may stay with the draft; from there on everything fits.
        let (messages, all_bytes) = (max_messages.saturating_sub(count), max_bytes.saturating_sub(bytes));
        let keep = self.log.first_within(messages, all_bytes);
        // The first one that is neither dead nor committed by all, if there is anybody to commit.
        let committed = self.cursors.lowest().unwrap_or(0);
        let first = self.log.first();
        if keep > first.offset
            && keep > self.log.first_live(Position::at(first.offset.max(committed)), at).offset
        {
            return Err(Refusal::new(RefusalCode::TopicFull));
        }
        draft.keep_from = keep;
        Ok(())
    }

    pub(super) fn drop_oldest(&mut self, at: u64) {
        if self.is_latest() {
            // The dead do not count: tombstones may die at once, and others under a new window.
            self.log.mark_all_dead(at);
        }
        let first = self.log.first_within(self.settings.max_messages, self.settings.max_bytes);
        if first > self.log.first().offset {
            self.log.raise_first(first);
            self.limit_end = self.limit_end.max(first);
        }
    }

    /// Gives up what is committed, and then what a time to live has ended: some may be behind the committed.
    pub(super) fn age(&mut self, at: u64) {
        self.trim_committed();
        self.log.expire(at, self.settings.retention_ttl_micros);
    }

    /// With `retention_ttl = 0`, what every subscription has committed need not be kept (R2).
    pub(super) fn trim_committed(&mut self) {
        if self.settings.is_live_only() {
            let lowest = self.cursors.lowest().unwrap_or_else(|| self.log.end());
            self.log.raise_first(lowest);
        }
    }
}

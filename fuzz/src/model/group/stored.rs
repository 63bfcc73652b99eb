//! What of a shared subscription survives the end of the broker (rules G14, B7).

use super::Group;

impl Group {
    /// Another broker is restored from what was stored: nothing is in flight, and it has no members.
    pub(crate) fn restored(&mut self, now: u64) {
        self.members.clear();
        self.flights.clear();
        self.blocked.clear();
        self.may_be_back.clear();
        // With keys it is not known which of them delayed records would block.
        let by_key = self.by_key;
        self.back.retain(|_, back| back.until > 0 && !by_key);
        for back in self.back.values_mut() {
            (back.attempts, back.late) = (0, None);
        }
        self.next = self.cursor;
        // Which failures lead to a dead letter depends on the options of the next request to join.
        self.terms.dead_letter = None;
        self.detach_again(now);
    }

    /// The same for another instance, whose topic may end earlier.
    pub(crate) fn become_another(&mut self, end: u64) {
        self.cursor = self.cursor.min(end);
        self.next = self.cursor;
        self.done.retain(|offset| *offset < end);
        self.back.retain(|offset, _| *offset < end);
        self.failures.retain(|offset, _| *offset < end);
    }
}

//! Acknowledgements of shared subscriptions in a batch: all of them are held, or the batch is refused (rule G9).

use zaichik_proto::{List, OffsetRange, Refusal, RefusalCode};

use super::{Batching, Checked};
use crate::broker::publishing::Publishing;
use crate::broker::readers::Readers;
use crate::broker::subscribing::{Subscribing, member_of};
use crate::effects::Effects;
use crate::id::{MemberKey, SessionId, SubKey};

impl Batching<'_> {
    /// Checks that a member holds everything that an operation names, and that no earlier one has named it; raises the
    /// subscription's cursor provisionally.
    pub(super) fn check_ack(
        &mut self,
        session: SessionId,
        number: u32,
        rewind: u32,
        ranges: List<'_, OffsetRange>,
    ) -> Result<(), Refusal> {
        let (member, key) = member_of(self.sessions, self.subscriptions, session, number)?;
        let subscription = &self.subscriptions[key];
        let (id, cursor_id) = (subscription.topic, subscription.cursor_id);
        let not_held = |offset| Refusal::with_value(RefusalCode::NotHeld, offset);
        let is_late = rewind < subscription.rewind();
        if let Some(first) = ranges.iter().next().filter(|_| is_late) {
            return Err(not_held(first.first));
        }
        for range in ranges.iter() {
            if let Some(offset) = self.first_not_held((member, key), range) {
                return Err(not_held(offset));
            }
            self.scratch.acked.insert((key, range.first), range.end());
        }
        // Beginning a plan frees committed records, so it must happen before the cursor is raised, which may be undone.
        self.begin_plan(id, false);
        let cursor = self.cursor_after(key);
        let cursor = self.scratch.raise_cursor(key, cursor);
        self.publishing.topics[id].cursors.set(cursor_id, cursor);
        self.scratch.effects.push(Checked::Ack { key, member });
        Ok(())
    }

    /// The first offset of a range that a member does not hold, or that was named before.
    fn first_not_held(&mut self, (member, key): (MemberKey, SubKey), range: OffsetRange) -> Option<u64> {
        let (mut at, to) = (range.first, range.end());
        let named = self.first_named(key, at, to);
        let one = self.subscriptions.members.get(member)?;
        let shared = self.subscriptions[key].shared.as_ref()?;
        while at < named.unwrap_or(to) {
            self.publishing.topics.spend(1);
            match shared.group.next_ackable(one.id, at, to) {
                Some((from, end)) if from == at => at = end,
                _ => return Some(at),
            }
        }
        named
    }

    /// The first offset at or above `at`, and below `to`, that an earlier operation has named.
    fn first_named(&self, key: SubKey, at: u64, to: u64) -> Option<u64> {
        let below = self.scratch.acked.range((key, 0)..=(key, at)).next_back();
        let next = || self.scratch.acked.range((key, at)..(key, to)).next().map(|((_, first), _)| *first);
        if below.is_some_and(|(_, end)| *end > at) { Some(at) } else { next() }
    }

    /// The cursor of a subscription as if everything that the batch has named so far were acknowledged.
    fn cursor_after(&self, key: SubKey) -> u64 {
        let subscription = &self.subscriptions[key];
        let mut cursor = subscription.cursor();
        let Some(shared) = &subscription.shared else { return cursor };
        loop {
            let named = self.scratch.acked.range(..=(key, cursor)).next_back();
            let named = named.filter(|((of, _), end)| *of == key && **end > cursor).map(|(_, end)| *end);
            match named.or_else(|| shared.group.done_until(cursor)) {
                Some(end) => cursor = end,
                None => return cursor,
            }
        }
    }

    /// Acknowledges what was checked.
    pub(super) fn apply_ack(
        (publishing, sessions, subscriptions): super::Parts<'_, '_>,
        session: SessionId,
        (key, member): (SubKey, MemberKey),
        ranges: List<'_, OffsetRange>,
        effects: &mut Effects,
    ) {
        let Publishing { now, config, topics, memory, readiness, counters, .. } = publishing;
        let readers = Readers { now: *now, topics, subscriptions, memory, readiness };
        let mut subscribing = Subscribing { config, sessions, readers, counters };
        subscribing.ack_checked(session, (key, member), ranges, effects);
    }
}

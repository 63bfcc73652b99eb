//! What a shared subscription hands out next, and what it passes on the way (rules G2, G4, G7, G8).

use super::{Back, Group, Member};
use crate::model::entry::Liveness;
use crate::model::topic::Topic;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Record(u64),
    /// Where missing records begin and end.
    Gap(u64, u64),
    /// Where records begin and end that died silently.
    Silent(u64, u64),
    /// It waits for an earlier record with its key.
    Blocked(u64),
}

impl Group {
    /// What is handed out next: of what came back the lowest offset, and then what is new.
    pub(super) fn next(&self, topic: &Topic, now: u64) -> Option<Next> {
        let ready = self.first_ready();
        let new = (self.next..u64::MAX).find(|offset| !self.is_known(*offset))?;
        let is_too_far = |offset: u64| offset - self.cursor >= self.terms.max_span;
        if ready.is_none() && (self.is_at_span() || is_too_far(new)) {
            return None;
        }
        let offset = ready.unwrap_or(new);
        let (_, liveness) = topic.entry(offset, now)?;
        let is_busy = || ready.is_none() && topic.key_of(offset).is_some_and(|key| self.is_busy(&key, topic));
        Some(match liveness {
            Liveness::Silent => Next::Silent(offset, self.end_of(liveness, offset, topic, now)),
            Liveness::Missing => Next::Gap(offset, self.end_of(liveness, offset, topic, now)),
            Liveness::Live if is_busy() => Next::Blocked(offset),
            Liveness::Live => Next::Record(offset),
        })
    }

    /// Passes what is done or waits for its delay, where nothing was handed out since a restart; also beyond the span, because it was
    /// handed out before.
    pub(super) fn skip_known(&mut self) {
        if self.first_ready().is_none() && !self.is_at_span() {
            while self.is_known(self.next) {
                self.next += 1;
            }
        }
    }

    /// Whether the broker may have passed everything below an offset in the same way, without handing out anything.
    pub(super) fn may_have_skipped_to(&self, offset: u64) -> bool {
        (self.next..offset).all(|one| self.is_known(one) || self.may_be_back.contains(&one))
    }

    /// The broker has passed an offset in the same way before its delay ended, and everything below it.
    pub(super) fn has_skipped(&mut self, offset: u64) {
        let later = self.may_be_back.split_off(&(offset + 1));
        for one in std::mem::replace(&mut self.may_be_back, later) {
            self.put_back(one, Back { attempts: 0, until: 0, late: None });
        }
        self.next = self.next.max(offset + 1);
    }

    fn first_ready(&self) -> Option<u64> {
        self.back.iter().find(|(_, back)| back.until == 0).map(|(offset, _)| *offset)
    }

    /// Rule G4.
    pub(crate) const fn is_at_span(&self) -> bool {
        self.next - self.cursor >= self.terms.max_span
    }

    /// The end of the records like this one, from an offset on, that would be passed with it, also beyond the span.
    fn end_of(&self, like: Liveness, from: u64, topic: &Topic, now: u64) -> u64 {
        let is_like = |offset| topic.entry(offset, now).is_some_and(|(_, is)| is == like);
        let mut to = from;
        while is_like(to) && self.is_alike(from, to) {
            to += 1;
        }
        to
    }

    /// Whether two offsets would be handed out together: both came back, or both are new.
    fn is_alike(&self, one: u64, other: u64) -> bool {
        if self.is_ready(one) { self.is_ready(other) } else { self.is_new(other) }
    }

    /// Whether an offset came back or is new.
    pub(super) fn is_due(&self, offset: u64) -> bool {
        self.is_ready(offset) || self.is_new(offset)
    }

    /// Whether a new offset may have been passed before it died because its key was in work, and is still.
    pub(super) fn may_have_blocked(&self, offset: u64, topic: &Topic) -> bool {
        let is_unknown = self.is_lazy || offset < self.undecided_to;
        is_unknown && self.is_new(offset) && topic.key_of(offset).is_some_and(|key| self.is_busy(&key, topic))
    }

    pub(super) fn is_ready(&self, offset: u64) -> bool {
        self.back.get(&offset).is_some_and(|back| back.until == 0)
    }

    pub(super) fn is_new(&self, offset: u64) -> bool {
        offset >= self.next && !self.is_known(offset)
    }

    /// Whether an offset that was never handed out since a restart is done, or waits for its delay.
    fn is_known(&self, offset: u64) -> bool {
        self.done.contains(&offset) || self.back.contains_key(&offset)
    }

    /// Passes something that is not handed out.
    pub(super) fn pass(&mut self, next: Next, topic: &Topic, superseded: &mut u64) {
        match next {
            Next::Silent(from, to) => {
                *superseded += to - from;
                (from..to).for_each(|offset| self.finish_next(offset, topic));
            }
            Next::Gap(from, to) => (from..to).for_each(|offset| self.finish_next(offset, topic)),
            Next::Blocked(offset) => {
                if let Some(entry) = topic.at(offset) {
                    self.may_be_parked_by(entry.record.len());
                }
                self.blocked.insert(offset);
                self.next = offset + 1;
            }
            Next::Record(_) => unreachable!("it is handed out"),
        }
    }

    pub(super) fn finish_next(&mut self, offset: u64, topic: &Topic) {
        if !self.back.contains_key(&offset) {
            self.next = self.next.max(offset + 1);
        }
        self.finish(offset, topic);
    }

    /// How many records may be handed out, of a topic with this end (rule G2).
    pub(super) fn available(&self, end: u64) -> u64 {
        let left = self.terms.max_span.saturating_sub(self.next - self.cursor);
        let ready = self.back.values().filter(|back| back.until == 0).count();
        end.saturating_sub(self.next).min(left) + ready as u64
    }

    /// Whether a member's window has room for anything at all.
    pub(super) fn has_room(&self, member: &Member) -> bool {
        let (count, bytes) = self.load(member);
        member.window == 0 || count == 0 || count < member.window.into() && bytes < member.window_bytes
    }

    /// Whether it has room for a record of this length.
    pub(super) fn has_room_for(&self, member: &Member, len: u64) -> bool {
        let (count, bytes) = self.load(member);
        let fits = count == 0 || bytes + len <= member.window_bytes;
        member.window == 0 || self.has_room(member) && fits
    }

    /// Members without room for a record of this length, which is next, may have been found to have none.
    pub(super) fn may_be_parked_by(&mut self, len: u64) {
        for index in 0..self.members.len() {
            let one = &self.members[index];
            let is_too_large = self.has_room(one) && !self.has_room_for(one, len);
            self.members[index].may_be_parked |= is_too_large;
        }
    }

    /// The records that a member holds, and their bytes.
    fn load(&self, member: &Member) -> (u64, u64) {
        let held = self.flights.values().filter(|one| one.member == member.id);
        held.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.len))
    }
}

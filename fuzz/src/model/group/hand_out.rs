//! Compares the observed hand-outs of a shared subscription with what is due.

use std::borrow::Cow;
use std::rc::Rc;

use super::passing::Next;
use super::{Flight, Group, Member};
use crate::broken::{Broken, Verdict};
use crate::model::entry::Liveness;
use crate::model::topic::Topic;
use crate::model::words::Event;

/// The largest run (rule G2).
const MAX_RUN: u64 = 64;

impl Group {
    /// Rule G2: a member receives this many records at once. Members that may have been found to have no room for a record do not
    /// count for certain.
    pub(crate) fn check_run(&self, records: u64, topic: &Topic, now: u64) -> Verdict {
        let largest = topic.largest();
        let has_room = |one: &&Member| self.has_room_for(one, largest) && !one.may_be_parked;
        let roomy = self.members.iter().filter(has_room).count() as u64;
        // What died silently in front of the run has made room within the span.
        let mut after = Cow::Borrowed(self);
        while let Some(Next::Silent(at, _) | Next::Gap(at, _)) = after.next(topic, now) {
            if !topic.may_be_silent(at, now) {
                break;
            }
            after.to_mut().pass(Next::Silent(at, at + 1), topic, &mut 0);
        }
        let available = after.available(topic.end()) + self.may_be_back.len() as u64;
        let most = (available / roomy.max(1)).clamp(1, MAX_RUN);
        if records > most {
            let text = format!("a run of {records}, of {available} that wait, for {roomy} with room");
            return Broken::because("G2", text);
        }
        Ok(())
    }

    /// A member received a record or a Gap.
    pub(crate) fn follow(
        &mut self,
        member: usize,
        seen: &Event,
        topic: &Topic,
        now: u64,
        superseded: &mut u64,
    ) -> Verdict {
        loop {
            let next = self.next(topic, now);
            match next {
                // The span does not hold it back if it was passed.
                None if self.may_be_back.contains(&seen.offset()) => self.has_skipped(seen.offset()),
                Some(Next::Silent(at, _) | Next::Gap(at, _)) if is_gap_at(at, seen, topic, now) => {
                    return self.follow_gap(member, seen, topic, now);
                }
                // It may have been passed as blocked before it died, and its key has been in work since then.
                Some(next @ (Next::Gap(at, _) | Next::Silent(at, _))) if self.may_have_blocked(at, topic) => {
                    self.pass(Next::Blocked(at), topic, superseded);
                    self.either.extend(matches!(next, Next::Silent(..)).then_some(at));
                }
                Some(next @ (Next::Silent(..) | Next::Blocked(_))) => self.pass(next, topic, superseded),
                // Or it was passed when it had died silently, before a limit removed it.
                Some(Next::Gap(at, _)) if self.may_have_been_silent(at, topic, now) => {
                    self.pass(Next::Silent(at, at + 1), topic, superseded);
                }
                Some(Next::Record(offset)) if seen.offset() == offset => {
                    return self.follow_record(member, seen, topic, now);
                }
                _ => {
                    let held = self.flights.get(&seen.offset());
                    let text = format!("{seen:?} at {now}, expected {next:?}; it is held: {held:?}");
                    return Broken::because("G2", text);
                }
            }
        }
    }

    /// Whether a missing offset may have been passed when it had died silently.
    fn may_have_been_silent(&self, at: u64, topic: &Topic, now: u64) -> bool {
        topic.is_unsure(at, now) || self.is_lazy && topic.may_be_silent(at, now)
    }

    /// Rules G8, R9: a Gap covers exactly what is missing, and has the right reason.
    fn follow_gap(&mut self, member: usize, seen: &Event, topic: &Topic, now: u64) -> Verdict {
        let Event::Gap { rewind, from, to, limit } = *seen else { return Ok(()) };
        let liveness = |offset| topic.entry(offset, now).map(|(_, is)| is);
        let may_skip = |offset| liveness(offset) == Some(Liveness::Silent) || topic.is_unsure(offset, now);
        let is_missing = |offset| liveness(offset) == Some(Liveness::Missing);
        let before = self.clone();
        let mut is_gone = from < to;
        for offset in from..to {
            // What waited for the key of one before it is next when that one is done.
            is_gone &= self.is_due(offset) && (is_missing(offset) || may_skip(offset));
            if !is_gone {
                break;
            }
            self.finish_next(offset, topic);
        }
        let is_alike = if before.is_ready(from) { self.is_ready(to) } else { self.is_new(to) };
        let may_differ = [from, to].iter().any(|offset| before.may_be_back.contains(offset));
        // With keys, the broker may have passed what follows as blocked.
        let ends_early = is_missing(to) && is_alike && !may_differ && !may_skip(to) && !self.by_key;
        let has_room = before.has_room(&before.members[member]);
        let is_right = rewind == self.rewind && is_gone && !ends_early && has_room;
        if !is_right || !topic.allows_reason(from, limit, now) {
            let expected = before.next(topic, now);
            return Broken::because("G8", format!("{seen:?} at {now}, expected {expected:?}"));
        }
        Ok(())
    }

    fn follow_record(&mut self, member: usize, seen: &Event, topic: &Topic, now: u64) -> Verdict {
        let offset = seen.offset();
        let (entry, _) = topic.entry(offset, now).expect("it is next");
        let back = self.back.get(&offset);
        let (rewind, attempt) = (self.rewind, back.map_or(0, |back| back.attempts) + 1);
        let (timestamp, record) = (entry.timestamp, Rc::clone(&entry.record));
        let len = record.len();
        let expected = Event::Record { rewind, attempt, offset, timestamp, record };
        if *seen != expected {
            return Broken::because("G10", format!("{seen:?} at {now}, expected {expected:?}"));
        }
        let id = self.members[member].id;
        if !self.has_room_for(&self.members[member], len) {
            let held = self.held(id);
            let text =
                format!("{seen:?}, and member {:?} has no room, it holds {held:?}", self.members[member]);
            return Broken::because("G2", text);
        }
        self.may_be_parked_by(len);
        self.may_be_back.remove(&offset);
        if self.back.remove(&offset).is_none() {
            self.next = offset + 1;
        }
        let due = now.saturating_add(self.terms.ack_deadline);
        self.flights.insert(offset, Flight { member: id, attempt, len, handed: now, due });
        let one = &mut self.members[member];
        one.last = one.last.max(Some(offset));
        one.quiet_since = one.quiet_since.min(now);
        if one.window == 0 {
            one.quiet_since = u64::MAX;
            self.finish(offset, topic);
        }
        Ok(())
    }

    /// Everything that is due was handed out: passes what is not handed out, and returns what is missing.
    pub(crate) fn check_drained(&mut self, topic: &Topic, now: u64, superseded: &mut u64) -> Verdict {
        loop {
            if self.members.iter().any(|one| self.has_room(one) && !one.may_be_parked) {
                self.skip_known();
            }
            let Some(next) = self.next(topic, now) else { return Ok(()) };
            // One that waits for its key is found only by a member that has room for it.
            let len = match next {
                Next::Record(offset) | Next::Blocked(offset) => {
                    topic.entry(offset, now).map(|(entry, _)| entry.record.len())
                }
                Next::Gap(..) | Next::Silent(..) => None,
            };
            let with_room: Vec<usize> = (0..self.members.len())
                .filter(|index| self.has_room(&self.members[*index]) && !self.members[*index].may_be_parked)
                .collect();
            let fits = |index: &usize| len.is_none_or(|len| self.has_room_for(&self.members[*index], len));
            let receiver = with_room.iter().find(|index| fits(index)).copied();
            match (receiver, next) {
                (Some(_), Next::Silent(..) | Next::Blocked(_)) => self.pass(next, topic, superseded),
                (Some(_), Next::Gap(at, _)) if self.may_have_blocked(at, topic) => {
                    self.pass(Next::Blocked(at), topic, superseded);
                }
                (Some(_), Next::Gap(at, _)) if self.may_have_been_silent(at, topic, now) => {
                    self.pass(Next::Silent(at, at + 1), topic, superseded);
                }
                (Some(member), Next::Record(_) | Next::Gap(..)) => {
                    let text = format!("{next:?} is due at {now} for {:?}", self.members[member]);
                    return Broken::because("I5", text);
                }
                (None, _) => {
                    for index in with_room {
                        self.members[index].may_be_parked = true;
                    }
                    if self.is_undecided() {
                        self.undecided_to = topic.end();
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Whether it is not known if a member waits for room.
    pub(crate) fn is_undecided(&self) -> bool {
        self.members.iter().any(|one| one.may_be_parked && self.has_room(one))
    }

    /// Passes something that may have been passed, and that [`check_drained`](Self::check_drained) has not passed; returns
    /// whether there was something.
    pub(crate) fn pass_undecided(&mut self, topic: &Topic, now: u64, superseded: &mut u64) -> bool {
        if let Some(at) = self.either.pop() {
            if self.blocked.contains(&at) {
                self.pass(Next::Silent(at, at + 1), topic, superseded);
            }
            return true;
        }
        if !self.is_undecided() {
            return false;
        }
        match self.next(topic, now) {
            Some(next @ (Next::Silent(..) | Next::Blocked(_))) => {
                self.pass(next, topic, superseded);
                true
            }
            _ => false,
        }
    }

    /// The count of superseded records is known: what may have been one is none.
    pub(crate) fn has_counted(&mut self) {
        self.either.clear();
    }

    /// An answer shows that the cursor is here: what is between died silently, and was passed.
    pub(crate) fn has_passed(&mut self, to: u64, topic: &Topic, now: u64, superseded: &mut u64) {
        while self.cursor < to && self.may_have_passed(topic, now) {
            *superseded += 1;
            self.finish_next(self.cursor, topic);
        }
    }

    /// Whether the broker may have passed the offset at the cursor, because it died silently.
    pub(crate) fn may_have_passed(&self, topic: &Topic, now: u64) -> bool {
        let at = self.cursor;
        let is_held = self.flights.contains_key(&at) || self.back.get(&at).is_some_and(|back| back.until > 0);
        !is_held && topic.may_be_silent(at, now)
    }

    /// A record that came back is known to have been passed, if it died silently.
    pub(crate) fn has_died(&mut self, offset: u64, topic: &Topic, now: u64, superseded: &mut u64) {
        let is_ready = self.back.get(&offset).is_some_and(|back| back.until == 0);
        if is_ready && topic.may_be_silent(offset, now) {
            self.pass(Next::Silent(offset, offset + 1), topic, superseded);
        }
    }

    /// What is due next to the first member that has room for it.
    #[cfg(test)]
    pub(crate) fn due(&mut self, topic: &Topic, now: u64) -> Option<(usize, Event)> {
        loop {
            let next = self.next(topic, now)?;
            let rewind = self.rewind;
            let (event, len) = match next {
                Next::Silent(..) | Next::Blocked(_) => {
                    self.pass(next, topic, &mut 0);
                    continue;
                }
                Next::Gap(from, to) => (Event::Gap { rewind, from, to, limit: from < topic.limit_end }, 0),
                Next::Record(offset) => {
                    let (entry, _) = topic.entry(offset, now)?;
                    let attempt = self.back.get(&offset).map_or(0, |back| back.attempts) + 1;
                    let (timestamp, record) = (entry.timestamp, Rc::clone(&entry.record));
                    let len = record.len();
                    (Event::Record { rewind, attempt, offset, timestamp, record }, len)
                }
            };
            let member = self.members.iter().position(|one| self.has_room_for(one, len))?;
            return Some((member, event));
        }
    }

    /// What is due to members, or not done, at the end.
    pub(crate) fn unfinished(&self, topic: &Topic, now: u64) -> Vec<String> {
        let mut after = self.clone();
        let broken = after.check_drained(topic, now, &mut 0).err();
        let held = (!self.flights.is_empty()).then(|| format!("in flight: {:?}", self.flights));
        let back = (!after.back.is_empty()).then(|| format!("back: {:?}", after.back));
        broken.map(|broken| broken.text).into_iter().chain(held).chain(back).collect()
    }
}

/// Whether this is a Gap that begins here, where one may be.
fn is_gap_at(at: u64, seen: &Event, topic: &Topic, now: u64) -> bool {
    let is_missing = topic.entry(at, now).is_some_and(|(_, is)| is == Liveness::Missing);
    matches!(seen, Event::Gap { from, .. } if *from == at) && (is_missing || topic.is_unsure(at, now))
}

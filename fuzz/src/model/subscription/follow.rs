//! Compares the observed events of one subscription with the due ones.

use super::Subscription;
use crate::broken::{Broken, Verdict};
use crate::model::entry::Liveness;
use crate::model::topic::Topic;
use crate::model::words::Event;

/// Maximum number of offsets that one event may skip.
const MAX_SKIPPED: u64 = 1_000_000;

impl Subscription {
    /// Follows an observed record or Gap; returns the number of silent offsets before it.
    pub(crate) fn follow(&mut self, seen: &Event, topic: &Topic, now: u64) -> Result<u64, Broken> {
        match self.pause {
            Some(pause) if pause.until > now && !pause.is_certain => self.pause = None,
            Some(pause) if pause.until > now => {
                return Broken::because("A4", format!("{seen:?} at {now}, paused until {}", pause.until));
            }
            None if !self.ready => return Broken::because("A1", format!("{seen:?}, and nothing is due")),
            Some(_) | None => {}
        }
        self.may_be_stopped = false;
        let (to, mut skipped) = (seen.offset(), 0);
        if to < self.next || to - self.next > MAX_SKIPPED {
            return Broken::because("I1", format!("{seen:?} follows offset {}", self.next));
        }
        while self.next < to {
            if !self.may_skip(self.next, topic, now) {
                let text = format!("offset {} is missing without a Gap before {seen:?}", self.next);
                return Broken::because("I2", text);
            }
            self.next += 1;
            skipped += 1;
            self.pass_done();
        }
        self.forget_done();
        if let Event::Gap { .. } = seen {
            return self.follow_gap(seen, topic, now).map(|()| skipped);
        }
        let expected = self.next_event(topic, now, &mut skipped);
        if expected.as_ref() == Some(seen) {
            return Ok(skipped);
        }
        let rule = match (&expected, seen) {
            (Some(Event::Record { offset, .. }), _) if *offset != to => "C6",
            (Some(Event::Record { rewind, .. }), Event::Record { rewind: seen, .. }) if rewind != seen => {
                "A4"
            }
            (Some(Event::Record { attempt, .. }), Event::Record { attempt: seen, .. }) if attempt != seen => {
                "A5"
            }
            (Some(Event::Gap { .. }), _) => "I9",
            (None, _) if to < topic.end() => "I12",
            (None, _) => "I3",
            _ => "I1",
        };
        Broken::because(rule, format!("{seen:?} at {now}, expected {expected:?}"))
    }

    /// Rules R4, R9: a Gap covers exactly what is missing, and has the right reason.
    fn follow_gap(&mut self, seen: &Event, topic: &Topic, now: u64) -> Verdict {
        let Event::Gap { rewind, from, to, limit } = *seen else { return Ok(()) };
        let is_missing = |offset| topic.entry(offset, now).is_some_and(|(_, is)| is == Liveness::Missing);
        let is_next = (rewind, from) == (self.rewind, self.next) && self.has_room();
        let is_whole = from < to && (!is_missing(to) || self.may_skip(to, topic, now));
        let is_gone = (from..to).all(|offset| is_missing(offset) || self.may_skip(offset, topic, now));
        if !is_next || !is_whole || !is_gone || !topic.allows_reason(from, limit, now) {
            let expected = self.next_event(topic, now, &mut 0);
            return Broken::because("R9", format!("{seen:?} at {now}, expected {expected:?}"));
        }
        self.next = to;
        self.pass_done();
        self.forget_done();
        Ok(())
    }

    /// Checks that nothing more is due; returns the number of silent offsets at the end.
    pub(crate) fn check_drained(&mut self, topic: &Topic, now: u64) -> Result<u64, Broken> {
        let (begun, mut skipped) = (self.clone(), 0);
        loop {
            let before = self.clone();
            match self.next_event(topic, now, &mut skipped) {
                // What stopped it may have died silently since, and then it was not looked at again.
                None if begun.may_be_stopped && skipped > 0 => {
                    let skipped_below = begun.skipped_below.max(self.next);
                    *self = Self { skipped_below, ..begun };
                    return Ok(0);
                }
                None => return Ok(skipped),
                Some(Event::Gap { from, to, .. }) if (from..to).all(|at| before.may_skip(at, topic, now)) => {
                    skipped += to - from;
                }
                // It became due because of a limit or of time, or behind what did.
                Some(_) if before.may_be_stopped => {
                    *self = Self { ready: false, waiting: false, ..before };
                    return Ok(0);
                }
                Some(event) => {
                    return Broken::because("I5", format!("{event:?} is due and was not delivered at {now}"));
                }
            }
        }
    }

    /// Notes which silent offsets the broker may have skipped, and whether it may have found that the window is full. At
    /// the end of the topic nothing becomes due without a publish, which wakes it.
    pub(crate) fn may_have_skipped(&mut self, topic: &Topic, now: u64) {
        let mut after = self.clone();
        let event = after.next_event(topic, now, &mut 0);
        let to = event.as_ref().map_or(after.next, Event::offset);
        self.skipped_below = self.skipped_below.max(to);
        self.may_be_stopped |= event.is_none() && !after.waiting;
    }

    /// It is known to have skipped the silent offsets below `to`; returns their number.
    pub(crate) fn has_skipped(&mut self, to: u64) -> u64 {
        let (from, to) = (self.next, to.min(self.skipped_below));
        if to <= from {
            return 0;
        }
        self.next = to;
        self.forget_done();
        to - from
    }

    /// Whether an offset may be skipped without a Gap.
    fn may_skip(&self, offset: u64, topic: &Topic, now: u64) -> bool {
        let is_silent = topic.entry(offset, now).is_some_and(|(_, is)| is == Liveness::Silent);
        is_silent || offset < self.skipped_below || topic.is_unsure(offset, now)
    }
}

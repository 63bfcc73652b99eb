//! One subscription as the frames tell it: what was delivered, what is committed, what may come next.

use std::collections::{BTreeMap, BTreeSet};

use zaichik_proto::{Delivery, Gap};

use super::log::{Topic, content};
use super::{Broken, DEAD, Verdict};

#[derive(Debug, Clone, Default)]
pub(crate) struct Sub {
    pub(crate) topic: Vec<u8>,
    pub(crate) window: u32,
    pub(crate) window_bytes: u64,
    pub(crate) durable: Option<String>,
    pub(crate) dead_letter: Option<(u32, Vec<u8>)>,
    pub(crate) rewind: u32,
    pub(crate) epoch: u32,
    /// The first offset not delivered; `None` after a seek, until something tells.
    pub(crate) next: Option<u64>,
    /// The first offset not committed.
    pub(crate) cursor: Option<u64>,
    /// Delivered and not committed, with the bytes of each.
    pub(crate) out: BTreeMap<u64, u64>,
    pub(crate) attempts: BTreeMap<u64, u32>,
    pub(crate) failures: BTreeMap<u64, u32>,
    /// Failed so often that the dead-letter topic may have them, and whether that is the one which is read at the end.
    pub(crate) maybe_dead: BTreeMap<u64, bool>,
    /// When each of those failed for the last time.
    pub(crate) died: BTreeMap<u64, u64>,
    /// Those that were delivered again since this was asked last: no copy may be there.
    pub(crate) stayed: Vec<(u64, u64)>,
    /// Skipped because the dead-letter topic has them: a copy must be there.
    pub(crate) surely_dead: BTreeSet<u64>,
    /// A quiet commit may or may not have taken effect.
    pub(crate) is_vague: bool,
    /// Nothing is delivered before.
    pub(crate) paused_until: u64,
    /// After a seek the broker may have forgotten how often it delivered what.
    pub(crate) counts_anew: bool,
    /// Gaps told at or above the cursor.
    pub(crate) gaps: BTreeMap<u64, u64>,
    /// Offsets left out since this was asked last.
    pub(crate) left_out: Vec<u64>,
    /// Copies that the dead-letter topic may have got since this was asked last.
    pub(crate) copies: u64,
}

impl Sub {
    /// I2, I4, I9, I12, A5: a delivery fits what was delivered before.
    pub(crate) fn delivered(&mut self, delivery: &Delivery<'_>, topic: &mut Topic, now: u64) -> Verdict {
        let first = delivery.first_offset;
        self.turn(delivery.rewind)?;
        self.jump_to(first, topic, "delivery")?;
        if now < self.paused_until {
            return Broken::because("A4", format!("delivered at {now}, paused until {}", self.paused_until));
        }
        if self.cursor.is_some_and(|cursor| first < cursor) {
            return Broken::because("I4", format!("offset {first} is below the cursor {:?}", self.cursor));
        }
        for (offset, record) in (first..).zip(delivery.records.iter()) {
            match topic.records.get(&offset) {
                Some(known) => {
                    if known.content != content(&record) {
                        return Broken::because(
                            "I1",
                            format!("offset {offset} has other bytes than it was published with"),
                        );
                    }
                    if known.at != record.timestamp() {
                        return Broken::because(
                            "O5",
                            format!("offset {offset}: {} is told, {} expected", record.timestamp(), known.at),
                        );
                    }
                }
                None if topic.candidates.contains(&content(&record)) || super::is_copy(&record) => {
                    topic.insert(offset, &record, record.timestamp());
                }
                None => return Broken::because("I3", format!("offset {offset} was published by nobody")),
            }
            let known = topic.records[&offset];
            if topic.is_expired(&known, now) {
                return Broken::because(
                    "I9",
                    format!("offset {offset} of {} was delivered at {now}", known.at),
                );
            }
            let before = if self.counts_anew { delivery.attempt.saturating_sub(1) } else { 0 };
            let attempts = self.attempts.entry(offset).or_insert(before);
            *attempts += 1;
            if *attempts != delivery.attempt {
                return Broken::because(
                    "A5",
                    format!("offset {offset}: attempt {} is told, {attempts} counted", delivery.attempt),
                );
            }
            if self.window > 0 {
                self.out.insert(offset, record.as_bytes().len() as u64);
            }
            if self.maybe_dead.remove(&offset).is_some()
                && let Some(at) = self.died.remove(&offset)
            {
                self.stayed.push((offset, at));
            }
        }
        self.next = Some(first + u64::from(delivery.records.len()));
        if self.window == 0 {
            self.cursor = self.next;
            self.forget();
        }
        self.check_window()
    }

    /// R4, R9: a gap fits what was delivered before, and nothing in it could have been delivered.
    pub(crate) fn gap(&mut self, gap: &Gap, topic: &Topic, now: u64) -> Verdict {
        self.turn(gap.rewind)?;
        self.jump_to(gap.from, topic, "gap")?;
        if gap.to <= gap.from || gap.to > topic.end + topic.loose {
            return Broken::because(
                "R9",
                format!("a gap from {} to {}, the end is {}", gap.from, gap.to, topic.end),
            );
        }
        for (offset, _) in topic.records.range(gap.from..gap.to) {
            if topic.is_surely_live(*offset, now) {
                return Broken::because(
                    "R9",
                    format!("offset {offset} is live and was told as a gap at {now}"),
                );
            }
        }
        self.next = Some(gap.to);
        self.gaps.insert(gap.from, gap.to);
        self.follow_gaps();
        Ok(())
    }

    /// A2, A3: the answer to a commit.
    pub(crate) fn committed(&mut self, offset: u64, told: Option<u64>, topic: &Topic) -> Verdict {
        if self.window == 0 {
            return Broken::because("A1", "a commit with window 0 was accepted".into());
        }
        if let Some(next) = self.next.filter(|_| !self.is_vague)
            && offset >= next
            && !(next..=offset).all(|offset| self.may_skip(offset, topic))
        {
            return Broken::because("A3", format!("committed {offset}, delivered up to {next}"));
        }
        if self.cursor.is_none_or(|cursor| offset >= cursor) {
            self.out = self.out.split_off(&(offset + 1));
            let expected = self.out.first_key_value().map(|(offset, _)| *offset).or(self.next);
            self.cursor = expected.or(told);
        }
        if let (Some(told), Some(cursor)) = (told, self.cursor)
            && told != cursor
            && !self.is_vague
        {
            let skipped = cursor < told && (cursor..told).all(|offset| self.may_pass(offset, topic));
            if !skipped {
                return Broken::because(
                    "A2",
                    format!("after a commit of {offset} the cursor is told as {told}, not {cursor}"),
                );
            }
            self.pass(cursor, told, Some(topic));
            self.cursor = Some(told);
            self.next = self.next.max(Some(told));
        }
        self.forget();
        Ok(())
    }

    /// Offsets were left out of which a dead-letter topic may have copies: it must have them.
    pub(crate) fn pass(&mut self, from: u64, to: u64, topic: Option<&Topic>) {
        for offset in from..to {
            // What is superseded is not copied.
            if topic.is_some_and(|topic| topic.may_be_silent(offset)) {
                continue;
            }
            if let Some(is_read) = self.maybe_dead.remove(&offset) {
                self.surely_dead.insert(offset);
                self.left_out.extend(is_read.then_some(offset));
            }
        }
    }

    /// A3: a commit was refused as ahead.
    pub(crate) fn refused_as_ahead(&self, offset: u64, rule: &'static str) -> Verdict {
        match self.next.filter(|_| !self.is_vague) {
            Some(next) if offset < next => {
                Broken::because(rule, format!("{offset} was refused as ahead, delivered up to {next}"))
            }
            _ => Ok(()),
        }
    }

    /// A4: the answer to a nack.
    pub(crate) fn nacked(&mut self, offset: u64, rewind: u64, until: u64, now: u64) -> Verdict {
        // Where the cursor is not known, the answer tells whether there was an effect.
        let is_below = match self.cursor {
            // A cursor moves by itself past what was superseded and never delivered, if nothing before it is uncommitted.
            Some(cursor) => {
                let unchanged = rewind == u64::from(self.rewind);
                offset < cursor || unchanged && self.out.range(cursor..=offset).next().is_none()
            }
            None => rewind == u64::from(self.rewind),
        };
        let expected = u64::from(self.rewind) + u64::from(!is_below);
        if self.is_vague || self.cursor.is_none() {
            self.rewind = u32::try_from(rewind).unwrap_or(0);
        } else if rewind != expected {
            return Broken::because(
                "A4",
                format!("rewind is told as {rewind} after a nack of {offset}, not {expected}"),
            );
        }
        if is_below {
            return Ok(());
        }
        if self.next.is_some_and(|next| offset >= next) && !self.is_vague {
            return Broken::because("A4", format!("nacked {offset}, delivered up to {:?}", self.next));
        }
        self.rewind = u32::try_from(rewind).unwrap_or(0);
        if self.out.contains_key(&offset) {
            self.failed(offset, now);
        }
        self.paused_until = until;
        self.go_back(offset);
        Ok(())
    }

    /// D6: the answer to a seek, or news of one by somebody else.
    pub(crate) fn sought(&mut self) {
        self.rewind += 1;
        (self.next, self.cursor, self.paused_until) = (None, None, 0);
        self.out.clear();
        self.failures.clear();
        self.maybe_dead.clear();
        self.died.clear();
        self.gaps.clear();
        self.surely_dead.clear();
        self.attempts.clear();
        self.counts_anew = true;
        self.is_vague = false;
    }

    /// D2: nobody has it any more.
    pub(crate) fn detached(&mut self, is_failure: bool, now: u64) {
        if is_failure && self.out.len() == 1 {
            let only = self.out.first_key_value().map_or(0, |(offset, _)| *offset);
            self.failed(only, now);
        } else if is_failure && self.is_vague && self.dead_letter.is_some() {
            // A commit that came with the end may have left one record alone.
            self.copies += 1;
        }
        self.paused_until = 0;
        if let Some(cursor) = self.cursor {
            self.go_back(cursor);
        } else {
            self.next = None;
            self.out.clear();
        }
    }

    /// Whether an offset may be left out without a word.
    pub(crate) fn may_skip(&self, offset: u64, topic: &Topic) -> bool {
        self.maybe_dead.contains_key(&offset)
            || self.surely_dead.contains(&offset)
            || topic.may_be_silent(offset)
    }

    /// Whether the cursor may pass an offset that was not committed.
    pub(crate) fn may_pass(&self, offset: u64, topic: &Topic) -> bool {
        let is_told = self.gaps.range(..=offset).next_back().is_some_and(|(_, to)| offset < *to);
        is_told || self.may_skip(offset, topic)
    }

    fn failed(&mut self, offset: u64, now: u64) {
        let Some((most, topic)) = &self.dead_letter else {
            return;
        };
        let is_read = topic == DEAD;
        let failures = self.failures.entry(offset).or_insert(0);
        *failures += 1;
        if *failures >= *most {
            self.maybe_dead.insert(offset, is_read);
            self.died.insert(offset, now);
            self.copies += 1;
        }
    }

    fn go_back(&mut self, offset: u64) {
        self.out.split_off(&offset);
        self.next = Some(offset);
    }

    /// Deliveries carry the number of rewinds.
    fn turn(&mut self, rewind: u32) -> Verdict {
        if rewind != self.rewind {
            return Broken::because("A4", format!("a delivery has rewind {rewind}, not {}", self.rewind));
        }
        Ok(())
    }

    fn jump_to(&mut self, to: u64, topic: &Topic, what: &str) -> Verdict {
        let Some(next) = self.next else {
            // After a seek: what comes first tells where.
            (self.next, self.cursor) = (Some(to), Some(to));
            return Ok(());
        };
        if to < next {
            return Broken::because("I1", format!("a {what} goes back to {to}, behind {next}"));
        }
        if to - next > 1_000_000 {
            return Broken::because("I2", format!("a {what} jumps from {next} to {to}"));
        }
        for offset in next..to {
            if !self.may_skip(offset, topic) {
                return Broken::because(
                    "I2",
                    format!("offset {offset} is missing without a gap: {what} at {to}"),
                );
            }
        }
        self.pass(next, to, Some(topic));
        self.next = Some(to);
        self.follow_gaps();
        Ok(())
    }

    /// With nothing uncommitted the cursor moves past what is not there.
    fn follow_gaps(&mut self) {
        if self.out.is_empty() && self.cursor <= self.next {
            self.cursor = self.next;
            self.forget();
        }
    }

    fn check_window(&self) -> Verdict {
        if self.window == 0 || self.is_vague {
            return Ok(());
        }
        let bytes: u64 = self.out.values().sum();
        if self.out.len() > self.window as usize || (self.out.len() > 1 && bytes > self.window_bytes) {
            let text = format!(
                "{} records, {bytes} bytes uncommitted; the window is {}, {} bytes",
                self.out.len(),
                self.window,
                self.window_bytes
            );
            return Broken::because("I12", text);
        }
        Ok(())
    }

    fn forget(&mut self) {
        if let Some(cursor) = self.cursor {
            self.attempts = self.attempts.split_off(&cursor);
            self.failures = self.failures.split_off(&cursor);
            self.maybe_dead = self.maybe_dead.split_off(&cursor);
            self.died = self.died.split_off(&cursor);
            self.gaps.retain(|_, to| *to > cursor);
        }
    }
}

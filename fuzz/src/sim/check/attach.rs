//! Who has which subscription: its begin, its end, and what outlives connections.

use bytes::BytesMut;
use zaichik_proto::{ClientFrame, Refusal, RefusalCode, Start, Subscribe, Subscribed};

use super::log::Topic;
use super::sub::Sub;
use super::{Attached, Broken, Checker, Durable, Tap, Verdict};

impl Checker {
    pub(super) fn subscribed(
        &mut self,
        tap: &mut Tap,
        link: u64,
        request: &Subscribe<'_>,
        told: &Subscribed,
        now: u64,
    ) -> Verdict {
        let number = request.subscription;
        tap.fenced.remove(&number);
        if told.created {
            self.topics.remove(request.topic);
        }
        let (defaults, first) = (self.defaults, self.first_offset);
        let topic = self.topics.entry(request.topic.to_vec()).or_insert_with(|| Topic::new(defaults, first));
        if !topic.end_is(told.end) {
            return Broken::because(
                "O1",
                format!("the end is told as {}, it is {} and {} loose", told.end, topic.end, topic.loose),
            );
        }
        let window_bytes = match request.window_bytes {
            0 => self.limits.max_window_bytes,
            bytes => bytes.min(self.limits.max_window_bytes),
        };
        let dead_letter = (!request.dead_letter.is_empty() && request.max_attempts > 0)
            .then(|| (request.max_attempts, request.dead_letter.to_vec()));
        if let Some((_, name)) = &dead_letter {
            let settings =
                super::Settings { ttl: u64::MAX, rejects: true, is_latest: false, window: 0, ..defaults };
            let dead = self.topics.entry(name.clone()).or_insert_with(|| Topic::new(settings, first));
            dead.is_explicit = true;
        }
        let terms = Sub {
            topic: request.topic.to_vec(),
            window: request.window,
            window_bytes: u64::from(window_bytes),
            durable: request.durable.map(|durable| durable.name.to_owned()),
            dead_letter,
            epoch: told.epoch,
            next: Some(told.start),
            cursor: Some(told.start),
            ..Sub::default()
        };
        let Some(durable) = &request.durable else {
            self.check_start(request, told, now)?;
            let key = self.next_own;
            self.next_own += 1;
            self.own.insert(key, terms);
            tap.subs.insert(number, Attached::Own(key));
            return if told.rewind == 0 {
                Ok(())
            } else {
                Broken::because("A4", format!("{told:?} begins with a rewind"))
            };
        };
        let key = (request.topic.to_vec(), durable.name.to_owned());
        let inactive =
            if durable.inactive_ttl_micros == 0 { self.inactive_ttl } else { durable.inactive_ttl_micros };
        let is_gone = |known: &Durable| {
            known.holder.is_none() && now >= known.detached_at.saturating_add(known.inactive)
        };
        let known = self.durables.remove(&key);
        if known.as_ref().is_some_and(is_gone) {
            self.replayed.insert(key.clone());
        }
        let known = known.filter(|known| !is_gone(known));
        let (sub, held_since) = if let Some(known) = known {
            self.taken_over(tap, link, known, terms, (told, durable.epoch), now)?
        } else {
            self.check_start(request, told, now)?;
            if told.epoch != durable.epoch.saturating_add(1) || told.rewind != 0 {
                let text = format!("{told:?} is a new one, asked for with epoch {}", durable.epoch);
                return Broken::because("D3", text);
            }
            (terms, if durable.epoch == 0 { told.epoch } else { durable.epoch })
        };
        tap.subs.insert(number, Attached::Durable(key.0.clone(), key.1.clone()));
        self.durables
            .insert(key, Durable { sub, holder: Some((link, number)), held_since, inactive, detached_at: 0 });
        self.note_left_out(tap, number);
        Ok(())
    }

    /// D2, D3, I15: a durable subscription goes on where it was, for a newer epoch.
    pub(super) fn taken_over(
        &mut self,
        tap: &mut Tap,
        link: u64,
        mut known: Durable,
        terms: Sub,
        (told, asked): (&Subscribed, u32),
        now: u64,
    ) -> Result<(Sub, u32), Broken> {
        if let Some((holder, number)) = known.holder {
            known.sub.detached(false, now);
            let other = if holder == link { Some(&mut *tap) } else { self.taps.get_mut(&holder) };
            if let Some(other) = other {
                other.subs.remove(&number);
                other.fenced.insert(number, told.epoch);
            }
        }
        if told.epoch != known.sub.epoch.max(asked).saturating_add(1) {
            return Broken::because("D3", format!("epoch {} follows {}", told.epoch, known.sub.epoch));
        }
        let is_own = asked > 0 && known.held_since <= asked && asked <= known.sub.epoch;
        if asked > 0 && asked < known.sub.epoch && !is_own {
            return Broken::because(
                "D-08",
                format!("epoch {asked} was let in, {} is known", known.sub.epoch),
            );
        }
        let held_since = match (is_own, asked) {
            (true, _) => known.held_since,
            (false, 0) => told.epoch,
            (false, asked) => asked,
        };
        if told.rewind != known.sub.rewind + 1 {
            return Broken::because("A4", format!("rewind {} follows {}", told.rewind, known.sub.rewind));
        }
        if let Some(cursor) = known.sub.cursor.filter(|_| !known.sub.is_vague)
            && told.start != cursor
        {
            let topic = self.topics.get(&known.sub.topic);
            let may_pass = |offset| topic.is_none_or(|topic| known.sub.may_pass(offset, topic));
            if told.start < cursor || !(cursor..told.start).all(may_pass) {
                return Broken::because(
                    "D2",
                    format!("it goes on at {}, the cursor is {cursor}", told.start),
                );
            }
            known.sub.pass(cursor, told.start, topic);
        }
        let Sub { window, window_bytes, dead_letter, epoch, next, cursor, .. } = terms;
        let sub = Sub {
            window,
            window_bytes,
            dead_letter,
            epoch,
            next,
            cursor,
            rewind: told.rewind,
            is_vague: false,
            ..known.sub
        };
        Ok((sub, held_since))
    }

    /// R2, R3: a new subscription begins at the first live record that it asked for.
    pub(super) fn check_start(&self, request: &Subscribe<'_>, told: &Subscribed, now: u64) -> Verdict {
        let Some(topic) = self.topics.get(request.topic) else {
            return Ok(());
        };
        let asked = match request.start {
            Start::Earliest => 0,
            Start::Latest => topic.end,
            Start::Offset(offset) => offset,
            Start::Time(_) => return Ok(()),
        };
        let is_live_only = topic.settings().ttl == 0;
        if is_live_only || asked >= topic.end {
            let expected = asked.max(topic.end);
            return if told.start == expected || topic.was_altered {
                Ok(())
            } else {
                Broken::because("R3", format!("it begins at {}, not {expected}", told.start))
            };
        }
        if topic.was_altered {
            return Ok(());
        }
        if told.start < asked || told.start > topic.end {
            return Broken::because(
                "R3",
                format!("it begins at {}, asked for {asked}, the end is {}", told.start, topic.end),
            );
        }
        // With `reject` a committed front may have made room.
        let live =
            topic.records.range(asked..told.start).find(|(offset, _)| topic.is_surely_live(**offset, now));
        match live.filter(|_| !topic.settings().rejects) {
            Some((offset, _)) => {
                Broken::because("R3", format!("it begins at {}, and {offset} is live", told.start))
            }
            None => Ok(()),
        }
    }

    pub(super) fn unsubscribed(&mut self, tap: &mut Tap, number: u32, now: u64, is_failure: bool) {
        match tap.subs.remove(&number) {
            Some(Attached::Durable(topic, name)) => {
                let key = (topic, name);
                if let Some(durable) = self.durables.get_mut(&key) {
                    durable.sub.detached(is_failure, now);
                    (durable.holder, durable.detached_at) = (None, now);
                    let (copies, dead) = (durable.sub.copies, durable.sub.dead_letter.clone());
                    durable.sub.copies = 0;
                    self.expect_copies(copies, dead);
                }
            }
            Some(Attached::Own(key)) => {
                self.own.remove(&key);
            }
            None => {}
        }
    }

    /// The connection is over.
    pub(super) fn ended(&mut self, tap: &mut Tap, _link: u64, now: u64) {
        let numbers: Vec<_> = tap.subs.keys().copied().collect();
        for number in numbers {
            self.unsubscribed(tap, number, now, true);
        }
        tap.waiting = BytesMut::new();
    }

    pub(super) fn refused(tap: &Tap, frame: &ClientFrame<'_>, refusal: Refusal) -> Verdict {
        let number = match frame {
            ClientFrame::Unsubscribe(unsubscribe) => unsubscribe.subscription,
            ClientFrame::Nack(nack) => nack.subscription,
            _ => return Ok(()),
        };
        if tap.subs.contains_key(&number)
            && matches!(refusal.code, RefusalCode::NotSubscribed | RefusalCode::SubscriptionFenced)
        {
            return Broken::because("A-06", format!("{frame:?} was refused: {refusal:?}"));
        }
        Ok(())
    }

    pub(super) fn dead_letters_of(&mut self, tap: &Tap, number: u32) {
        let Some(sub) = self.attached(tap, number) else {
            return;
        };
        let (copies, dead) = (std::mem::take(&mut sub.copies), sub.dead_letter.clone());
        self.expect_copies(copies, dead);
    }

    pub(super) fn expect_copies(&mut self, copies: u64, dead: Option<(u32, Vec<u8>)>) {
        if let Some(topic) = dead.and_then(|(_, name)| self.topics.get_mut(&name)) {
            topic.loose += copies;
        }
    }

    /// A dead-letter topic must have copies of what a subscription left out.
    pub(super) fn note_left_out(&mut self, tap: &Tap, number: u32) {
        let Some(sub) = self.attached(tap, number) else {
            return;
        };
        if sub.left_out.is_empty() && sub.stayed.is_empty() {
            return;
        }
        let (left_out, name) = (std::mem::take(&mut sub.left_out), sub.durable.clone().unwrap_or_default());
        let (topic, stayed) = (sub.topic.clone(), std::mem::take(&mut sub.stayed));
        let is_durable = !name.is_empty();
        let stayed = stayed.into_iter().filter(|_| is_durable);
        self.stayed.extend(stayed.map(|(offset, at)| (topic.clone(), offset, name.clone(), at)));
        self.left_out.extend(left_out.into_iter().map(|offset| (topic.clone(), offset, name.clone())));
    }
}

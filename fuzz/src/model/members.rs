//! Members of shared subscriptions in the model: how they join and leave, and what they do to records (chapter G).

use std::collections::BTreeSet;
use std::rc::Rc;

use zaichik_proto::RefusalCode;

use crate::model::attach;
use crate::model::broker::Model;
use crate::model::failure::{Failed, Outcome, RETRY};
use crate::model::group::{Back, Group, GroupTerms, Member};
use crate::model::sharing::{self, Described, DescribedMember, How, Range, Reached, Settle};
use crate::model::words::{Answer, Durable, FOREVER, Join, Refusal, Start, Subscribe};

/// The maximum distance between the cursor and what was handed out: by default, and at most.
const DEFAULT_SPAN: u32 = 65_536;
const MAX_SPAN: u32 = 1 << 20;

impl Join {
    /// The Subscribe of an exclusive subscription with the same terms.
    pub(crate) const fn as_exclusive(&self) -> Subscribe {
        let (name, inactive_ttl) = (self.name, self.inactive_ttl);
        Subscribe {
            number: self.number,
            topic: self.topic,
            start: self.start,
            window: self.window,
            window_bytes: self.window_bytes,
            max_attempts: self.max_attempts,
            dead_letter: self.dead_letter,
            durable: Some(Durable { name, reject: false, epoch: 0, inactive_ttl }),
        }
    }
}

impl Model {
    /// Rule G1.
    pub(crate) fn join(&mut self, session: u64, request: &Join) -> Answer {
        let exclusive = request.as_exclusive();
        let reasons = self.reasons_against(session, &exclusive, Some(request.by_key));
        if !reasons.is_empty() {
            return Answer::RefusedFor(reasons);
        }
        let (id, name) = (request.topic, request.name);
        let created = self.create_topics_of(&exclusive);
        self.fenced.retain(|(by, other, _)| (*by, *other) != (session, request.number));
        self.age(id);
        let terms = self.terms(&exclusive);
        let group_terms = GroupTerms {
            dead_letter: terms.dead_letter,
            inactive_ttl: terms.inactive_ttl,
            ack_deadline: if request.ack_deadline == 0 { FOREVER } else { request.ack_deadline },
            max_span: match request.max_span {
                0 => DEFAULT_SPAN.into(),
                span => span.min(MAX_SPAN).into(),
            },
        };
        let index = self.group(id, name).unwrap_or_else(|| {
            let start = attach::start(self.topic(id).expect("it exists by now"), request.start, self.now);
            self.groups.push(Group::new(id, name, request.by_key, start, group_terms));
            self.groups.len() - 1
        });
        let group = &mut self.groups[index];
        (group.terms, group.is_lazy) = (group_terms, !self.is_exact);
        group.join(session, request.number, request.window, terms.window_bytes);
        let (rewind, start) = (group.rewind, group.cursor);
        let end = self.topic(id).expect("it exists by now").end();
        Answer::Subscribed { epoch: 0, rewind, created, start, end }
    }

    /// The index of a shared subscription.
    pub(crate) fn group(&self, topic: u32, name: u32) -> Option<usize> {
        self.groups.iter().position(|one| (one.topic, one.name) == (topic, name))
    }

    /// The shared subscription of which a session is a member under a number, and that member.
    pub(crate) fn member(&self, session: u64, number: u32) -> Option<(usize, usize)> {
        let mut groups = self.groups.iter().enumerate();
        groups.find_map(|(index, group)| Some((index, group.member(session, number)?)))
    }

    /// The same, if it may settle records.
    fn settling(&mut self, session: u64, number: u32) -> Result<(usize, u64), Refusal> {
        let Some((index, member)) = self.member(session, number) else {
            self.held(session, number)?;
            return Err((RefusalCode::ModeDiffers, 0));
        };
        let Member { id, window, .. } = self.groups[index].members[member];
        if window == 0 { Err((RefusalCode::CommitsOff, 0)) } else { Ok((index, id)) }
    }

    /// Rules G3, G5, G6.
    pub(crate) fn settle_records(&mut self, session: u64, request: &Settle) -> Result<Answer, Refusal> {
        let (index, id) = self.settling(session, request.number)?;
        let now = self.now;
        let mut not_held: Vec<Range> = Vec::new();
        if request.rewind < self.groups[index].rewind {
            not_held.clone_from(&request.ranges);
        } else {
            for range in &request.ranges {
                let group = &self.groups[index];
                let acted = match request.how {
                    How::Ack { .. } => group.ackable(id, range.0, sharing::end(*range)),
                    How::GiveBack { .. } | How::Extend => {
                        let held = group.held(id);
                        held.into_iter().filter(|at| (range.0..sharing::end(*range)).contains(at)).collect()
                    }
                };
                self.act(index, request.how, &acted);
                not_held.extend(others(*range, &acted));
            }
            self.groups[index].has_settled(id, now);
        }
        Ok(Answer::Acked { cursor: self.groups[index].cursor, not_held: sharing::merged(not_held) })
    }

    fn act(&mut self, index: usize, how: How, offsets: &[u64]) {
        for offset in offsets {
            match how {
                How::Ack { .. } => self.finish(index, *offset),
                How::Extend => self.groups[index].extend(*offset, self.now),
                How::GiveBack { delay } => {
                    let until = if delay == 0 { 0 } else { self.now.saturating_add(delay) };
                    self.give_back(index, *offset, Some("nack"), until, false);
                }
            }
        }
    }

    /// Rule G9: all of these offsets, or the first one that is not held.
    pub(crate) fn ack_in_batch(
        &mut self,
        session: u64,
        (number, rewind, ranges): (u32, u32, &[Range]),
    ) -> Result<(), Refusal> {
        let (index, id) = self.settling(session, number)?;
        for range in ranges {
            let group = &self.groups[index];
            if rewind < group.rewind {
                return Err((RefusalCode::NotHeld, range.0));
            }
            let acked = group.ackable(id, range.0, sharing::end(*range));
            if let Some((first, _)) = others(*range, &acked).first() {
                return Err((RefusalCode::NotHeld, *first));
            }
            self.act(index, How::Ack { quiet: false }, &acked);
        }
        let now = self.now;
        self.groups[index].has_settled(id, now);
        Ok(())
    }

    fn finish(&mut self, index: usize, offset: u64) {
        let topic = Rc::clone(&self.topics[&self.groups[index].topic]);
        self.groups[index].finish(offset, &topic);
    }

    /// Rules G5, G6: a record comes back, and has failed if `reason` says how; its member may acknowledge it late.
    fn give_back(&mut self, index: usize, offset: u64, reason: Option<&str>, until: u64, is_late: bool) {
        let flight = self.groups[index].take(offset);
        let late = is_late.then_some(flight.member);
        let outcome = reason.map_or(Outcome::Stays, |reason| self.fail_in_group(index, offset, reason));
        let until = match outcome {
            Outcome::Buried => return self.finish(index, offset),
            Outcome::Refused => until.max(self.now + RETRY),
            Outcome::Stays | Outcome::Gone => until,
        };
        self.groups[index].put_back(offset, Back { attempts: flight.attempt, until, late });
    }

    fn fail_in_group(&mut self, index: usize, offset: u64, reason: &str) -> Outcome {
        let group = &mut self.groups[index];
        let Some((max_attempts, dead_letter)) = group.terms.dead_letter else { return Outcome::Stays };
        let failures = group.fail(offset);
        if failures < max_attempts {
            return Outcome::Stays;
        }
        let (topic, name) = (group.topic, Some(group.name));
        self.bury(Failed { topic, name, offset, failures, dead_letter }, reason)
    }

    /// Rule A9: a member leaves on request; what it holds has not failed.
    pub(crate) fn unsubscribe_member(&mut self, index: usize, member: usize) -> Answer {
        let last = self.groups[index].members[member].last;
        self.lose_member(index, member, None);
        Answer::Unsubscribed { last }
    }

    fn lose_member(&mut self, index: usize, member: usize, reason: Option<&str>) {
        let id = self.groups[index].members[member].id;
        for offset in self.groups[index].held(id) {
            self.give_back(index, offset, reason, 0, false);
        }
        let now = self.now;
        self.groups[index].leave(id, now);
        self.groups.retain(|one| !one.is_forgotten(now));
    }

    /// A connection ends (rule G10).
    pub(crate) fn disconnect_members(&mut self, session: u64, is_orderly: bool) {
        let members = self.groups.iter().flat_map(|group| &group.members);
        let numbers: BTreeSet<_> =
            members.filter(|one| one.session == session).map(|one| one.number).collect();
        for number in numbers {
            let (index, member) = self.member(session, number).expect("it is a member");
            self.lose_member(index, member, (!is_orderly).then_some("disconnected"));
        }
    }

    /// Rule G13; returns the rewind.
    pub(crate) fn seek_group(&mut self, index: usize, to: Start) -> u64 {
        let Group { topic, cursor, .. } = self.groups[index];
        self.age(topic);
        let to = self.sought(topic, cursor, to);
        let group = &mut self.groups[index];
        group.seek(to);
        u64::from(group.rewind)
    }

    /// Ends delays, and the times of records that members have held for too long (rules G5, G6).
    pub(crate) fn end_deadlines(&mut self) {
        let now = self.now;
        let due = self.groups.iter().enumerate().map(|(index, group)| (group.next_deadline(), index));
        let mut due: Vec<_> = due.filter(|(at, _)| *at <= now).collect();
        due.sort_unstable();
        for (_, index) in due {
            self.groups[index].end_delays(now);
            for offset in self.groups[index].overdue(now) {
                self.give_back(index, offset, Some("deadline"), 0, true);
            }
        }
    }

    /// Rule G11.
    pub(crate) fn describe_group(&self, topic: u32, name: u32) -> Result<Answer, Refusal> {
        let index = match self.durable_named(topic, name) {
            Ok(_) => return Err((RefusalCode::ModeDiffers, 0)),
            Err((RefusalCode::NotSubscribed, _)) => {
                self.group(topic, name).ok_or((RefusalCode::NotSubscribed, 0))?
            }
            Err(refusal) => return Err(refusal),
        };
        let group = &self.groups[index];
        let since = |handed: Option<u64>| handed.map_or(0, |handed| self.now - handed);
        let deadline = group.terms.ack_deadline;
        let members = group.members.iter().map(|one| {
            let held = group.flights.values().filter(|flight| flight.member == one.id);
            let quiet = self.now.saturating_sub(one.quiet_since);
            let in_flight = u32::try_from(held.clone().count()).expect("its window is a u32");
            DescribedMember {
                window: one.window,
                in_flight,
                oldest: since(held.map(|flight| flight.handed).min()),
                stuck: in_flight > 0 && quiet >= deadline,
            }
        });
        let reached = Reached {
            next: group.next,
            waiting: group.back.len() as u64,
            blocked: group.blocked.len() as u64,
            blocked_by: if group.is_at_span() { group.cursor } else { u64::MAX },
        };
        Ok(Answer::Members(Described {
            by_key: group.by_key,
            ack_deadline: if deadline == FOREVER { 0 } else { deadline },
            max_span: u32::try_from(group.terms.max_span).expect("it was a u32"),
            rewind: group.rewind,
            cursor: group.cursor,
            end: self.topic(topic).expect("it was subscribed to").end(),
            in_flight: group.flights.len() as u64,
            oldest: since(group.flights.values().map(|flight| flight.handed).min()),
            members: members.collect(),
            reached: (self.is_exact && !group.is_undecided()).then_some(reached),
        }))
    }
}

/// The parts of a range that are not among these offsets, which are within it and ascend.
fn others(range: Range, offsets: &[u64]) -> Vec<Range> {
    let mut others = Vec::new();
    let mut at = range.0;
    for stop in offsets.iter().copied().chain([sharing::end(range)]) {
        if at < stop {
            others.push((at, u32::try_from(stop - at).expect("a part of a range")));
        }
        at = stop.saturating_add(1);
    }
    others
}

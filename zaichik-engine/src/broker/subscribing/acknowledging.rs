//! Acknowledging records of shared subscriptions one by one, giving them back, and keeping them for longer (rules G3, G5, G6).

use zaichik_proto::{Ack, Extend, List, NackShared, OffsetRange, Refusal, RefusalCode, Timestamp};

use super::{Subscribing, entry_of, key_of};
use crate::broker::dead_letters::Failure;
use crate::broker::sessions::Sessions;
use crate::broker::subscriptions::Subscriptions;
use crate::effects::Effects;
use crate::id::{MemberKey, SessionId, SubKey};

/// Ranges of an answer, besides those of the request, beyond which what the request still names counts as not held.
pub(crate) const MAX_PIECES: usize = 4_096;

/// What is done to records that a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Ack,
    /// They are handed out again at this running time.
    GiveBack(Timestamp),
    Extend,
}

/// A request about records of a shared subscription, with the session that sent it.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    session: SessionId,
    number: u32,
    rewind: u32,
    ranges: List<'a, OffsetRange>,
}

/// The cursor after a request, and what it named that its member does not hold.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) cursor: u64,
    pub(crate) not_held: Vec<OffsetRange>,
}

impl Subscribing<'_> {
    /// Ends records that a member holds.
    pub(in crate::broker) fn ack(
        &mut self,
        session: SessionId,
        request: &Ack<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let Ack { subscription: number, rewind, ranges, .. } = *request;
        self.act(Request { session, number, rewind, ranges }, Action::Ack, effects)
    }

    /// Ends records that a member holds, as a part of a batch: what becomes free is left for later.
    pub(in crate::broker) fn ack_checked(
        &mut self,
        session: SessionId,
        (key, member): (SubKey, MemberKey),
        ranges: List<'_, OffsetRange>,
        effects: &mut Effects,
    ) {
        let mut not_held = Vec::new();
        for range in ranges.iter() {
            self.act_on((key, member), range, Action::Ack, &mut not_held);
        }
        debug_assert!(not_held.is_empty(), "the batch was checked");
        self.settle_member((key, member));
        if self.follow_group(key) {
            self.readers.publish_cursor(key);
        }
        self.turns(session).offer(key, effects);
    }

    /// Gives records that a member holds back: each has failed once more.
    pub(in crate::broker) fn nack_shared(
        &mut self,
        session: SessionId,
        request: &NackShared<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let NackShared { subscription: number, rewind, ranges, delay_micros, .. } = *request;
        let running = self.readers.subscriptions.running(self.readers.now);
        let until = if delay_micros == 0 { Timestamp::ZERO } else { running.plus_micros(delay_micros) };
        self.act(Request { session, number, rewind, ranges }, Action::GiveBack(until), effects)
    }

    /// Starts the time of records again that a member holds.
    pub(in crate::broker) fn extend(
        &mut self,
        session: SessionId,
        request: &Extend<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let Extend { subscription: number, rewind, ranges, .. } = *request;
        self.act(Request { session, number, rewind, ranges }, Action::Extend, effects)
    }

    fn act(
        &mut self,
        request: Request<'_>,
        action: Action,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let (member, key) =
            member_of(self.sessions, self.readers.subscriptions, request.session, request.number)?;
        let mut not_held = Vec::new();
        if request.rewind < self.readers.subscriptions[key].rewind() {
            not_held.extend(request.ranges.iter());
        } else {
            for range in request.ranges.iter() {
                self.act_on((key, member), range, action, &mut not_held);
            }
            self.settle_member((key, member));
            self.settle_group(key, request.session, effects);
        }
        merge(&mut not_held);
        Ok(Outcome { cursor: self.readers.subscriptions[key].cursor(), not_held })
    }

    /// Does something to the offsets of a range that a member holds, and lists the others.
    fn act_on(
        &mut self,
        (key, member): (SubKey, MemberKey),
        range: OffsetRange,
        action: Action,
        not_held: &mut Vec<OffsetRange>,
    ) {
        let running = self.readers.subscriptions.running(self.readers.now);
        let (mut at, to) = (range.first, range.end());
        while at < to && not_held.len() < MAX_PIECES {
            let (subscription, members) = self.readers.subscriptions.with_members(key);
            let (Some(shared), Some(one)) = (&mut subscription.shared, members.get_mut(member)) else {
                return;
            };
            one.follow(&shared.group);
            let group = &mut shared.group;
            let next = match action {
                Action::Ack => group.next_ackable(one.id, at, to),
                Action::GiveBack(_) | Action::Extend => group.next_held(one.id, at, to),
            };
            let Some(offsets) = next else { break };
            push(not_held, at, offsets.0);
            at = offsets.1;
            self.readers.topics.spend(1);
            match action {
                Action::Ack => {
                    if let Some(held) = group.ack(one.id, offsets) {
                        one.lost(held.records(), held.bytes);
                    }
                }
                Action::Extend => group.extend(one.id, offsets, running),
                Action::GiveBack(until) => {
                    if let Some(held) = group.take_back(one.id, offsets) {
                        one.lost(held.records(), held.bytes);
                        self.give_back(key, &held, Some(Failure::Nack), until, None);
                    }
                }
            }
        }
        push(not_held, at, to);
    }

    /// A member has settled something: it may have room again.
    pub(in crate::broker) fn settle_member(&mut self, (key, member): (SubKey, MemberKey)) {
        let running = self.readers.subscriptions.running(self.readers.now);
        let (subscription, members) = self.readers.subscriptions.with_members(key);
        if let (Some(shared), Some(one)) = (&mut subscription.shared, members.get_mut(member)) {
            one.settled(running);
            one.find_room(shared, self.readers.readiness);
        }
    }
}

/// The member that a session is under a number, and its subscription.
pub(in crate::broker) fn member_of(
    sessions: &Sessions,
    subscriptions: &Subscriptions,
    session: SessionId,
    number: u32,
) -> Result<(MemberKey, SubKey), Refusal> {
    let found = entry_of(sessions, session)?.member(number);
    let Some((key, member)) = found.and_then(|key| Some((key, subscriptions.members.get(key)?))) else {
        let _ = key_of(sessions, session, number)?;
        return Err(Refusal::new(RefusalCode::ModeDiffers));
    };
    if member.window == 0 {
        return Err(Refusal::new(RefusalCode::CommitsOff));
    }
    Ok((key, member.group))
}

/// Adds the offsets of `from..to`, which are those of one range of a request.
fn push(ranges: &mut Vec<OffsetRange>, from: u64, to: u64) {
    if let Ok(count) = u32::try_from(to.saturating_sub(from))
        && count > 0
    {
        ranges.push(OffsetRange { first: from, count });
    }
}

/// Sorts ranges, and joins those that touch.
fn merge(ranges: &mut Vec<OffsetRange>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let end = next.end().max(last.end());
        let Ok(count) = u32::try_from(end.saturating_sub(last.first)) else { return false };
        let touches = next.first <= last.end();
        if touches {
            last.count = count;
        }
        touches
    });
}

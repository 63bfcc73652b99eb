//! Whose turn it is: a shared subscription that has something to hand out makes as many of its members ready as there are
//! runs, and they pass the turn on (rule G2).

use super::members::Place;
use super::readiness::Readiness;
use super::sessions::Sessions;
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use crate::effects::Effects;
use crate::id::{MemberKey, SessionId, SubKey};

/// Maximum members of one subscription that have a turn.
const MAX_TURNS: u64 = 64;

/// The parts of the broker that this needs.
#[derive(Debug)]
pub(super) struct Turns<'b> {
    pub(super) topics: &'b Topics,
    pub(super) subscriptions: &'b mut Subscriptions,
    pub(super) sessions: &'b mut Sessions,
    pub(super) readiness: &'b mut Readiness,
    /// The session that delivers next and is not woken.
    pub(super) asking: SessionId,
}

impl Turns<'_> {
    /// The topic of a shared subscription has received something, or something was read back.
    #[inline(never)]
    pub(super) fn woken(&mut self, key: SubKey, effects: &mut Effects) {
        if let Some(shared) = &mut self.subscriptions[key].shared {
            shared.is_fetching = false;
        }
        self.offer(key, effects);
    }

    /// Gives turns to members in the line, if there is something for them; if there is not, the subscription waits for its
    /// topic.
    #[inline(never)]
    pub(super) fn offer(&mut self, key: SubKey, effects: &mut Effects) {
        let (subscription, members) = self.subscriptions.with_members(key);
        let (topic, node) = (&self.topics[subscription.topic], subscription.node);
        let Some(shared) = &mut subscription.shared else { return };
        if shared.is_fetching {
            // It waits for its topic, or has been woken and is in the line for that: then it must not wait again.
            if self.readiness.is_idle(node) {
                self.readiness.push(topic.waiting, node);
            }
            return;
        }
        let available = shared.group.available(topic.end());
        let runs = available.div_ceil(shared.quantum(available)).min(MAX_TURNS);
        while u64::from(shared.turns) < runs {
            let Some(next) = self.readiness.first(shared.line).map(MemberKey) else { break };
            let Some(member) = members.get_mut(next) else { break };
            let ready = self.sessions.get(member.session).and_then(|entry| entry.shared.as_ref());
            let Some(ready) = ready.map(|shared| shared.ready) else { break };
            if member.round == shared.round {
                // It has had a run since others got their turns.
                if shared.turns > 0 {
                    break;
                }
                shared.round = shared.round.saturating_add(1);
            }
            member.follow(&shared.group);
            member.place = Place::Turn;
            shared.turns = shared.turns.saturating_add(1);
            self.readiness.push(ready, member.node);
            self.sessions.wake(member.session, self.asking, effects);
        }
        let has_line = self.readiness.first(shared.line).is_some();
        let is_waiting = available == 0 && !shared.group.is_blocked();
        if has_line && is_waiting {
            self.readiness.push(topic.waiting, node);
        } else {
            self.readiness.unlink(node);
        }
    }

    /// A session can't use its turns now: others get them.
    pub(super) fn pass_on(&mut self, keys: &[MemberKey], effects: &mut Effects) {
        for key in keys {
            let Some(group) = self.subscriptions.members.get(*key).map(|member| member.group) else {
                continue;
            };
            let (subscription, members) = self.subscriptions.with_members(group);
            let Some(shared) = &mut subscription.shared else { continue };
            let Some(member) = members.get_mut(*key).filter(|member| member.place == Place::Turn) else {
                continue;
            };
            member.place = Place::Passed;
            shared.turns = shared.turns.saturating_sub(1);
            self.offer(group, effects);
        }
    }
}

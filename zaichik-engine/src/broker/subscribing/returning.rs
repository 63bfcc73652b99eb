//! Records of shared subscriptions that come back: given back, held for too long, or of a member that left (rules G5, G6).

use zaichik_proto::Timestamp;

use super::Subscribing;
use crate::broker::dead_letters::{Failure, FailureOutcome, REFUSED_PAUSE};
use crate::effects::Effects;
use crate::group::Held;
use crate::id::{SessionId, SubKey};
use crate::planted::{Defect, is_planted};

/// Steps for which one call takes back what members have held for too long.
const STEPS_PER_CALL: u64 = 1_024;

impl Subscribing<'_> {
    /// Records were taken from a member. Each fails, if `failure` says so, and waits until it is handed out again, or it is a
    /// dead letter. `holder` may still acknowledge it.
    pub(super) fn give_back(
        &mut self,
        key: SubKey,
        held: &Held,
        failure: Option<Failure>,
        until: Timestamp,
        holder: Option<u64>,
    ) {
        let running = self.readers.subscriptions.running(self.readers.now);
        for record in held.offsets() {
            let outcome = match failure {
                Some(failure) => self.record_failed(key, record.0, failure),
                None => FailureOutcome::Redelivered,
            };
            let Some(shared) = &mut self.readers.subscriptions[key].shared else { return };
            match outcome {
                FailureOutcome::DeadLettered if !is_planted(Defect::DeadLetterStays) => {
                    shared.group.finish(record);
                }
                FailureOutcome::Refused => {
                    let until = until.max(running.plus_micros(REFUSED_PAUSE));
                    shared.group.put_back(record, held.attempt, until, holder);
                }
                FailureOutcome::Redelivered | FailureOutcome::DeadLettered => {
                    shared.group.put_back(record, held.attempt, until, holder);
                }
            }
        }
        self.readers.topics.spend(held.records());
    }

    /// Ends delays that are over, and takes back what members have held for too long; a bounded part of it.
    pub(in crate::broker) fn end_deadlines(&mut self, key: SubKey, asking: SessionId, effects: &mut Effects) {
        let running = self.readers.subscriptions.running(self.readers.now);
        let last_step = self.readers.topics.steps().saturating_add(STEPS_PER_CALL);
        while self.readers.topics.steps() < last_step {
            let (subscription, members) = self.readers.subscriptions.with_members(key);
            let Some(shared) = &mut subscription.shared else { return };
            if shared.group.end_delay(running) {
                self.readers.topics.spend(1);
                continue;
            }
            let Some((id, held)) = shared.group.take_overdue(running) else { break };
            if let Some(member) = members.with_id(key, id) {
                member.follow(&shared.group);
                member.lost(held.records(), held.bytes);
                member.find_room(shared, self.readers.readiness);
            }
            self.give_back(key, &held, Some(Failure::Deadline), Timestamp::ZERO, Some(id));
        }
        self.settle_group(key, asking, effects);
    }

    /// A shared subscription has changed: its cursor may have moved, and others may have a turn.
    pub(super) fn settle_group(&mut self, key: SubKey, asking: SessionId, effects: &mut Effects) {
        if self.follow_group(key) {
            self.readers.cursor_moved(key);
        }
        self.turns(asking).offer(key, effects);
    }

    /// The same without the consequences; returns whether its cursor has moved.
    pub(super) fn follow_group(&mut self, key: SubKey) -> bool {
        let subscription = &mut self.readers.subscriptions[key];
        let before = subscription.cursor();
        subscription.follow_group();
        let has_moved = subscription.cursor() != before;
        if is_planted(Defect::UnmarkedAck) && !has_moved {
            self.readers.subscriptions.settle_charge(key, self.readers.memory);
        } else {
            self.readers.subscriptions.settle(key, self.readers.memory);
        }
        has_moved
    }
}

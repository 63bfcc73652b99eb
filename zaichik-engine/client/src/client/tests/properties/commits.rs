//! Commits, nacks and seeks of durable subscriptions: what was answered has reached the broker.

use core::time::Duration;

use zaichik_proto::Start;

use super::World;
use crate::{Answer, RequestError, RequestId, SubscriptionId};

/// An unanswered commit, or a batch that commits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    subscription: SubscriptionId,
    offset: u64,
    /// How often the subscription had been moved, in which instance of the broker.
    moved: u32,
    instance: u128,
}

impl World {
    pub(super) fn commit(&mut self) {
        let last = self.peer.client.last_taken();
        let request = self.peer.client.commit_last(self.peer.now);
        if let (Ok(request), Some((id, offset))) = (&request, last) {
            self.has_committed(id, offset);
            self.commit_asked(*request, id, offset);
        }
        self.asked(&request);
    }

    /// A commit was made, alone or in a batch.
    pub(super) fn commit_asked(&mut self, request: RequestId, subscription: SubscriptionId, offset: u64) {
        let moved = self.moved.get(&subscription).copied().unwrap_or(0);
        let asked = Asked { subscription, offset, moved, instance: self.broker.instance };
        self.commits.insert(request, asked);
    }

    pub(super) fn nack(&mut self, id: SubscriptionId, offset: u64) {
        let request = self.peer.client.nack(self.peer.now, id, offset, Duration::ZERO);
        self.move_asked(&request, id);
    }

    pub(super) fn seek(&mut self, id: SubscriptionId, offset: u64) {
        let request = self.peer.client.seek(self.peer.now, id, Start::Offset(offset));
        if request.is_ok() {
            self.forget(id);
        }
        self.move_asked(&request, id);
    }

    fn move_asked(&mut self, request: &Result<RequestId, RequestError>, id: SubscriptionId) {
        if let Ok(request) = request
            && self.durables.contains_key(&id)
        {
            self.moves.insert(*request, id);
        }
        self.asked(request);
    }

    /// A request was answered.
    pub(super) fn check_answer(&mut self, request: RequestId, result: &Result<Answer, RequestError>) {
        if let Some(asked) = self.commits.remove(&request)
            && result.is_ok()
        {
            let Asked { subscription, offset, moved, .. } = asked;
            if matches!(result, Ok(Answer::Batched(_)))
                && self.moved.get(&subscription).copied().unwrap_or(0) == moved
            {
                self.has_committed(subscription, offset);
            }
            self.check_committed(asked);
        }
        if let Some(id) = self.moves.remove(&request)
            && result.is_ok()
        {
            let name = &self.durables[&id];
            let handled = self.handled_moves.get_mut(name).expect("an answered nack or seek was handled");
            *handled = handled.checked_sub(1).expect("each answer is of a nack or seek of its own");
        }
    }

    /// An answered commit of a durable subscription has reached the broker.
    fn check_committed(&self, Asked { subscription, offset, moved, instance }: Asked) {
        let is_moved = self.moved.get(&subscription).copied().unwrap_or(0) != moved;
        if is_moved || self.broker.instance != instance {
            return;
        }
        let Some(name) = self.durables.get(&subscription) else {
            return;
        };
        let active = self.broker.active.iter().find(|cursor| cursor.name.as_ref() == Some(name));
        let cursor = active.or_else(|| self.broker.durables.get(name)).expect("the broker keeps it");
        assert!(offset < cursor.done_to, "{offset} is not committed: {cursor:?}");
    }
}

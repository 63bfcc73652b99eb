//! Commits: an answered one has reached the broker.

use super::World;
use crate::SubscriptionId;

impl World {
    pub(super) fn commit(&mut self) {
        let last = self.peer.client.last_taken();
        let request = self.peer.client.commit_last(self.peer.now);
        if let (Ok(request), Some((id, offset))) = (&request, last) {
            self.has_committed(id, offset);
            if self.durables.contains_key(&id) {
                let moved = self.moved.get(&id).copied().unwrap_or(0);
                self.commits.insert(*request, (id, offset, moved, self.broker.instance));
            }
        }
        self.asked(&request);
    }

    /// An answered commit of a durable subscription has reached the broker.
    pub(super) fn check_committed(
        &mut self,
        (id, offset, moved, instance): (SubscriptionId, u64, u32, u128),
    ) {
        let is_moved = self.moved.get(&id).copied().unwrap_or(0) != moved;
        if is_moved || self.broker.instance != instance {
            return;
        }
        let name = &self.durables[&id];
        let active = self.broker.active.iter().find(|cursor| cursor.name.as_ref() == Some(name));
        let cursor = active.or_else(|| self.broker.durables.get(name)).expect("the broker keeps it");
        assert!(offset < cursor.done_to, "{offset} is not committed: {cursor:?}");
    }
}

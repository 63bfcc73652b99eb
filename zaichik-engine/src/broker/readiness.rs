//! Tracks subscriptions that wait for a record, were woken by one or are ready to deliver, and sessions that wait for
//! memory.
//!
//! A subscription is in at most one ring: its topic's waiting ring, the woken ring, or its session's ready ring. It is
//! in none while it waits for its client, for a delay to pass, or for a connection.

use crate::id::SubKey;
use crate::ring::{Node, Rings};

/// All rings of a broker. Every call takes O(1).
#[derive(Debug)]
pub(super) struct Readiness {
    rings: Rings,
    /// Head of the ring of subscriptions whose topic received something while they waited.
    woken: Node,
    /// Head of the ring of sessions that are not read until memory is freed.
    throttled: Node,
}

impl Readiness {
    pub(super) fn new() -> Self {
        let mut rings = Rings::default();
        let (woken, throttled) = (rings.insert(0), rings.insert(0));
        Self { rings, woken, throttled }
    }

    /// A new, empty ring: a topic's waiting ring, or a session's ready ring.
    pub(super) fn insert_ring(&mut self) -> Node {
        self.rings.insert(0)
    }

    /// A new subscription, in no ring.
    pub(super) fn insert_subscription(&mut self, key: SubKey) -> Node {
        self.rings.insert(key.0)
    }

    /// A new session, in no ring.
    pub(super) fn insert_session(&mut self, slot: u32) -> Node {
        self.rings.insert(slot)
    }

    /// Removes a subscription, a session or an empty ring.
    pub(super) fn remove(&mut self, node: Node) {
        self.rings.remove(node);
    }

    /// Moves a subscription to the end of a ring.
    pub(super) fn push(&mut self, ring: Node, subscription: Node) {
        self.rings.push(ring, subscription);
    }

    /// Takes a subscription out of its ring.
    pub(super) fn unlink(&mut self, subscription: Node) {
        self.rings.unlink(subscription);
    }

    /// Whether a subscription is in no ring.
    pub(super) fn is_idle(&self, subscription: Node) -> bool {
        self.rings.is_alone(subscription)
    }

    /// A topic received something: wakes all subscriptions in its waiting ring.
    #[inline]
    pub(super) fn wake_waiting(&mut self, waiting: Node) {
        self.rings.splice(waiting, self.woken);
    }

    pub(super) fn pop_woken(&mut self) -> Option<SubKey> {
        self.rings.pop(self.woken).map(SubKey)
    }

    pub(super) fn has_woken(&self) -> bool {
        !self.rings.is_empty(self.woken)
    }

    pub(super) fn pop_ready(&mut self, ready: Node) -> Option<SubKey> {
        self.rings.pop(ready).map(SubKey)
    }

    pub(super) fn has_ready(&self, ready: Node) -> bool {
        !self.rings.is_empty(ready)
    }

    /// Marks whether a session must not be read until memory is freed.
    pub(super) fn set_throttled(&mut self, session: Node, throttled: bool) {
        if throttled {
            self.rings.push(self.throttled, session);
        } else {
            self.rings.unlink(session);
        }
    }

    /// Removes the next session that waits for memory, and returns its slot.
    pub(super) fn pop_throttled(&mut self) -> Option<usize> {
        self.rings.pop(self.throttled).map(|slot| slot as usize)
    }

    pub(super) fn has_throttled(&self) -> bool {
        !self.rings.is_empty(self.throttled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_wakes_exactly_the_waiting_subscriptions() {
        let mut readiness = Readiness::new();
        let (waiting, ready) = (readiness.insert_ring(), readiness.insert_ring());
        let nodes: Vec<_> = (0..4).map(|key| readiness.insert_subscription(SubKey(key))).collect();
        readiness.push(waiting, nodes[2]);
        readiness.push(waiting, nodes[0]);
        readiness.push(ready, nodes[3]);
        readiness.wake_waiting(waiting);
        assert_eq!((readiness.pop_woken(), readiness.pop_woken()), (Some(SubKey(2)), Some(SubKey(0))));
        assert!(!readiness.has_woken() && readiness.has_ready(ready));
        assert!(readiness.is_idle(nodes[0]) && readiness.is_idle(nodes[1]) && !readiness.is_idle(nodes[3]));
        assert_eq!(readiness.pop_ready(ready), Some(SubKey(3)));
    }

    #[test]
    fn throttled_sessions_are_released_in_order() {
        let mut readiness = Readiness::new();
        let (first, second) = (readiness.insert_session(7), readiness.insert_session(8));
        readiness.set_throttled(first, true);
        readiness.set_throttled(second, true);
        readiness.set_throttled(first, false);
        assert_eq!((readiness.pop_throttled(), readiness.pop_throttled()), (Some(8), None));
        assert!(!readiness.has_throttled());
    }
}

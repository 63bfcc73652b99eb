//! Tracks subscriptions that wait for a record, were woken by one or are ready to deliver, and sessions that wait for
//! memory.
//!
//! A subscription is in at most one ring: its topic's waiting ring, the woken ring, or its session's ready ring. It is
//! in none while it waits for its client, for a delay to pass, or for a connection.

use crate::id::{MemberKey, PatternKey, SubKey};
use crate::ring::{Node, Rings};

/// All rings of a broker. Every call takes O(1).
#[derive(Debug)]
pub(super) struct Readiness {
    rings: Rings,
    /// Head of the ring of subscriptions whose topic received something while they waited.
    woken: Node,
    /// Whether it may have members: each exchange asks.
    may_have_woken: bool,
    /// Head of the ring of sessions that are not read until memory is freed.
    throttled: Node,
    /// Heads of the rings of sessions that wait for memory for their buffers, by how much they need.
    waiting: [Node; 2],
    /// Sessions in these three rings.
    sessions_waiting: usize,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing.
    No,
    /// Memory for records.
    ForRecords,
    /// Memory for its buffers, of which little is kept for it.
    ForLittle,
    /// Memory for its buffers, and more than that.
    ForMuch,
}

impl Readiness {
    pub(super) fn new() -> Self {
        let mut rings = Rings::default();
        let (woken, throttled) = (rings.insert(0), rings.insert(0));
        let waiting = [rings.insert(0), rings.insert(0)];
        Self { rings, woken, may_have_woken: false, throttled, waiting, sessions_waiting: 0 }
    }

    /// A new, empty ring: a topic's waiting ring, or a session's ready ring.
    pub(super) fn insert_ring(&mut self) -> Node {
        self.rings.insert(0)
    }

    /// A new subscription, in no ring.
    pub(super) fn insert_subscription(&mut self, key: SubKey) -> Node {
        self.rings.insert(key.0)
    }

    /// A new member of a shared subscription, in no ring.
    pub(super) fn insert_member(&mut self, key: MemberKey) -> Node {
        self.rings.insert(key.0)
    }

    /// A new pattern of topics, in no ring.
    pub(super) fn insert_pattern(&mut self, key: PatternKey) -> Node {
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

    /// Moves all members of a ring to the end of another.
    pub(super) fn move_all(&mut self, from: Node, to: Node) {
        let _ = self.rings.splice(from, to);
    }

    /// The first of the members of a ring.
    pub(super) fn first(&self, ring: Node) -> Option<u32> {
        self.rings.members(ring).next()
    }

    /// The members of a ring, in order.
    pub(super) fn members(&self, ring: Node) -> impl Iterator<Item = u32> {
        self.rings.members(ring)
    }

    /// A topic received something: wakes all subscriptions in its waiting ring.
    #[inline]
    pub(super) fn wake_waiting(&mut self, waiting: Node) {
        self.may_have_woken |= self.rings.splice(waiting, self.woken);
    }

    pub(super) fn pop_woken(&mut self) -> Option<SubKey> {
        let first = self.rings.pop(self.woken);
        self.may_have_woken = first.is_some();
        first.map(SubKey)
    }

    #[inline]
    pub(super) fn has_woken(&self) -> bool {
        self.may_have_woken && !self.rings.is_empty(self.woken)
    }

    pub(super) fn pop_ready(&mut self, ready: Node) -> Option<SubKey> {
        self.rings.pop(ready).map(SubKey)
    }

    pub(super) fn has_ready(&self, ready: Node) -> bool {
        !self.rings.is_empty(ready)
    }

    /// Puts a session at the end of those that wait for the same, or takes it out.
    #[inline]
    pub(super) fn set_waiting(&mut self, session: Node, waits: Waits) {
        if self.sessions_waiting == 0 && waits == Waits::No {
            return;
        }
        let waited = usize::from(!self.rings.is_alone(session));
        match self.ring_of(waits) {
            Some(ring) => self.rings.push(ring, session),
            None => self.rings.unlink(session),
        }
        let waits = usize::from(waits != Waits::No);
        self.sessions_waiting = self.sessions_waiting.saturating_add(waits).saturating_sub(waited);
    }

    /// Whether a session waits for anything.
    #[inline]
    pub(super) const fn has_sessions_waiting(&self) -> bool {
        self.sessions_waiting > 0
    }

    /// The slot of the first session that waits for this.
    #[inline]
    pub(super) fn first_waiting(&self, waits: Waits) -> Option<u32> {
        let ring = self.ring_of(waits).filter(|_| self.has_sessions_waiting())?;
        self.rings.members(ring).next()
    }

    /// Whether a session waits for memory for its buffers.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        self.has_sessions_waiting() && self.waiting.iter().any(|ring| !self.rings.is_empty(*ring))
    }

    const fn ring_of(&self, waits: Waits) -> Option<Node> {
        let [little, much] = self.waiting;
        match waits {
            Waits::No => None,
            Waits::ForRecords => Some(self.throttled),
            Waits::ForLittle => Some(little),
            Waits::ForMuch => Some(much),
        }
    }

    /// Bytes of free places.
    pub(super) const fn spare(&self) -> usize {
        self.rings.spare()
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
    fn s15_sessions_that_wait_for_memory_are_served_in_order() {
        let mut readiness = Readiness::new();
        let (first, second) = (readiness.insert_session(7), readiness.insert_session(8));
        readiness.set_waiting(first, Waits::ForMuch);
        readiness.set_waiting(second, Waits::ForMuch);
        assert_eq!(readiness.first_waiting(Waits::ForMuch), Some(7));
        assert_eq!(readiness.first_waiting(Waits::ForRecords), None);
        readiness.set_waiting(first, Waits::No);
        assert_eq!(readiness.first_waiting(Waits::ForMuch), Some(8));
        readiness.set_waiting(second, Waits::ForRecords);
        assert!(!readiness.has_waiting() && readiness.has_sessions_waiting());
        readiness.set_waiting(second, Waits::No);
        readiness.set_waiting(second, Waits::No);
        assert!(!readiness.has_sessions_waiting());
    }
}

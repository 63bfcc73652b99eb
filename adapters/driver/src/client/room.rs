//! A queue of requests that wait for room: first come, first served.

use std::collections::BTreeMap;
use std::task::Waker;

/// Requests that wait for room.
///
/// A request that is called tries again. If it does not use the room, it passes the call on, so that no call is lost.
#[derive(Debug, Default)]
pub(crate) struct Room {
    waiting: BTreeMap<Ticket, Waker>,
    next: u64,
    calls: usize,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Room {
    /// Wakes `waker` when there may be room; `ticket` is its place in the queue, if it has one.
    pub(crate) fn wait(&mut self, ticket: Option<Ticket>, waker: &Waker) -> Ticket {
        let ticket = ticket.unwrap_or_else(|| {
            self.next = self.next.wrapping_add(1);
            Ticket(self.next)
        });
        self.waiting.insert(ticket, waker.clone());
        ticket
    }

    /// The request found room: there may be more.
    pub(crate) fn found(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
        self.call();
    }

    /// The request with this ticket was dropped.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        if self.waiting.remove(&ticket).is_none() {
            self.call();
        }
    }

    /// There may be room for one more.
    pub(crate) const fn call(&mut self) {
        self.calls = self.calls.saturating_add(1);
    }

    /// The next waker, if a call is pending.
    pub(crate) fn pop_called(&mut self) -> Option<Waker> {
        // A call is forgotten when nothing waits: a later request tries before it waits.
        let calls = self.calls.min(self.waiting.len());
        self.calls = calls.saturating_sub(1);
        if calls > 0 { self.pop() } else { None }
    }

    /// The next waker, called or not.
    pub(crate) fn pop(&mut self) -> Option<Waker> {
        self.waiting.pop_first().map(|(_, waker)| waker)
    }
}

#[cfg(test)]
impl Room {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(room: &mut Room) -> usize {
        std::iter::from_fn(|| room.pop_called()).count()
    }

    #[test]
    fn a_call_wakes_one_request_and_is_passed_on_when_unused() {
        let mut room = Room::default();
        let tickets = [(); 3].map(|()| room.wait(None, Waker::noop()));
        assert_eq!(called(&mut room), 0);
        room.call();
        assert_eq!(called(&mut room), 1, "the first one");
        room.leave(tickets[0]);
        assert_eq!(called(&mut room), 1, "the first one was dropped, so the second one");
        room.found(tickets[1]);
        assert_eq!(called(&mut room), 1, "it found room, so the third one");
        room.call();
        assert_eq!(called(&mut room), 0, "nothing waits");
        room.wait(None, Waker::noop());
        assert_eq!(called(&mut room), 0, "a call that woke nothing is forgotten");
    }

    #[test]
    fn a_request_dropped_before_its_call_does_not_consume_a_call() {
        let mut room = Room::default();
        let tickets = [(); 2].map(|()| room.wait(None, Waker::noop()));
        room.leave(tickets[0]);
        assert_eq!(called(&mut room), 0);
    }
}

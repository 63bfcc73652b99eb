//! Who waits until there is room for a request: first come, first served.

use std::collections::BTreeMap;
use std::task::Waker;

/// A queue for room.
///
/// Whoever is called tries again; who then has no use for the room passes the call on, so that no call is lost.
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
    /// Tells `waker` when there may be room; `ticket` is its place in the queue, if it has one.
    pub(crate) fn wait(&mut self, ticket: Option<Ticket>, waker: &Waker) -> Ticket {
        let ticket = ticket.unwrap_or_else(|| {
            self.next = self.next.wrapping_add(1);
            Ticket(self.next)
        });
        self.waiting.insert(ticket, waker.clone());
        ticket
    }

    /// The room was found: there may be more of it.
    pub(crate) fn found(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
        self.call();
    }

    /// Nobody waits with this ticket any more.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        if self.waiting.remove(&ticket).is_none() {
            self.call();
        }
    }

    /// There may be room for one more.
    pub(crate) const fn call(&mut self) {
        self.calls = self.calls.saturating_add(1);
    }

    /// The next one to be woken for the calls so far.
    pub(crate) fn pop_called(&mut self) -> Option<Waker> {
        // A call that nobody waits for is forgotten: who comes later tries before it waits.
        let calls = self.calls.min(self.waiting.len());
        self.calls = calls.saturating_sub(1);
        if calls > 0 { self.pop() } else { None }
    }

    /// The next one, called or not.
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
    fn a_call_wakes_one_and_is_passed_on_when_it_is_of_no_use() {
        let mut room = Room::default();
        let tickets = [(); 3].map(|()| room.wait(None, Waker::noop()));
        assert_eq!(called(&mut room), 0);
        room.call();
        assert_eq!(called(&mut room), 1, "the first one");
        room.leave(tickets[0]);
        assert_eq!(called(&mut room), 1, "it gave up: the second one");
        room.found(tickets[1]);
        assert_eq!(called(&mut room), 1, "it found room: the third one");
        room.call();
        assert_eq!(called(&mut room), 0, "nobody waits");
        room.wait(None, Waker::noop());
        assert_eq!(called(&mut room), 0, "a call that woke nobody is forgotten");
    }

    #[test]
    fn who_gives_up_without_being_called_takes_no_call_along() {
        let mut room = Room::default();
        let tickets = [(); 2].map(|()| room.wait(None, Waker::noop()));
        room.leave(tickets[0]);
        assert_eq!(called(&mut room), 0);
    }
}

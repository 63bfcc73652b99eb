//! The line of requests that wait for room: first come, first served.
//!
//! A request in the line is handed over as a whole, so its turn does not depend on its future being polled: one that is
//! kept without being polled stalls nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::task::Waker;

use zaichik_client::{Client as Machine, RequestError, RequestId};
use zaichik_proto::Timestamp;

use super::replies::PublisherId;
use super::wakes::{Wakes, keep};

/// Makes a request.
pub(crate) type Ask = Box<dyn FnOnce(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Send>;

/// Requests that wait for room, and the results of those whose turn came. Each belongs to a future, a publisher or a
/// sink of the program, which bounds their number.
#[derive(Debug, Default)]
pub(crate) struct Room {
    waiting: BTreeMap<Ticket, Waiting>,
    /// Requests that were made, or could not be, until their owner asks.
    served: BTreeMap<Ticket, Result<RequestId, RequestError>>,
    last: u64,
}

/// A place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A request in the line.
pub(crate) struct Waiting {
    pub(crate) ask: Ask,
    pub(crate) owner: Waiter,
}

/// Whose request it is.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A future's, with its waker.
    Future(Option<Waker>),
    Publisher(PublisherId),
}

impl Room {
    /// Puts a request at the end of the line.
    pub(crate) fn wait(&mut self, ask: Ask, owner: Waiter) -> Ticket {
        self.last = self.last.wrapping_add(1);
        let ticket = Ticket(self.last);
        self.waiting.insert(ticket, Waiting { ask, owner });
        ticket
    }

    /// Whether nothing waits: a request that is made now overtakes none.
    pub(crate) fn has_no_line(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the first request out of the line; its result is passed to [`served`](Self::served).
    pub(crate) fn next(&mut self) -> Option<(Ticket, Waiting)> {
        self.waiting.pop_first()
    }

    /// The result of a request whose turn came.
    pub(crate) fn served(&mut self, ticket: Ticket, result: Result<RequestId, RequestError>) {
        self.served.insert(ticket, result);
    }

    /// The result of a request, once; before its turn `None`, and the waker is kept.
    pub(crate) fn result(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
    ) -> Option<Result<RequestId, RequestError>> {
        if let Some(Waiting { owner: Waiter::Future(kept), .. }) = self.waiting.get_mut(&ticket) {
            keep(kept, waker);
        }
        self.served.remove(&ticket)
    }

    /// Gives up a place. Returns the request if it was made.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<RequestId> {
        self.waiting.remove(&ticket);
        self.served.remove(&ticket)?.ok()
    }

    /// Wakes every future in the line.
    pub(crate) fn wake_all(&mut self, wakes: &mut Wakes) {
        for waiting in self.waiting.values_mut() {
            if let Waiter::Future(waker) = &mut waiting.owner {
                wakes.extend(waker.take());
            }
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("owner", &self.owner).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Room {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.served.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(room: &mut Room) -> Ticket {
        room.wait(Box::new(Machine::ping), Waiter::Future(None))
    }

    #[test]
    fn the_line_is_served_in_order_and_a_place_can_be_given_up() {
        let mut room = Room::default();
        let [first, second, third] = [(); 3].map(|()| wait(&mut room));
        assert_eq!(room.leave(second), None, "it was not made");
        let served = [room.next(), room.next()].map(|next| next.map(|(ticket, _)| ticket));
        assert_eq!(served, [Some(first), Some(third)]);
        assert!(room.has_no_line());
    }

    #[test]
    fn a_result_is_kept_until_its_owner_takes_it_or_leaves() {
        let mut room = Room::default();
        let tickets = [(); 2].map(|()| wait(&mut room));
        assert_eq!(room.result(tickets[0], Waker::noop()), None);
        for ticket in tickets {
            room.next();
            room.served(ticket, Err(RequestError::Closed));
        }
        assert_eq!(room.result(tickets[0], Waker::noop()), Some(Err(RequestError::Closed)));
        assert_eq!(room.leave(tickets[1]), None, "it was not made");
        assert!(room.is_empty());
    }
}

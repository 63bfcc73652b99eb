//! The state shared by a client's handles and its background task: the state machine, and the wakers of the futures
//! that wait for it.

mod taking;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use zaichik_client::{
    Answer, Client as Machine, ClientConfig, Link, LinkError, RequestError, RequestId, SubscriptionId,
};
use zaichik_proto::Timestamp;

use super::error::ClientError;
use super::readers::Readers;
use super::replies::{Replies, Taken};
use super::room::{Ask, Room, Ticket, Waiter, Waiting};
use super::wakes::{Wakes, keep};
use crate::planted::{Defect, is_planted};
use crate::sync::{Mutex, MutexGuard};
use crate::timeline::Timeline;

/// One client, shared by its handles, its subscriptions and its background task.
#[derive(Debug)]
pub(crate) struct Core {
    clock: Timeline,
    state: Mutex<State>,
}

/// Keeps the client open: when the last one is dropped, the client drains and closes.
#[derive(Debug)]
pub(crate) struct Owner(Arc<Core>);

/// The state that the lock guards.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    /// Why the last attempt to connect failed.
    pub(crate) connect_error: Option<Arc<io::Error>>,
    /// The background task is gone: nothing more will be sent or received.
    abandoned: bool,
    task: Option<Waker>,
    /// The background task stopped reading because there is no room for more.
    pub(crate) is_paused: bool,
    replies: Replies,
    /// Requests that wait for room: each step may make some.
    room: Room,
    readers: Readers,
    /// Subscriptions that were dropped and may still receive events.
    leaving: BTreeSet<SubscriptionId>,
    /// Futures that wait for the link to open or close.
    watchers: Vec<Waker>,
    seen: Phase,
}

/// The states of the link that a future may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    Closed,
}

impl Core {
    pub(crate) fn new(config: ClientConfig, clock: Timeline) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::new(State::new(Machine::new(config))) })
    }

    /// Reads the state, or changes it in a way that the background task need not know about: it is not woken.
    pub(crate) fn quietly<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        self.locked(step, false)
    }

    /// Changes the state, and wakes the background task.
    pub(crate) fn update<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        self.locked(step, true)
    }

    /// The background task ends: every future that waits is woken.
    pub(crate) fn abandon(&self) {
        let wakes = {
            let mut state = self.lock();
            state.warn_of_lost_publishes();
            state.abandoned = true;
            let mut wakes = Wakes::default();
            state.dispatch(self.clock.now(), &mut wakes);
            state.wake_all(&mut wakes);
            wakes
        };
        wakes.run();
    }

    pub(crate) const fn clock(&self) -> &Timeline {
        &self.clock
    }

    fn locked<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T, wake_task: bool) -> T {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        let now = self.clock.now();
        let value = step(&mut state, now);
        let has_made_requests = state.dispatch(now, &mut wakes);
        let may_read_again = state.may_read_again();
        let has_to_send = has_made_requests && !is_planted(Defect::ClientWriteForgotten);
        if wake_task || may_read_again || has_to_send {
            state.is_paused = false;
            wakes.extend(state.task.take());
        }
        drop(state);
        wakes.run();
        value
    }

    /// After a panic in the state machine its state can't be trusted, so the client counts as abandoned.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = PoisonError::into_inner(poisoned);
            state.abandoned = true;
            state
        })
    }
}

impl Owner {
    pub(crate) fn new(core: &Arc<Core>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(core)))
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.update(|state, now| state.machine.close(now));
    }
}

impl State {
    fn new(machine: Machine) -> Self {
        Self {
            machine,
            connect_error: None,
            abandoned: false,
            task: None,
            is_paused: false,
            replies: Replies::default(),
            room: Room::default(),
            readers: Readers::default(),
            leaving: BTreeSet::new(),
            watchers: Vec::new(),
            seen: Phase::Opening,
        }
    }

    /// How the client ended, if it has: closed by the program, or by an error.
    pub(crate) fn over(&self) -> Option<Result<(), ClientError>> {
        match self.machine.link() {
            Link::Closed(None) => Some(Ok(())),
            Link::Closed(Some(reason)) => Some(Err(self.explain(reason))),
            _ if self.abandoned => Some(Err(self.abandonment())),
            Link::Connect { .. } | Link::Handshake | Link::Open | Link::Closing => None,
        }
    }

    /// An error if no more requests can be made.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        match self.over() {
            None => Ok(()),
            Some(over) => Err(over.err().unwrap_or_else(|| RequestError::Closed.into())),
        }
    }

    /// The broker in this program is gone for good.
    pub(crate) const fn give_up(&mut self) {
        self.abandoned = true;
    }

    /// Whether the background task has nothing left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.abandoned || matches!(self.machine.link(), Link::Closed(_))
    }

    /// Whether requests reach the broker right now.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.machine.link(), Link::Open) && !self.abandoned
    }

    /// Whether a future waits for an answer.
    pub(crate) fn awaits_answers(&self) -> bool {
        self.replies.are_awaited()
    }

    /// Wakes the background task when the state changes.
    pub(crate) fn watch_task(&mut self, waker: &Waker) {
        keep(&mut self.task, waker);
    }

    /// Wakes `waker` when the link opens or closes.
    pub(crate) fn watch_link(&mut self, waker: &Waker) {
        if !self.watchers.iter().any(|known| known.will_wake(waker)) {
            self.watchers.push(waker.clone());
        }
    }

    pub(crate) const fn replies(&mut self) -> &mut Replies {
        &mut self.replies
    }

    /// The answer, once; `None` before it has arrived.
    pub(crate) fn take_reply(&mut self, id: RequestId, waker: &Waker) -> Option<Result<Answer, ClientError>> {
        match self.replies.take(id, waker, self.abandoned) {
            Taken::NotYet => None,
            Taken::Answer(answer) => Some(answer.map_err(ClientError::from)),
            Taken::Never => Some(Err(self.abandonment())),
        }
    }

    /// Whether a request may be made now: there is room, and no other request waits for it.
    pub(crate) fn is_free(&self) -> bool {
        self.room.has_no_line() && self.machine.has_room()
    }

    /// [`RequestError::Full`] if other requests wait for room, which one that is made now would overtake.
    pub(crate) fn check_line(&self) -> Result<(), RequestError> {
        if self.room.has_no_line() { Ok(()) } else { Err(RequestError::Full) }
    }

    /// Puts a request at the end of the line; it is made as soon as there is room and nothing is before it.
    pub(crate) fn line_up(&mut self, ask: Ask, owner: Waiter) -> Ticket {
        self.room.wait(ask, owner)
    }

    /// The request that was in the line, once its turn has come.
    pub(crate) fn take_turn(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
    ) -> Option<Result<RequestId, ClientError>> {
        let result = self.room.result(ticket, waker);
        if let Some(Ok(request)) = result {
            return Some(Ok(request));
        }
        // The client's end says more than the error of one request.
        if let Err(over) = self.check() {
            self.room.leave(ticket);
            return Some(Err(over));
        }
        result.map(|result| result.map_err(ClientError::from))
    }

    /// A future or a publisher with a request in the line was dropped.
    pub(crate) fn leave_line(&mut self, ticket: Ticket) {
        if let Some(request) = self.room.leave(ticket) {
            self.replies.forget(request);
        }
    }

    /// The background task ends: publishes that nobody waits for would be lost without a word.
    fn warn_of_lost_publishes(&self) {
        let unanswered = match self.machine.last_error() {
            Some(LinkError::DrainTimeout { unanswered }) => *unanswered,
            _ => self.machine.unanswered_publishes(),
        };
        if unanswered > 0 {
            tracing::warn!(
                unanswered,
                "a client ended with unanswered publishes, which may be lost; await close() before the runtime ends"
            );
        }
    }

    /// Wakes `waker` when a subscription has an event.
    pub(crate) fn watch_subscription(
        &mut self,
        id: SubscriptionId,
        topic: &Arc<str>,
        now: Timestamp,
        waker: &Waker,
    ) {
        self.readers.wait(id, topic, now, waker);
    }

    /// Logs what keeps readers waiting for long; called now and then.
    pub(crate) fn warn_of_waiting_readers(&mut self, now: Timestamp) {
        self.readers.warn(&self.machine, now);
    }

    /// A subscription was dropped: ends it.
    pub(crate) fn leave(&mut self, now: Timestamp, id: SubscriptionId) {
        self.forget_reader(id);
        // Refused only if the subscription has ended already, or the client is about to.
        if let Ok(request) = self.machine.unsubscribe(now, id) {
            self.leaving.insert(id);
            self.replies.expect_leave(request, id);
        }
        self.machine.discard_events(id);
    }

    /// A subscription has ended, and its last event was taken.
    pub(crate) fn forget_reader(&mut self, id: SubscriptionId) {
        self.readers.forget(id);
    }

    fn abandonment(&self) -> ClientError {
        self.connect_error.clone().map_or(ClientError::Abandoned, ClientError::Connect)
    }

    /// The state machine's reason, or the operating system's error if connecting failed.
    fn explain(&self, reason: LinkError) -> ClientError {
        match (&reason, &self.connect_error) {
            (LinkError::ConnectFailed, Some(source)) => ClientError::Connect(Arc::clone(source)),
            _ => ClientError::Ended(reason),
        }
    }

    /// Hands the state machine's answers and events to the futures that wait for them, and makes the requests for which
    /// there is room now; says whether it made any.
    fn dispatch(&mut self, now: Timestamp, wakes: &mut Wakes) -> bool {
        let mut has_made_requests = false;
        loop {
            while let Some((id, answer)) = self.machine.poll_answer() {
                if let Some(left) = self.replies.dispatch(id, answer, wakes) {
                    self.leaving.remove(&left);
                    self.machine.discard_events(left);
                }
            }
            if self.abandoned || !self.serve(now, wakes) {
                break;
            }
            has_made_requests = true;
        }
        while let Some(id) = self.machine.poll_ready() {
            if self.leaving.contains(&id) {
                self.machine.discard_events(id);
            }
            wakes.extend(self.readers.wake(id));
        }
        let phase = match self.machine.link() {
            Link::Open => Phase::Open,
            Link::Closed(_) => Phase::Closed,
            Link::Connect { .. } | Link::Handshake | Link::Closing => Phase::Opening,
        };
        if phase != self.seen {
            self.seen = phase;
            self.watchers.drain(..).for_each(|waker| wakes.push(waker));
            if phase == Phase::Closed {
                self.wake_all(wakes);
            }
        }
        has_made_requests
    }

    /// Makes requests in the order of the line while there is room; says whether there were any.
    fn serve(&mut self, now: Timestamp, wakes: &mut Wakes) -> bool {
        let mut has_served = false;
        while self.machine.has_room()
            && let Some((ticket, Waiting { ask, owner })) = self.room.next()
        {
            has_served = true;
            let result = ask(&mut self.machine, now);
            match (&result, owner) {
                (Ok(request), Waiter::Future(kept)) => self.replies.await_reply(*request, kept.as_ref()),
                (Err(_), Waiter::Future(kept)) => wakes.extend(kept),
                (result, Waiter::Publisher(publisher)) => {
                    if let Ok(request) = result {
                        self.replies.count(*request, publisher);
                    }
                    wakes.extend(self.replies.publisher(publisher).waker.take());
                }
            }
            self.room.served(ticket, result);
        }
        has_served
    }

    /// The client has ended: every future checks again.
    fn wake_all(&mut self, wakes: &mut Wakes) {
        self.watchers.drain(..).for_each(|waker| wakes.push(waker));
        self.room.wake_all(wakes);
        self.replies.wake_all(wakes);
        self.readers.wake_all(wakes);
    }
}

#[cfg(test)]
impl State {
    /// Whether nothing waits.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.replies.is_empty() && self.readers.is_empty() && self.leaving.is_empty() && self.room.is_empty()
    }
}

//! What a client's handles and its background task share: the state machine, and who waits for what.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use zaichik_client::{
    Answer, Client as Machine, ClientConfig, Link, RequestError, RequestId, SubscriptionId,
};
use zaichik_proto::Timestamp;

use super::error::ClientError;
use super::room::Room;
use crate::clock::Clock;
use crate::sync::{Mutex, MutexGuard};

/// One client, shared by its handles, its subscriptions and its background task.
#[derive(Debug)]
pub(crate) struct Core {
    clock: Clock,
    state: Mutex<State>,
}

/// Keeps the client open: when the last one is dropped, the client drains and closes.
#[derive(Debug)]
pub(crate) struct Owner(Arc<Core>);

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    /// Why the last attempt to connect failed.
    pub(crate) connect_error: Option<Arc<io::Error>>,
    /// The background task is gone: nothing will be sent or received any more.
    abandoned: bool,
    task: Option<Waker>,
    /// The background task stopped reading because there is no room for what comes.
    pub(crate) is_paused: bool,
    replies: HashMap<RequestId, Reply>,
    publishers: HashMap<PublisherId, InFlight>,
    next_publisher: u64,
    /// Who waits for room for a request: each answer, read and write may make some.
    pub(crate) room: Room,
    readers: HashMap<SubscriptionId, Option<Waker>>,
    /// Subscriptions that were dropped and may still get something.
    leaving: BTreeSet<SubscriptionId>,
    /// Who waits for the link to open or close.
    watchers: Vec<Waker>,
    seen: Phase,
}

/// Where the answer to a request goes.
#[derive(Debug)]
enum Reply {
    /// To a future that waits for it.
    Awaited(Option<Waker>),
    /// It is here.
    Arrived(Result<Answer, RequestError>),
    /// To a publisher's count.
    Counted(PublisherId),
    /// To nobody: it tells that nothing more comes of a subscription that was dropped.
    Left(SubscriptionId),
}

/// A publisher of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PublisherId(u64);

/// What a publisher waits for.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    pub(crate) requests: usize,
    pub(crate) error: Option<ClientError>,
    pub(crate) waker: Option<Waker>,
}

/// As much of the link as somebody may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    Closed,
}

impl Core {
    pub(crate) fn new(config: ClientConfig, clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::new(State::new(Machine::new(config))) })
    }

    /// Looks at the state, or takes something out of it that leaves nothing for the background task to do.
    pub(crate) fn look<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        self.locked(step, false)
    }

    /// Changes the state, and lets the background task see to what follows.
    pub(crate) fn change<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        self.locked(step, true)
    }

    /// The background task ends: whoever waits is told.
    pub(crate) fn abandon(&self) {
        let wakes = {
            let mut state = self.lock();
            state.abandoned = true;
            let mut wakes = Wakes::default();
            state.dispatch(&mut wakes);
            state.wake_all(&mut wakes);
            wakes
        };
        wakes.run();
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    fn locked<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T, wake_task: bool) -> T {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        let now = self.clock.now();
        let value = step(&mut state, now);
        state.dispatch(&mut wakes);
        // Taking a message may have made room for the next one, and the stream was not asked for that.
        let is_unasked = state.is_paused && state.machine.wants_read();
        if wake_task || is_unasked {
            state.is_paused = false;
            wakes.extend(state.task.take());
        }
        drop(state);
        wakes.run();
        value
    }

    /// After a panic of the machine its state can't be trusted, so that the client counts as abandoned.
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
        self.0.change(|state, now| state.machine.close(now));
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
            replies: HashMap::new(),
            publishers: HashMap::new(),
            next_publisher: 0,
            room: Room::default(),
            readers: HashMap::new(),
            leaving: BTreeSet::new(),
            watchers: Vec::new(),
            seen: Phase::Opening,
        }
    }

    /// Whether the client is over: as it was asked to be, or for another reason.
    pub(crate) fn over(&self) -> Option<Result<(), ClientError>> {
        match self.machine.link() {
            Link::Closed(None) => Some(Ok(())),
            Link::Closed(Some(reason)) => Some(Err(self.explain(reason))),
            _ if self.abandoned => Some(Err(self.abandonment())),
            Link::Connect { .. } | Link::Handshake | Link::Open | Link::Closing => None,
        }
    }

    /// Why nothing can be asked any more.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        match self.over() {
            None => Ok(()),
            Some(over) => Err(over.err().unwrap_or_else(|| RequestError::Closed.into())),
        }
    }

    /// There is no broker to connect to any more, and there never will be.
    pub(crate) const fn give_up(&mut self) {
        self.abandoned = true;
    }

    /// Whether there is anything left for the background task to do.
    pub(crate) fn is_over(&self) -> bool {
        self.abandoned || matches!(self.machine.link(), Link::Closed(_))
    }

    /// Whether requests reach the broker right now.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.machine.link(), Link::Open) && !self.abandoned
    }

    /// The background task is to be told when the state changes.
    pub(crate) fn watch_task(&mut self, waker: &Waker) {
        keep(&mut self.task, waker);
    }

    /// Tells `waker` when the link opens or closes.
    pub(crate) fn watch_link(&mut self, waker: &Waker) {
        if !self.watchers.iter().any(|known| known.will_wake(waker)) {
            self.watchers.push(waker.clone());
        }
    }

    /// A future waits for this answer, or will.
    pub(crate) fn await_reply(&mut self, id: RequestId, waker: Option<&Waker>) {
        self.replies.insert(id, Reply::Awaited(waker.cloned()));
    }

    /// The answer, once; `None` while it is not here.
    pub(crate) fn take_reply(&mut self, id: RequestId, waker: &Waker) -> Option<Result<Answer, ClientError>> {
        match self.replies.get_mut(&id) {
            Some(Reply::Awaited(kept)) if !self.abandoned => {
                keep(kept, waker);
                return None;
            }
            Some(Reply::Counted(_) | Reply::Left(_)) => return None,
            Some(Reply::Arrived(_) | Reply::Awaited(_)) | None => {}
        }
        match self.replies.remove(&id) {
            Some(Reply::Arrived(answer)) => Some(answer.map_err(ClientError::from)),
            _ => Some(Err(self.abandonment())),
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn forget_reply(&mut self, id: RequestId) {
        self.replies.remove(&id);
    }

    pub(crate) fn add_publisher(&mut self) -> PublisherId {
        self.next_publisher = self.next_publisher.wrapping_add(1);
        let id = PublisherId(self.next_publisher);
        self.publishers.insert(id, InFlight::default());
        id
    }

    pub(crate) fn publisher(&mut self, id: PublisherId) -> &mut InFlight {
        self.publishers.entry(id).or_default()
    }

    pub(crate) fn remove_publisher(&mut self, id: PublisherId) {
        self.publishers.remove(&id);
    }

    /// The answer of a request goes to a publisher.
    pub(crate) fn count_reply(&mut self, id: RequestId, publisher: PublisherId) {
        self.replies.insert(id, Reply::Counted(publisher));
        let in_flight = self.publisher(publisher);
        in_flight.requests = in_flight.requests.saturating_add(1);
    }

    /// Tells `waker` when a subscription got something.
    pub(crate) fn watch_subscription(&mut self, id: SubscriptionId, waker: &Waker) {
        keep(self.readers.entry(id).or_default(), waker);
    }

    /// Nobody takes a subscription's messages any more.
    pub(crate) fn leave(&mut self, now: Timestamp, id: SubscriptionId) {
        self.forget_reader(id);
        // Refused only if the subscription has ended already, or the client is about to.
        if let Ok(request) = self.machine.unsubscribe(now, id) {
            self.leaving.insert(id);
            self.replies.insert(request, Reply::Left(id));
        }
        self.discard(id);
    }

    /// A subscription has ended, and its end was taken.
    pub(crate) fn forget_reader(&mut self, id: SubscriptionId) {
        self.readers.remove(&id);
    }

    /// Takes what is left of a subscription that nobody listens to.
    fn discard(&mut self, id: SubscriptionId) {
        while self.machine.poll_event(id).is_some() {}
    }

    fn abandonment(&self) -> ClientError {
        self.connect_error.clone().map_or(ClientError::Abandoned, ClientError::Connect)
    }

    /// The machine's own words, or what the operating system said about connecting.
    fn explain(&self, reason: zaichik_client::LinkError) -> ClientError {
        match (&reason, &self.connect_error) {
            (zaichik_client::LinkError::ConnectFailed, Some(source)) => {
                ClientError::Connect(Arc::clone(source))
            }
            _ => ClientError::Ended(reason),
        }
    }

    /// Brings what the machine has for its users to them.
    fn dispatch(&mut self, wakes: &mut Wakes) {
        while let Some((id, answer)) = self.machine.poll_answer() {
            self.dispatch_answer(id, answer, wakes);
            self.room.call();
        }
        while let Some(waker) = self.room.pop_called() {
            wakes.push(waker);
        }
        while let Some(id) = self.machine.poll_ready() {
            if self.leaving.contains(&id) {
                self.discard(id);
            }
            wakes.extend(self.readers.get_mut(&id).and_then(Option::take));
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
    }

    fn dispatch_answer(&mut self, id: RequestId, answer: Result<Answer, RequestError>, wakes: &mut Wakes) {
        match self.replies.get_mut(&id) {
            None | Some(Reply::Arrived(_)) => {}
            Some(reply @ Reply::Awaited(_)) => {
                if let Reply::Awaited(waker) = std::mem::replace(reply, Reply::Arrived(answer)) {
                    wakes.extend(waker);
                }
            }
            Some(Reply::Left(subscription)) => {
                let subscription = *subscription;
                self.replies.remove(&id);
                self.leaving.remove(&subscription);
                self.discard(subscription);
            }
            Some(Reply::Counted(publisher)) => {
                let publisher = *publisher;
                self.replies.remove(&id);
                if let Some(in_flight) = self.publishers.get_mut(&publisher) {
                    in_flight.requests = in_flight.requests.saturating_sub(1);
                    if let Err(error) = answer {
                        in_flight.error.get_or_insert_with(|| error.into());
                    }
                    wakes.extend(in_flight.waker.take());
                }
            }
        }
    }

    /// Everybody is to look again: the client is over.
    fn wake_all(&mut self, wakes: &mut Wakes) {
        self.watchers.drain(..).for_each(|waker| wakes.push(waker));
        while let Some(waker) = self.room.pop() {
            wakes.push(waker);
        }
        for reply in in_order(&mut self.replies) {
            if let Reply::Awaited(waker) = reply {
                wakes.extend(waker.take());
            }
        }
        for in_flight in in_order(&mut self.publishers) {
            wakes.extend(in_flight.waker.take());
        }
        for reader in in_order(&mut self.readers) {
            wakes.extend(reader.take());
        }
    }
}

/// A map's values in the order of their keys: who is woken first must not depend on a hasher's seed.
fn in_order<K: Ord + Copy, V>(map: &mut HashMap<K, V>) -> impl Iterator<Item = &mut V> {
    let mut entries: Vec<_> = map.iter_mut().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    entries.into_iter().map(|(_, value)| value)
}

#[cfg(test)]
impl State {
    /// Whether nobody waits for anything.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.replies.is_empty()
            && self.publishers.is_empty()
            && self.readers.is_empty()
            && self.leaving.is_empty()
            && self.room.is_empty()
    }
}

/// Keeps a waker without cloning one that is already there.
pub(crate) fn keep(kept: &mut Option<Waker>, waker: &Waker) {
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}

/// Who is to be woken after unlocking. Mostly one, which needs no memory.
#[derive(Debug, Default)]
struct Wakes {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakes {
    fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.others.push(waker);
        }
    }

    fn extend(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.push(waker);
        }
    }

    fn run(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}

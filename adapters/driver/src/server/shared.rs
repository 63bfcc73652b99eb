//! The broker behind its lock, and the wakers of its sessions.

mod aftermath;
mod housekeeping;
mod lock;
mod storing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LockResult};
use std::task::Waker;
use std::time::Duration;

use thiserror::Error;
use zaichik_engine::{Broker, Declared, Effects, Session, SessionId, Timestamp, Turn};
use zaichik_proto::{Counter, Refusal, TopicOptions};

use self::aftermath::Aftermath;
use self::lock::Lock;
use super::rejections::Rejections;
use super::store::StoreError;
use super::tasks::Tasks;
use super::turnstile::Turnstile;
use crate::planted::{Defect, is_planted};
use crate::sync::{Mutex, MutexGuard};
use crate::timeline::{Moment, Timeline};

/// One broker, shared by its connections.
#[derive(Debug)]
pub(crate) struct Shared {
    clock: Timeline,
    state: Lock<State>,
    tasks: Arc<Tasks>,
    turnstile: Turnstile,
    /// How long a connection keeps polling after bytes moved, in microseconds.
    busy_poll: AtomicU64,
    rejections: Mutex<Rejections>,
}

/// The broker failed while it was locked; its state can't be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the broker failed; its state can't be trusted")]
pub(crate) struct Poisoned;

/// A new session, and for how long, in total, the broker had not run before.
pub(crate) type Accepted = (Session, Duration);

impl Shared {
    pub(crate) fn new(broker: Broker, clock: Timeline) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Lock::new(State::new(broker)),
            tasks: Arc::new(Tasks::default()),
            turnstile: Turnstile::default(),
            busy_poll: AtomicU64::new(0),
            rejections: Mutex::new(Rejections::default()),
        })
    }

    /// A session for a new connection; `None` once the broker is stopping.
    pub(crate) fn accept(&self) -> Result<Option<Accepted>, Poisoned> {
        self.locked(|state, now| {
            let running = !state.is_stopping();
            // From the first connection on, the time is watched.
            state.wake_housekeeper |= state.broker.session_count() == 0;
            running.then(|| (state.broker.accept(now, &mut state.effects), state.paused))
        })
    }

    /// The time, for a session whose deadlines have moved by the pauses `seen` so far; they move by those since.
    pub(crate) fn now_for(&self, session: &mut Session, seen: &mut Duration) -> Timestamp {
        let moment = self.clock.read();
        if moment.paused > *seen {
            session.resumed(moment.paused.saturating_sub(*seen));
            *seen = moment.paused;
        }
        moment.now
    }

    /// Runs an exchange between a session and the broker, and returns also how many steps of work it was (rule S14); `waker`
    /// is woken when the session has something to pull. One that `is_busy` lets others go first. `stalls` are the writes
    /// since the last exchange that moved no bytes; `seen` is as for [`now_for`](Self::now_for).
    pub(crate) fn exchange(
        &self,
        session: &mut Session,
        seen: &mut Duration,
        (stalls, is_busy): (u32, bool),
        waker: &Waker,
    ) -> Result<(Turn, u64), Poisoned> {
        let order = if is_busy { Lock::lock_behind_others } else { Lock::lock };
        self.locked_in(order, |state, now| {
            let missed = state.paused.saturating_sub(*seen);
            if missed > Duration::ZERO {
                session.resumed(missed);
                *seen = state.paused;
            }
            if stalls > 0 {
                state.broker.count(Counter::WriteStalls, u64::from(stalls));
            }
            state.watch(session.id(), waker);
            let before = state.broker.steps();
            let turn = session.exchange(now, &mut state.broker, &mut state.effects);
            (turn, state.broker.steps().saturating_sub(before))
        })
    }

    /// Forgets a session. After a panic in the broker it wakes all tasks instead, so that they end.
    pub(crate) fn detach(&self, id: SessionId) {
        let detached = self.locked(|state, now| {
            state.forget(id);
            state.broker.detach(now, id, &mut state.effects);
        });
        if detached.is_err() {
            self.wake_all();
        }
    }

    /// Stops: connections finish their work, and end at once when `grace` is over.
    ///
    /// A later call can shorten `grace`, never lengthen it.
    pub(crate) fn drain(&self, grace: Duration) {
        let drained = self.locked(|state, now| {
            let at = now + grace;
            if state.stop_at.is_some_and(|earlier| earlier <= at) {
                return;
            }
            (state.stop_at, state.grace_ends) = (Some(at), Some(at));
            state.broker.drain(now, grace, &mut state.effects);
            state.wake_housekeeper = true;
        });
        if drained.is_err() {
            self.wake_all();
        }
        self.tasks.wake_waiting();
    }

    /// Ends every connection at once.
    pub(crate) fn abort(&self) {
        self.lock_even_if_poisoned().stop_at = Some(Timestamp::MAX);
        self.tasks.abort();
        self.wake_all();
    }

    /// The same, and its store is not waited for if it has no space.
    pub(crate) fn abandon(&self) {
        self.lock_even_if_poisoned().grace_ends = None;
        self.abort();
    }

    /// Whether the broker is stopping.
    pub(crate) fn is_stopping(&self) -> Result<bool, Poisoned> {
        self.state.lock().map(|state| state.is_stopping()).map_err(|_| Poisoned)
    }

    /// Reads from the broker.
    pub(crate) fn inspect<T>(&self, read: impl FnOnce(&Broker) -> T) -> Result<T, Poisoned> {
        let _alarm = PanicAlarm(self);
        self.state.lock().map(|state| read(&state.broker)).map_err(|_| Poisoned)
    }

    /// Changes the broker in a way that has no effects on sessions.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Broker)) -> Result<(), Poisoned> {
        let _alarm = PanicAlarm(self);
        self.state.lock().map(|mut state| update(&mut state.broker)).map_err(|_| Poisoned)
    }

    /// Declares a topic (rule T8).
    pub(crate) fn declare_topic(
        &self,
        name: &str,
        options: &TopicOptions,
        alter: bool,
    ) -> Result<Result<Declared, Refusal>, Poisoned> {
        self.locked(|state, now| state.broker.declare_topic(now, name, options, alter, &mut state.effects))
    }

    /// The line of busy connections.
    pub(super) const fn turnstile(&self) -> &Turnstile {
        &self.turnstile
    }

    pub(crate) const fn clock(&self) -> &Timeline {
        &self.clock
    }

    /// How long a connection polls for more bytes before it sleeps.
    pub(crate) fn busy_poll(&self) -> Duration {
        Duration::from_micros(self.busy_poll.load(Ordering::Relaxed))
    }

    pub(crate) fn set_busy_poll(&self, time: Duration) {
        self.busy_poll.store(zaichik_proto::micros(time), Ordering::Relaxed);
    }

    /// Counts a client whose token was refused; as for [`Rejections::record`].
    pub(crate) fn reject(&self) -> Option<u64> {
        let mut rejections = self.rejections.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        rejections.record(self.clock.now())
    }

    pub(crate) const fn tasks(&self) -> &Arc<Tasks> {
        &self.tasks
    }

    fn locked<T>(&self, step: impl FnOnce(&mut State, Timestamp) -> T) -> Result<T, Poisoned> {
        self.locked_in(Lock::lock, step)
    }

    /// The only way to change the broker: reads the clock under the lock, taken in this order, and handles the effects
    /// after unlocking.
    fn locked_in<T>(
        &self,
        order: impl FnOnce(&Lock<State>) -> LockResult<MutexGuard<'_, State>>,
        step: impl FnOnce(&mut State, Timestamp) -> T,
    ) -> Result<T, Poisoned> {
        let mut aftermath = Aftermath::new();
        let _alarm = PanicAlarm(self);
        let mut state = order(&self.state).map_err(|_| Poisoned)?;
        state.effects.set_notes(tracing::enabled!(tracing::Level::DEBUG));
        let moment = self.clock.read();
        state.catch_up(&moment);
        let value = step(&mut state, moment.now);
        state.collect(&mut aftermath);
        drop(state);
        aftermath.run();
        Ok(value)
    }

    /// Wakes every task, also after a panic: the wakers are valid even if the broker is not.
    fn wake_all(&self) {
        let housekeeper = self.lock_even_if_poisoned().housekeeper.take();
        housekeeper.into_iter().for_each(Waker::wake);
        self.tasks.wake_all();
    }

    fn lock_even_if_poisoned(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The state that the lock guards.
#[derive(Debug)]
struct State {
    broker: Broker,
    effects: Effects,
    /// When connections are aborted, if the broker is stopping; `MAX` once they were.
    stop_at: Option<Timestamp>,
    /// By slot: the session, and its waker until it is woken. Each exchange sets the waker again, so a session is
    /// woken at most once between exchanges. To wake all connections at once, use `tasks`.
    sessions: Vec<Option<(SessionId, Option<Waker>)>>,
    housekeeper: Option<Waker>,
    wake_housekeeper: bool,
    /// When the grace of a drain is over. It is not set by an abort.
    grace_ends: Option<Timestamp>,
    /// Of the threads of the store, if there is one and they have begun.
    storekeeper: Option<Waker>,
    store_reader: Option<Waker>,
    /// Housekeeping has ended.
    is_over: bool,
    store_error: Option<StoreError>,
    /// The pauses and steps back of the clock that the broker was notified of.
    paused: Duration,
    steps_back: u64,
}

impl State {
    fn new(broker: Broker) -> Self {
        Self {
            broker,
            effects: Effects::new(),
            stop_at: None,
            sessions: Vec::new(),
            housekeeper: None,
            wake_housekeeper: false,
            grace_ends: None,
            storekeeper: None,
            store_reader: None,
            is_over: false,
            store_error: None,
            paused: Duration::ZERO,
            steps_back: 0,
        }
    }

    /// Notifies the broker of what happened to the clock.
    fn catch_up(&mut self, moment: &Moment) {
        if moment.paused > self.paused {
            let pause = moment.paused.saturating_sub(self.paused);
            self.paused = moment.paused;
            self.broker.resumed(pause);
            tracing::info!(
                ?pause,
                "the broker did not run, or the wall clock was set forward; deadlines wait"
            );
        }
        if moment.steps_back > self.steps_back {
            self.broker.clock_stepped_back(moment.steps_back.saturating_sub(self.steps_back));
            self.steps_back = moment.steps_back;
            tracing::warn!("the wall clock was set back; time passes at half speed until it has caught up");
        }
    }

    const fn is_stopping(&self) -> bool {
        self.stop_at.is_some()
    }

    fn watch(&mut self, id: SessionId, waker: &Waker) {
        let slot = id.slot();
        if slot >= self.sessions.len() {
            self.sessions.resize_with(slot.saturating_add(1), || None);
        }
        match self.sessions.get_mut(slot) {
            Some(Some((owner, Some(known)))) if *owner == id && known.will_wake(waker) => {}
            // A session that ended, or was refused, may share its slot with a newer one.
            Some(Some((owner, _))) if *owner > id && !is_planted(Defect::WakerOverwritten) => {}
            Some(entry) => *entry = Some((id, Some(waker.clone()))),
            None => {}
        }
    }

    fn forget(&mut self, id: SessionId) {
        if let Some(entry) = self.sessions.get_mut(id.slot())
            && entry.as_ref().is_some_and(|(owner, _)| *owner == id || is_planted(Defect::WakerRemoved))
        {
            *entry = None;
        }
    }

    fn take_waker(&mut self, id: SessionId) -> Option<Waker> {
        let (owner, waker) = self.sessions.get_mut(id.slot())?.as_mut()?;
        if *owner == id { waker.take() } else { None }
    }

    /// Collects the work to be done after unlocking.
    fn collect(&mut self, aftermath: &mut Aftermath) {
        while !aftermath.is_full() || is_planted(Defect::WakesDropped) {
            let Some(id) = self.effects.pop_wake() else {
                break;
            };
            if let Some(waker) = self.take_waker(id) {
                aftermath.push(waker);
            }
        }
        while let Some(note) = self.effects.pop_note() {
            aftermath.notes.push(note);
        }
        if self.effects.take_store() {
            aftermath.store.clone_from(&self.storekeeper);
        }
        if self.effects.take_fetch() {
            aftermath.reader.clone_from(&self.store_reader);
        }
        let rest = aftermath.is_full();
        if self.effects.take_rearm() || self.wake_housekeeper || rest {
            self.wake_housekeeper = false;
            aftermath.housekeeper = self.housekeeper.take();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Each connection holds the state, so there are none to wake.
        self.effects.clear();
    }
}

/// Wakes all tasks if the broker panics under its lock. Drop it after the lock.
struct PanicAlarm<'a>(&'a Shared);

impl Drop for PanicAlarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.wake_all();
        }
    }
}

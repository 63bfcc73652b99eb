//! The tasks of a simulation, those that are ready, and the simulation of the current thread.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use crate::network::Network;
use crate::random::Random;
use crate::time::Time;

/// One simulation's tasks, clock and network.
pub(crate) struct Executor {
    time: Arc<Time>,
    network: Arc<Network>,
    ready: Arc<Ready>,
    tasks: RefCell<BTreeMap<TaskId, Task>>,
    last_id: Cell<u64>,
    random: RefCell<Random>,
}

/// Names a task of a simulation; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

impl TaskId {
    /// The main program of a run.
    pub(crate) const MAIN: Self = Self(0);
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

/// Tasks that were woken. It is a set, so the order of the wakes has no effect.
#[derive(Debug, Default)]
struct Ready(Mutex<BTreeSet<TaskId>>);

/// Makes a task ready.
struct Awakening {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Executor {
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            time: Arc::new(Time::new()),
            network: Arc::default(),
            ready: Arc::default(),
            tasks: RefCell::default(),
            last_id: Cell::new(TaskId::MAIN.0),
            random: RefCell::new(Random::new(seed)),
        })
    }

    pub(crate) const fn time(&self) -> &Arc<Time> {
        &self.time
    }

    pub(crate) const fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// A number drawn from the seed.
    pub(crate) fn random(&self) -> u128 {
        let mut random = self.random.borrow_mut();
        (u128::from(random.next()) << 64) | u128::from(random.next())
    }

    /// Runs a future in the background.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let id = TaskId(self.last_id.get().saturating_add(1));
        self.last_id.set(id.0);
        let waker = self.waker(id);
        waker.wake_by_ref();
        self.tasks.borrow_mut().insert(id, Task { future: Box::pin(future), waker });
    }

    /// A waker that makes a task ready.
    pub(crate) fn waker(&self, id: TaskId) -> Waker {
        Waker::from(Arc::new(Awakening { id, ready: Arc::clone(&self.ready) }))
    }

    /// Removes one of the ready tasks, picked at random.
    pub(crate) fn next_ready(&self) -> Option<TaskId> {
        let mut ready = self.ready.lock();
        let index = self.random.borrow_mut().index(ready.len());
        let id = *ready.iter().nth(index)?;
        ready.remove(&id);
        Some(id)
    }

    /// Polls a background task.
    pub(crate) fn poll(&self, id: TaskId) {
        // It may spawn others, so the list must not be borrowed.
        let task = self.tasks.borrow_mut().remove(&id);
        if let Some(mut task) = task
            && task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_pending()
        {
            self.tasks.borrow_mut().insert(id, task);
        }
    }

    /// The number of background tasks.
    pub(crate) fn background(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Drops the background tasks.
    pub(crate) fn clear(&self) {
        let tasks = self.tasks.take();
        drop(tasks);
    }

    /// Makes this the current simulation of the thread until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered { before: CURRENT.replace(Some(Rc::clone(self))) }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("time", &self.time).finish_non_exhaustive()
    }
}

impl Ready {
    /// The state is valid even after a panic: no step under the lock calls other code.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Awakening {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.lock().insert(self.id);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
    /// The time at which the thread's last simulation stopped.
    static STOOD_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether a simulation runs on this thread.
pub(crate) fn is_running() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// The simulation that runs on this thread.
///
/// # Panics
/// If none does.
#[track_caller]
#[expect(clippy::expect_used, reason = "every public function that can reach it documents the panic")]
pub(crate) fn current() -> Rc<Executor> {
    CURRENT
        .with_borrow(Clone::clone)
        .expect("no simulation runs on this thread: call this inside Simulation::run")
}

/// The time of the thread's simulation, or the time at which its last one stopped; `None` if it had none.
pub(crate) fn time_here() -> Option<Instant> {
    // A client may be dropped by a thread that is about to end.
    let running = CURRENT.try_with(|current| current.borrow().as_ref().map(|executor| executor.time.now()));
    running.ok().flatten().or_else(|| STOOD_AT.try_with(Cell::get).ok().flatten())
}

/// A guard: dropping it restores the previous simulation of the thread.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<Rc<Executor>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        STOOD_AT.set(time_here());
        let left = CURRENT.replace(self.before.take());
        // Dropped after the borrow ends: this may be the last reference to the simulation.
        drop(left);
    }
}

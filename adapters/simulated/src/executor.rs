//! What runs in a simulation: its tasks, which of them are ready, and which simulation is the thread's.

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

/// Names a task of a simulation; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

impl TaskId {
    /// The future that a run is about.
    pub(crate) const MAIN: Self = Self(0);
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

/// Tasks that were woken. A set: in which order they were woken makes no difference.
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

    /// What makes a task ready.
    pub(crate) fn waker(&self, id: TaskId) -> Waker {
        Waker::from(Arc::new(Awakening { id, ready: Arc::clone(&self.ready) }))
    }

    /// Draws one of the tasks that are ready, which no longer is.
    pub(crate) fn next_ready(&self) -> Option<TaskId> {
        let mut ready = self.ready.lock();
        let index = self.random.borrow_mut().index(ready.len());
        let id = *ready.iter().nth(index)?;
        ready.remove(&id);
        Some(id)
    }

    /// Polls a task of the background.
    pub(crate) fn poll(&self, id: TaskId) {
        // It may start others, so the list is free meanwhile.
        let task = self.tasks.borrow_mut().remove(&id);
        if let Some(mut task) = task
            && task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_pending()
        {
            self.tasks.borrow_mut().insert(id, task);
        }
    }

    /// How many tasks there are in the background.
    pub(crate) fn background(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Drops the tasks of the background.
    pub(crate) fn clear(&self) {
        let tasks = self.tasks.take();
        drop(tasks);
    }

    /// Makes this simulation the thread's, as long as what is returned is kept.
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
    /// It is right after a panic too: no step of it calls anything.
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
    /// Where the time of the simulation stands that was the thread's last.
    static STOOD_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether a simulation runs on this thread.
pub(crate) fn is_running() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// The simulation that runs on this thread.
///
/// # Panics
/// If there is none.
#[track_caller]
#[expect(
    clippy::expect_used,
    reason = "documented wherever it can be reached: there is nothing to go on with"
)]
pub(crate) fn current() -> Rc<Executor> {
    CURRENT
        .with_borrow(Clone::clone)
        .expect("no simulation runs on this thread: call this inside Simulation::run")
}

/// The time of the thread's simulation, or where it stood last; `None` if the thread had none.
pub(crate) fn time_here() -> Option<Instant> {
    // A client may be dropped by a thread that is about to end.
    let running = CURRENT.try_with(|current| current.borrow().as_ref().map(|executor| executor.time.now()));
    running.ok().flatten().or_else(|| STOOD_AT.try_with(Cell::get).ok().flatten())
}

/// A simulation that is the thread's; the one before is again when this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<Rc<Executor>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        STOOD_AT.set(time_here());
        let left = CURRENT.replace(self.before.take());
        // Not while the list is borrowed: it may be the last one that holds the simulation.
        drop(left);
    }
}

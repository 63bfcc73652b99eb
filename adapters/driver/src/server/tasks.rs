//! The background tasks of one broker: their number, the wakers that wait for their end, and ending all of them at
//! once.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use slab::Slab;

use crate::sync::{AtomicBool, Mutex, MutexGuard};

/// The background tasks of one broker.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
    aborted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The waker of each connection's task, from its first poll on. Unlike the wakers of sessions, these outlive the
    /// session. They are needed when all connections have to end, even after a panic in the broker, whose state can't
    /// be trusted then.
    connections: Slab<Option<Waker>>,
    housekeepers: usize,
    /// Wakers to call when a task ends: housekeeping's, and those waiting for the broker's end. Only a few.
    waiting: Vec<Waker>,
}

/// The entry of a connection's task. The task must drop it last.
#[derive(Debug)]
pub(crate) struct ConnectionEntry {
    tasks: Arc<Tasks>,
    key: usize,
    /// The waker in the table.
    waker: Option<Waker>,
}

/// The entry of a housekeeping task. The task must drop it last.
#[derive(Debug)]
pub(crate) struct HousekeeperEntry(Arc<Tasks>);

impl Tasks {
    /// Counts a connection's task until the entry is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> ConnectionEntry {
        let key = self.lock().connections.insert(None);
        ConnectionEntry { tasks: Arc::clone(self), key, waker: None }
    }

    /// Counts a housekeeping task until the entry is dropped.
    pub(crate) fn enter_housekeeper(self: &Arc<Self>) -> HousekeeperEntry {
        let mut state = self.lock();
        state.housekeepers = state.housekeepers.saturating_add(1);
        drop(state);
        HousekeeperEntry(Arc::clone(self))
    }

    /// Whether there is no connection. If there is one, `waker` is woken when that may have changed.
    pub(crate) fn no_connections(&self, waker: &Waker) -> bool {
        self.check(waker, |state| state.connections.is_empty())
    }

    /// Whether there is no task. If there is one, `waker` is woken when that may have changed.
    pub(crate) fn none(&self, waker: &Waker) -> bool {
        self.check(waker, |state| state.connections.is_empty() && state.housekeepers == 0)
    }

    /// Calls the waiting wakers for a reason other than the end of a task.
    pub(crate) fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Calls all wakers: those of connections, and the waiting ones.
    pub(crate) fn wake_all(&self) {
        let connections: Vec<Waker> =
            self.lock().connections.iter().filter_map(|(_, waker)| waker.clone()).collect();
        connections.into_iter().for_each(Waker::wake);
        self.wake_waiting();
    }

    /// Makes every connection end at once.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.wake_all();
    }

    fn check(&self, waker: &Waker, holds: impl FnOnce(&State) -> bool) -> bool {
        let mut state = self.lock();
        let holds = holds(&state);
        if !holds && !state.waiting.iter().any(|known| known.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        holds
    }

    /// The counts are valid even after a panic: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionEntry {
    /// Sets the waker of the task; call it at each poll.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        if self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        self.waker = Some(waker.clone());
        if let Some(known) = self.tasks.lock().connections.get_mut(self.key) {
            *known = Some(waker.clone());
        }
    }

    /// Whether the connection must end at once.
    pub(crate) fn is_aborted(&self) -> bool {
        self.tasks.aborted.load(Ordering::Acquire)
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        state.connections.try_remove(self.key);
        let last = state.connections.is_empty();
        drop(state);
        if last {
            self.tasks.wake_waiting();
        }
    }
}

impl Drop for HousekeeperEntry {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.housekeepers = state.housekeepers.saturating_sub(1);
        drop(state);
        self.0.wake_waiting();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_task_to_end_wakes_the_waiting_wakers() {
        let tasks = Arc::new(Tasks::default());
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let (first, second) = (tasks.enter(), tasks.enter());
        assert!(!tasks.none(&waker));
        drop(first);
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
        drop(second);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert!(tasks.none(&waker));
    }

    #[test]
    fn an_abort_reaches_every_connection() {
        let tasks = Arc::new(Tasks::default());
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut entries = [tasks.enter(), tasks.enter()];
        for entry in &mut entries {
            entry.watch(&waker);
        }
        tasks.abort();
        assert_eq!(counter.0.load(Ordering::Relaxed), 2);
        assert!(entries.iter().all(ConnectionEntry::is_aborted));
    }
}

//! How many background tasks a broker has, and who waits for them to end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The background tasks of one broker.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    housekeepers: usize,
    /// Who wants to hear when a task ends: housekeeping and whoever waits for the broker's end. A few.
    waiting: Vec<Waker>,
}

/// What a task is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Connection,
    Housekeeper,
}

/// A task that is running; dropped as the last thing that the task owns.
#[derive(Debug)]
pub(crate) struct Presence {
    tasks: Arc<Tasks>,
    role: Role,
}

impl Tasks {
    /// Counts a task until the presence is dropped.
    pub(crate) fn enter(self: &Arc<Self>, role: Role) -> Presence {
        let mut state = self.lock();
        let count = state.count(role);
        *count = count.saturating_add(1);
        drop(state);
        Presence {
            tasks: Arc::clone(self),
            role,
        }
    }

    /// Whether no connection is left. If not, `waker` is told when that may have changed.
    pub(crate) fn no_connections(&self, waker: &Waker) -> bool {
        self.check(waker, |state| state.connections == 0)
    }

    /// Whether nothing is left. If not, `waker` is told when that may have changed.
    pub(crate) fn none(&self, waker: &Waker) -> bool {
        self.check(waker, |state| state.connections == 0 && state.housekeepers == 0)
    }

    /// Wakes everybody who waits, for another reason than a task's end.
    pub(crate) fn wake(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn check(&self, waker: &Waker, holds: impl FnOnce(&State) -> bool) -> bool {
        let mut state = self.lock();
        let holds = holds(&state);
        if !holds && !state.waiting.iter().any(|known| known.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        holds
    }

    /// Counters are right after a panic as well: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn count(&mut self, role: Role) -> &mut usize {
        match role {
            Role::Connection => &mut self.connections,
            Role::Housekeeper => &mut self.housekeepers,
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        let count = state.count(self.role);
        *count = count.saturating_sub(1);
        let last = *count == 0;
        drop(state);
        if last {
            self.tasks.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_out_wakes_who_waits() {
        let tasks = Arc::new(Tasks::default());
        let (count, waker) = futures_test_waker();
        let first = tasks.enter(Role::Connection);
        let second = tasks.enter(Role::Connection);
        assert!(!tasks.none(&waker));
        drop(first);
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 0);
        drop(second);
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(tasks.none(&waker));
    }

    fn futures_test_waker() -> (Arc<std::sync::atomic::AtomicUsize>, Waker) {
        struct Counter(Arc<std::sync::atomic::AtomicUsize>);
        impl std::task::Wake for Counter {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let waker = Waker::from(Arc::new(Counter(Arc::clone(&count))));
        (count, waker)
    }
}

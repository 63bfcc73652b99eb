//! A program that runs in simulated time.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::executor::{self, Executor, TaskId};
use crate::time::Stuck;

/// Default time limit of a run, in simulated time.
const TIME_LIMIT: Duration = Duration::from_hours(30 * 24);

/// Maximum polls without time passing.
const POLLS_AT_ONCE: u64 = if cfg!(test) { 10_000 } else { 10_000_000 };

/// Simulated time, and the tasks and the network in it, on one thread.
///
/// Dropping it drops the tasks that still run in it.
///
/// ```
/// use zaichik_simulated::{Simulation, now, spawn};
/// let run = |seed| {
///     Simulation::with_seed(seed).run(async {
///         let first = spawn(async { now() });
///         let second = spawn(async { now() });
///         (first.await, second.await)
///     })
/// };
/// let (first, second) = run(7);
/// assert_eq!(first, second, "no time passes while a task can run");
/// ```
#[derive(Debug)]
pub struct Simulation {
    executor: Rc<Executor>,
    time_limit: Duration,
}

impl Simulation {
    /// A simulation with the seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// A simulation whose seed decides which of several tasks runs first, and every random number.
    ///
    /// Runs of a program with the same seed are identical, unless the program uses real time, other random numbers or
    /// the order of a hash map.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self { executor: Executor::new(seed), time_limit: TIME_LIMIT }
    }

    /// Maximum time that may pass in each [`run`](Self::run). Default: 30 days. Since heartbeats never stop while a
    /// client exists, only this limit ends a program that waits for something that never happens.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Runs a program to its end, and its background tasks until then. The next run continues with the unfinished tasks
    /// and the time reached.
    ///
    /// # Panics
    /// If the program can't end: no task can run and no timer is set, the [time limit](Self::time_limit) is reached,
    /// or a task loops (10 million polls without time passing). If it is called inside another simulation. If a task
    /// panics.
    #[track_caller]
    pub fn run<T>(&mut self, program: impl Future<Output = T>) -> T {
        assert!(
            !executor::is_running(),
            "a simulation runs on this thread already; it can't run another one"
        );
        let _entered = self.executor.enter();
        let until = self.executor.time().now().checked_add(self.time_limit);
        let mut program = pin!(program);
        let waker = self.executor.waker(TaskId::MAIN);
        waker.wake_by_ref();
        let mut polls = 0_u64;
        loop {
            if let Some(id) = self.executor.next_ready() {
                polls = polls.saturating_add(1);
                assert!(
                    polls <= POLLS_AT_ONCE,
                    "the simulation loops: {POLLS_AT_ONCE} polls without time passing; a loop that waits for a time must sleep"
                );
                if id != TaskId::MAIN {
                    self.executor.poll(id);
                } else if let Poll::Ready(value) = program.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return value;
                }
                continue;
            }
            polls = 0;
            match self.executor.time().advance(until) {
                Ok(()) => {}
                Err(Stuck::Deadlock) => panic!(
                    "the simulation is stuck: the program and {} background tasks wait, and no timer is set",
                    self.executor.background()
                ),
                Err(Stuck::TimeIsUp) => panic!(
                    "the simulation has not ended within {:?}: what it waits for never happens, or it needs a higher time_limit",
                    self.time_limit
                ),
            }
        }
    }

    /// The simulated time that has passed.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.executor.time().elapsed()
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // Connections and clients notify each other when they end, and read the time.
        let _entered = self.executor.enter();
        self.executor.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::{sleep, spawn};

    #[test]
    #[should_panic(expected = "the simulation loops")]
    fn a_loop_that_waits_for_a_time_without_sleeping_is_reported() {
        Simulation::new().run(async {
            let moment = spawn(sleep(Duration::from_secs(1)));
            drop(moment);
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            })
            .await;
        });
    }

    #[test]
    fn a_loop_that_sleeps_may_run_until_the_time_limit() {
        let mut simulation = Simulation::new();
        simulation.run(async {
            for _ in 0..=POLLS_AT_ONCE {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(simulation.elapsed(), Duration::from_millis(POLLS_AT_ONCE + 1));
    }
}

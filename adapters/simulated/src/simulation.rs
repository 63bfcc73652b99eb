//! A program that runs in simulated time.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::executor::{self, Executor, TaskId};
use crate::time::Stuck;

/// How long a run may take in simulated time, unless it says otherwise.
const TIME_LIMIT: Duration = Duration::from_hours(30 * 24);

/// Polls without time passing after which a program counts as running in circles.
const POLLS_AT_ONCE: u64 = if cfg!(test) { 10_000 } else { 10_000_000 };

/// A thread's worth of tasks, a clock and a network that exist only here.
///
/// Dropping it drops everything that still runs in it.
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
/// assert_eq!(first, second, "no time passes while somebody can run");
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
    /// The same program with the same seed does the same, unless it asks something outside for the time, a number or
    /// the order of a hash map.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self { executor: Executor::new(seed), time_limit: TIME_LIMIT }
    }

    /// How much time may pass in each [`run`](Self::run). Default: 30 days. As long as there is a client, heartbeats
    /// go on for ever; the limit ends a program that waits for what does not come.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Runs a program to its end, and what it starts as long as that takes. What is left of that goes on in the next
    /// run, where time goes on as well.
    ///
    /// # Panics
    /// When the program can't end: nothing can run and no timer is set, the [time limit](Self::time_limit) is
    /// reached, or something runs in circles (10 million polls without time passing). Inside another simulation. And
    /// with whatever a task panics.
    #[track_caller]
    pub fn run<T>(&mut self, program: impl Future<Output = T>) -> T {
        assert!(
            !executor::is_running(),
            "a simulation runs on this thread already: it can't run another one inside"
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
                    "the simulation runs in circles: {POLLS_AT_ONCE} polls without time passing; a loop that waits for a moment has to sleep"
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
                    "the simulation is stuck: the program and {} tasks in the background wait, and no timer is set that could end that",
                    self.executor.background()
                ),
                Err(Stuck::TimeIsUp) => panic!(
                    "the simulation has not ended within {:?}: what it waits for does not come, or it needs a higher time_limit",
                    self.time_limit
                ),
            }
        }
    }

    /// How much time has passed in it.
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
        // Connections and clients tell each other that they end, and what time it is then.
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
    #[should_panic(expected = "the simulation runs in circles")]
    fn a_loop_that_waits_for_a_moment_without_sleeping_is_told_so() {
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
    fn a_loop_that_sleeps_may_go_on_as_long_as_there_is_time() {
        let mut simulation = Simulation::new();
        simulation.run(async {
            for _ in 0..=POLLS_AT_ONCE {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(simulation.elapsed(), Duration::from_millis(POLLS_AT_ONCE + 1));
    }
}

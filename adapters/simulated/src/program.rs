//! What a program asks of the simulation that it runs in: time, tasks, and accidents.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::channel::oneshot;
use zaichik_driver::Timer;

use crate::executor;
use crate::time::{SimulatedTimer, real};

/// The moment that it is in the simulation that runs on this thread.
///
/// Outside of a simulation it is where the last one of this thread stopped, and where there was none, the real one.
#[must_use]
pub fn now() -> Instant {
    executor::time_here().unwrap_or_else(real)
}

/// Waits until so much simulated time has passed, from now on.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let timer = SimulatedTimer::new(executor::current().time());
    Sleep { deadline: now().checked_add(duration), timer }
}

/// What a future gives, or `None` if so much simulated time passes before it is ready.
///
/// # Panics
/// When it is polled outside of a simulation.
pub async fn timeout<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut sleep) = (pin!(future), sleep(duration));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| None),
    })
    .await
}

/// Runs a future in the background of the simulation; awaiting what is returned gives what the future does.
///
/// It need not be `Send`: everything runs on one thread. A panic in it ends the run, whether or not anybody awaits it.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    let (tell, outcome) = oneshot::channel();
    executor::current().spawn(async move {
        // Nobody may be interested any more.
        drop(tell.send(future.await));
    });
    Task { outcome }
}

/// Breaks every connection of the simulation's network, as a network that fails does, and says how many there were.
///
/// What was written before still arrives, and its answers don't. Clients connect again, to whoever listens then.
/// Clients of an [`EmbeddedBroker`](crate::EmbeddedBroker) broker need no network, so theirs go on.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
#[expect(clippy::must_use_candidate, reason = "it is for what it does")]
pub fn break_connections() -> usize {
    executor::current().network().break_all()
}

/// The future of [`sleep`].
///
/// ```
/// use std::time::Duration;
/// use zaichik_simulated::{Simulation, now, sleep};
/// Simulation::new().run(async {
///     let before = now();
///     sleep(Duration::from_hours(24)).await; // takes no time
///     assert_eq!(now() - before, Duration::from_hours(24));
/// });
/// ```
#[derive(Debug)]
#[must_use = "time passes only while it is awaited"]
pub struct Sleep {
    /// `None` if it is too far away to be told, which is never.
    deadline: Option<Instant>,
    timer: SimulatedTimer,
}

/// A future that runs in the background; it goes on when this is dropped.
///
/// # Panics
/// Awaiting it, if its simulation was dropped before it was done.
///
/// ```
/// use zaichik_simulated::{Simulation, spawn};
/// let sum = Simulation::new().run(async {
///     let halves = [spawn(async { (1..=50).sum::<u32>() }), spawn(async { (51..=100).sum() })];
///     let [first, second] = halves;
///     first.await + second.await
/// });
/// assert_eq!(sum, 5_050);
/// ```
#[derive(Debug)]
pub struct Task<T> {
    outcome: oneshot::Receiver<T>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.deadline {
            Some(deadline) => self.timer.poll_until(cx, deadline),
            None => Poll::Pending,
        }
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "documented: there is nothing to give")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.outcome.poll_unpin(cx).map(|outcome| outcome.expect("the simulation of this task was dropped"))
    }
}

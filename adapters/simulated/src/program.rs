//! What a program calls in a simulation: time, tasks, and broken connections.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::channel::oneshot;
use zaichik_driver::Timer;

use crate::executor;
use crate::time::{SimulatedTimer, real};

/// The current time of the simulation on this thread.
///
/// Outside of a simulation, the time at which the last one of this thread stopped; if there was none, the real time.
#[must_use]
pub fn now() -> Instant {
    executor::time_here().unwrap_or_else(real)
}

/// Waits until `duration` of simulated time has passed.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let timer = SimulatedTimer::new(executor::current().time());
    Sleep { deadline: now().checked_add(duration), timer }
}

/// The output of a future, or `None` if `duration` of simulated time passes before it is ready.
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

/// Runs a future in the background of the simulation. Awaiting the task returns the future's output.
///
/// The future need not be `Send`: everything runs on one thread. If it panics, the run ends, whether or not the task is
/// awaited.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    let (tell, outcome) = oneshot::channel();
    executor::current().spawn(async move {
        // The task may have been dropped.
        drop(tell.send(future.await));
    });
    Task { outcome }
}

/// Breaks every connection of the simulation's network, and returns their number.
///
/// Bytes that were written before still arrive, but answers to them do not. Clients reconnect. Clients of an
/// [`EmbeddedBroker`](crate::EmbeddedBroker) do not use the network, so their connections continue.
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
#[expect(clippy::must_use_candidate, reason = "it is called for its effect")]
pub fn break_connections() -> usize {
    executor::current().network().break_all()
}

/// Stops the process, as SIGSTOP does: no task runs for `duration`, and timers that were due meanwhile ring late.
///
/// ```
/// use std::time::Duration;
/// use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, stop_process};
/// Simulation::new().run(async {
///     let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
///     let client = broker.client();
///     client.ping().await.expect("connected");
///     stop_process(Duration::from_hours(1));
///     client.ping().await.expect("the connection survives");
///     assert_eq!(broker.stats().expect("it runs").connections, 1);
/// });
/// ```
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn stop_process(duration: Duration) {
    executor::current().time().stop(duration);
}

/// Suspends the machine: the wall clock advances by `duration`, while [`now`] and timers stand still.
///
/// ```
/// use std::time::Duration;
/// use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, TopicOptions, sleep, suspend_machine};
/// Simulation::new().run(async {
///     let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
///     let client = broker.client();
///     client.create_topic("t", TopicOptions::new().retention_ttl(Duration::from_mins(10))).await.expect("created");
///     client.publish("t", "a").await.expect("accepted");
///     suspend_machine(Duration::from_hours(1));
///     sleep(Duration::from_secs(1)).await;
///     assert_eq!(client.subscribe("t").await.expect("subscribed").start(), 1, "it has expired");
/// });
/// ```
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn suspend_machine(duration: Duration) {
    executor::current().time().suspend(duration);
}

/// Sets the wall clock back by `by`; [`now`] and timers continue. The Unix epoch is the earliest time that it shows.
///
/// ```
/// use std::time::Duration;
/// use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, set_clock_back, sleep};
/// Simulation::new().run(async {
///     let broker = EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid");
///     let client = broker.client();
///     let before = client.publish("t", "a").await.expect("accepted");
///     set_clock_back(Duration::from_hours(1));
///     sleep(Duration::from_secs(1)).await;
///     let after = client.publish("t", "b").await.expect("accepted");
///     assert_eq!((before.offset(0), after.offset(0)), (Some(0), Some(1)));
///     assert_eq!(broker.stats().expect("it runs").clock_steps_back, 1);
/// });
/// ```
///
/// # Panics
/// Outside of a simulation.
#[track_caller]
pub fn set_clock_back(by: Duration) {
    executor::current().time().set_back(by);
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
    /// `None` if it is too far away to be represented, which is never.
    deadline: Option<Instant>,
    timer: SimulatedTimer,
}

/// A future that runs in the background; it continues when this is dropped.
///
/// # Panics
/// If it is awaited after its simulation was dropped before the task was done.
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

    #[expect(clippy::expect_used, reason = "documented: there is no output")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.outcome.poll_unpin(cx).map(|outcome| outcome.expect("the simulation of this task was dropped"))
    }
}

//! Tasks of the program's own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::channel::oneshot;

use crate::executor;

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

impl<T> Future for Task<T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "documented: there is nothing to give")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.outcome.poll_unpin(cx).map(|outcome| outcome.expect("the simulation of this task was dropped"))
    }
}

//! The broker's task that handles its deadlines when no connection does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use zaichik_engine::Turn;

use super::shared::{Poisoned, Shared};
use super::tasks::HousekeeperEntry;
use crate::alarm::Alarm;
use crate::runtime::Timer;

/// Rounds before the task yields to others.
const ROUNDS_PER_POLL: usize = 4;

/// Handles a broker's deadlines until the broker has stopped and its connections have ended.
pub(crate) struct Housekeeping<T> {
    alarm: Alarm<T>,
    shared: Arc<Shared>,
    _entry: HousekeeperEntry,
}

impl<T: Timer> Housekeeping<T> {
    pub(crate) fn new(timer: T, shared: &Arc<Shared>) -> Self {
        Self {
            alarm: Alarm::new(timer),
            shared: Arc::clone(shared),
            _entry: shared.tasks().enter_housekeeper(),
        }
    }
}

impl<T: Timer> Future for Housekeeping<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..ROUNDS_PER_POLL {
            let round = match this.shared.housekeep(cx.waker()) {
                Ok(round) => round,
                Err(Poisoned) => return Poll::Ready(()),
            };
            if round.is_stopping && this.shared.tasks().no_connections(cx.waker()) {
                return Poll::Ready(());
            }
            if round.turn == Turn::More {
                continue;
            }
            let deadline = round.next.and_then(|at| this.shared.clock().instant(at));
            if this.alarm.poll(cx, deadline).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Housekeeping<T> {
    fn drop(&mut self) {
        // This also runs after a panic in the broker: no connection may continue without housekeeping.
        self.shared.abort();
        self.shared.end_store();
    }
}

//! Wakes a publisher's thread when a message is due.
//!
//! The runtime's timer has a resolution of a millisecond, which exceeds the latencies to measure, so a publisher with a
//! schedule has its own thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use zaichik_tokio::{Clock, Timestamp};

/// When the alarm wakes the thread.
#[derive(Debug)]
pub(crate) struct Alarm(AtomicU64);

/// Wakes a thread.
struct Unpark(Thread);

impl Alarm {
    /// An alarm that is not set.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// Wakes the thread once, at `moment`.
    pub(crate) fn set(&self, moment: Timestamp) {
        self.0.store(moment.as_micros(), Ordering::Relaxed);
    }

    fn take(&self) -> Option<Timestamp> {
        let micros = self.0.swap(u64::MAX, Ordering::Relaxed);
        (micros != u64::MAX).then(|| Timestamp::from_micros(micros))
    }
}

/// Runs a future on this thread, which sleeps until the future or the alarm wakes it.
pub(crate) fn block_on<T>(clock: &Clock, alarm: &Alarm, future: impl Future<Output = T>) -> T {
    zaichik_measure::sleep_exactly();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        match alarm.take() {
            None => thread::park(),
            Some(moment) => {
                let left = moment.since(clock.now());
                if left > Duration::ZERO {
                    thread::park_timeout(left);
                }
            }
        }
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_wakes_the_thread() {
        let (clock, alarm) = (Clock::start(), Alarm::new());
        let due = clock.now() + Duration::from_millis(5);
        let woken = block_on(
            &clock,
            &alarm,
            std::future::poll_fn(|_| {
                let now = clock.now();
                if now < due {
                    alarm.set(due);
                    return Poll::Pending;
                }
                Poll::Ready(now)
            }),
        );
        assert!(woken >= due);
    }
}

//! When messages are due, and a thread that wakes at that moment.
//!
//! The runtime's timer counts in milliseconds, which is longer than what is measured, so a publisher with a schedule
//! has a thread of its own.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use zaichik_tokio::{Clock, Timestamp};

/// When each message of one publisher is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Messages a second, of all publishers.
    rate: u64,
    /// How many publishers take turns, and which of them this is.
    publishers: u64,
    index: u64,
}

/// When the thread is to wake though nobody woke it.
#[derive(Debug)]
pub(crate) struct Alarm(AtomicU64);

/// Wakes a thread.
struct Unpark(Thread);

impl Schedule {
    /// The schedule of one of so many publishers; at least one message a second.
    pub(crate) fn new(rate: u64, publishers: u32, index: u32) -> Self {
        Self { rate: rate.max(1), publishers: u64::from(publishers.max(1)), index: u64::from(index) }
    }

    /// When a message is due, if publishing began at `begin`.
    pub(crate) fn due(&self, begin: Timestamp, number: u64) -> Timestamp {
        let place =
            u128::from(number).saturating_mul(self.publishers.into()).saturating_add(self.index.into());
        let micros = place.saturating_mul(1_000_000).checked_div(self.rate.into()).unwrap_or_default();
        begin.plus_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl Alarm {
    /// None.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// Wakes the thread at `moment`, once.
    pub(crate) fn set(&self, moment: Timestamp) {
        self.0.store(moment.as_micros(), Ordering::Relaxed);
    }

    fn take(&self) -> Option<Timestamp> {
        let micros = self.0.swap(u64::MAX, Ordering::Relaxed);
        (micros != u64::MAX).then(|| Timestamp::from_micros(micros))
    }
}

/// Runs a future on this thread, which sleeps until it is woken or the alarm goes off.
pub(crate) fn block_on<T>(clock: &Clock, alarm: &Alarm, future: impl Future<Output = T>) -> T {
    sleep_exactly();
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

/// The system adds 50 us to each sleep of a thread that does not ask for less.
#[cfg(target_os = "linux")]
fn sleep_exactly() {
    // Without it the schedule is kept a little worse, which shows in the latencies.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZero::new(1));
}

#[cfg(not(target_os = "linux"))]
fn sleep_exactly() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_take_turns() {
        let begin = Timestamp::from_micros(1_000);
        let due = |index, number| Schedule::new(1_000, 2, index).due(begin, number).as_micros();
        assert_eq!([due(0, 0), due(1, 0), due(0, 1), due(1, 1)], [1_000, 2_000, 3_000, 4_000]);
    }

    #[test]
    fn a_schedule_does_not_drift() {
        let due = |number| Schedule::new(3, 1, 0).due(Timestamp::ZERO, number).as_micros();
        assert_eq!(
            [due(1), due(2), due(3), due(3_000_000)],
            [333_333, 666_666, 1_000_000, 1_000_000_000_000]
        );
    }

    #[test]
    fn an_alarm_wakes_the_thread_that_nobody_wakes() {
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

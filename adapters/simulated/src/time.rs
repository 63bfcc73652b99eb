//! Simulated time: a clock that jumps from timer to timer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use zaichik_driver::Timer;

/// The time at which each simulation begins, since the Unix epoch: January 1, 2000.
const BEGIN: Duration = Duration::from_hours(262_968);

/// A timer in simulated time.
#[derive(Debug)]
pub struct SimulatedTimer {
    time: Arc<Time>,
    set: Option<Setting>,
}

/// The clock and the timers of one simulation.
#[derive(Debug)]
pub(crate) struct Time {
    begin: Instant,
    state: Mutex<State>,
}

/// Why time can't advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// No timer is set.
    Deadlock,
    /// The next timer is set to a time after the end.
    TimeIsUp,
}

#[derive(Debug)]
struct State {
    now: Instant,
    /// How far the wall clock was set forward.
    suspended: Duration,
    /// How far it was set back.
    set_back: Duration,
    timers: BTreeMap<Setting, Waker>,
    settings: u64,
}

/// When a timer rings; the number distinguishes timers for the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Setting {
    at: Instant,
    number: u64,
}

impl Time {
    pub(crate) fn new() -> Self {
        let begin = real();
        Self {
            begin,
            state: Mutex::new(State {
                now: begin,
                suspended: Duration::ZERO,
                set_back: Duration::ZERO,
                timers: BTreeMap::new(),
                settings: 0,
            }),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.lock().now
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now().saturating_duration_since(self.begin)
    }

    pub(crate) fn wall_clock(&self) -> SystemTime {
        let elapsed = self.elapsed();
        let state = self.lock();
        let since_epoch = BEGIN.saturating_add(elapsed).saturating_add(state.suspended);
        SystemTime::UNIX_EPOCH
            .checked_add(since_epoch.saturating_sub(state.set_back))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The process is stopped: time passes, but no timer rings.
    pub(crate) fn stop(&self, duration: Duration) {
        let mut state = self.lock();
        state.now = state.now.checked_add(duration).unwrap_or(state.now);
    }

    /// The machine is suspended: only the wall clock advances.
    pub(crate) fn suspend(&self, duration: Duration) {
        let mut state = self.lock();
        state.suspended = state.suspended.saturating_add(duration);
    }

    /// The wall clock is set back.
    pub(crate) fn set_back(&self, by: Duration) {
        let mut state = self.lock();
        state.set_back = state.set_back.saturating_add(by);
    }

    /// Jumps to the time of the next timer, but not past `end`, and rings all timers set for that time.
    pub(crate) fn advance(&self, end: Option<Instant>) -> Result<(), Stuck> {
        let due = {
            let mut state = self.lock();
            let (next, _) = state.timers.first_key_value().ok_or(Stuck::Deadlock)?;
            let at = next.at;
            if end.is_some_and(|end| at > end) {
                return Err(Stuck::TimeIsUp);
            }
            state.now = state.now.max(at);
            let later = state.timers.split_off(&Setting { at, number: u64::MAX });
            std::mem::replace(&mut state.timers, later)
        };
        due.into_values().for_each(Waker::wake);
        Ok(())
    }

    /// Sets a timer, unless its time has come.
    fn set(&self, at: Instant, waker: &Waker) -> Option<Setting> {
        let mut state = self.lock();
        if at <= state.now {
            return None;
        }
        state.settings = state.settings.saturating_add(1);
        let setting = Setting { at, number: state.settings };
        state.timers.insert(setting, waker.clone());
        Some(setting)
    }

    fn unset(&self, setting: Setting) {
        let waker = self.lock().timers.remove(&setting);
        // Dropped after unlocking: it may be the last reference to a task.
        drop(waker);
    }

    /// The state is valid even after a panic: no step under the lock calls anything that could panic halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimulatedTimer {
    pub(crate) fn new(time: &Arc<Time>) -> Self {
        Self { time: Arc::clone(time), set: None }
    }

    fn unset(&mut self) {
        if let Some(setting) = self.set.take() {
            self.time.unset(setting);
        }
    }
}

impl Timer for SimulatedTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.unset();
        self.set = self.time.set(deadline, cx.waker());
        if self.set.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for SimulatedTimer {
    fn drop(&mut self) {
        self.unset();
    }
}

/// The operating system's time, from which simulated time counts.
#[expect(clippy::disallowed_methods, reason = "there is no other way to make an Instant")]
pub(crate) fn real() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_from_timer_to_timer_and_no_further() {
        let time = Arc::new(Time::new());
        let mut cx = Context::from_waker(Waker::noop());
        let after = |seconds| time.begin + Duration::from_secs(seconds);
        assert_eq!(time.advance(None), Err(Stuck::Deadlock));
        let mut timers = [5, 3, 3, 9].map(|seconds| (seconds, SimulatedTimer::new(&time)));
        let mut ring = |at: &[u64]| {
            let rung = timers.iter_mut().filter_map(|(seconds, timer)| {
                timer.poll_until(&mut cx, after(*seconds)).is_ready().then_some(*seconds)
            });
            assert_eq!(rung.collect::<Vec<_>>(), at);
        };
        ring(&[]);
        assert_eq!(time.advance(Some(after(2))), Err(Stuck::TimeIsUp));
        assert_eq!(time.elapsed(), Duration::ZERO);
        assert_eq!(time.advance(Some(after(3))), Ok(()));
        ring(&[3, 3]);
        assert_eq!(time.elapsed(), Duration::from_secs(3));
        assert_eq!(time.advance(None), Ok(()));
        ring(&[5, 3, 3]);
        drop(timers);
        assert_eq!(time.advance(None), Err(Stuck::Deadlock), "a dropped timer does not ring");
    }
}

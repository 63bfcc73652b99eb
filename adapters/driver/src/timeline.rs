//! The time that a broker or a client passes to its state machine: it follows the wall clock, and notices when the
//! program did not run.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use zaichik_proto::Timestamp;

use crate::runtime::Runtime;
#[cfg(test)]
use crate::system_clock;

/// How often the wall clock is read at most; in between, only the monotonic clock is.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// How often the time is read at least while somebody [watches](Timeline::watch).
pub(crate) const WATCH_EVERY: Duration = Duration::from_secs(1);

/// If nobody read a watched time for longer than this, the program did not run.
const STOPPED_AFTER: Duration = Duration::from_secs(2);

/// Smallest difference between the clocks that is more than the time between reading one and the other.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Smallest step of the wall clock, back or forward, that counts as one; a smaller one is followed in silence.
const STEP: Duration = Duration::from_secs(1);

/// The time: the later of the wall clock and of the time elapsed since the last reading. It never decreases.
///
/// After a step back of the wall clock it advances at half its speed until the wall clock has caught up, so neither
/// timestamps nor deadlines stand still.
#[derive(Debug)]
pub(crate) struct Timeline {
    now: fn() -> Instant,
    wall: fn() -> SystemTime,
    /// Not a lock of `crate::sync`: nothing happens under it that another thread could wait for.
    state: Mutex<State>,
}

/// One reading of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    /// For how long, in total, the program did not run although the time advanced.
    pub(crate) paused: Duration,
    /// Steps back of the wall clock so far.
    pub(crate) steps_back: u64,
}

#[derive(Debug)]
struct State {
    start: Instant,
    /// The time at `start`, since the Unix epoch.
    base: Duration,
    /// How far the time is to fall back, at half speed from `checked` on.
    ahead: Duration,
    checked: Instant,
    is_watched: bool,
    paused: Duration,
    steps_back: u64,
}

impl Timeline {
    /// The time of a runtime.
    pub(crate) fn of<R: Runtime>() -> Self {
        Self::starting(R::now, R::wall_clock)
    }

    /// The time of the operating system.
    #[cfg(test)]
    pub(crate) fn start() -> Self {
        Self::starting(system_clock::monotonic, system_clock::wall_clock)
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        self.read().now
    }

    /// The current time, and what happened to it so far.
    pub(crate) fn read(&self) -> Moment {
        let mut state = self.lock();
        let at = (self.now)();
        if at.saturating_duration_since(state.checked) >= CHECK_EVERY {
            let wall = unix((self.wall)());
            // Otherwise the program was interrupted between reading the clocks; the next reading checks.
            if (self.now)().saturating_duration_since(at) < RESOLUTION {
                state.check(at, wall);
            }
        }
        Moment { now: Timestamp::ZERO + state.time(at), paused: state.paused, steps_back: state.steps_back }
    }

    /// Whether somebody reads the time every [`WATCH_EVERY`] from now on. Only then is a long time between two readings
    /// one in which the program did not run.
    #[cfg(feature = "server")]
    pub(crate) fn watch(&self, is_watched: bool) {
        self.lock().is_watched = is_watched;
    }

    /// The runtime's instant of `timestamp`; at that instant the time is `timestamp` or later. `None` if it is too far
    /// away for the runtime, which counts as never.
    pub(crate) fn instant(&self, timestamp: Timestamp) -> Option<Instant> {
        let state = self.lock();
        let at = Duration::from_micros(timestamp.as_micros());
        let left = at.saturating_sub(state.time(state.checked));
        let is_past = left.is_zero();
        let instant = state.checked.checked_add(left)?.checked_add(left.min(state.ahead))?;
        Some(if is_past { state.checked } else { instant })
    }

    /// The time of two clocks.
    pub(crate) fn starting(now: fn() -> Instant, wall: fn() -> SystemTime) -> Self {
        let (start, base) = (now(), unix(wall()));
        let state = State {
            start,
            base,
            ahead: Duration::ZERO,
            checked: start,
            is_watched: false,
            paused: Duration::ZERO,
            steps_back: 0,
        };
        Self { now, wall, state: Mutex::new(state) }
    }

    /// The state is valid even after a panic: no step under the lock panics halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The time since the Unix epoch at an instant that is not before the last check.
    fn time(&self, at: Instant) -> Duration {
        let elapsed = at.saturating_duration_since(self.start);
        self.base.saturating_add(elapsed).saturating_sub(self.fallen_back(at))
    }

    /// By how much the time fell back since the last check.
    fn fallen_back(&self, at: Instant) -> Duration {
        let since = at.saturating_duration_since(self.checked);
        self.ahead.min(since.checked_div(2).unwrap_or(since))
    }

    /// Compares the clocks: `wall` is the wall clock at the instant `at`, in the time since the Unix epoch.
    fn check(&mut self, at: Instant, wall: Duration) {
        let since = at.saturating_duration_since(self.checked);
        let fallen_back = self.fallen_back(at);
        self.base = self.base.saturating_sub(fallen_back);
        self.ahead = self.ahead.saturating_sub(fallen_back);
        self.checked = at;
        let time = self.time(at);
        let (behind, ahead) = (wall.saturating_sub(time), time.saturating_sub(wall));
        // The process was stopped, at some time since the last check: both clocks advanced, and the time by less while it
        // falls back.
        let stopped = self.is_watched && since > STOPPED_AFTER;
        let mut pause = if stopped { since.saturating_sub(fallen_back) } else { Duration::ZERO };
        if behind >= RESOLUTION {
            // The machine was suspended, which only the wall clock counts; or the wall clock was set.
            self.base = self.base.saturating_add(behind);
            pause = pause.saturating_add(behind);
        }
        if pause >= STEP {
            self.paused = self.paused.saturating_add(pause);
        }
        if ahead >= self.ahead.saturating_add(STEP) {
            self.steps_back = self.steps_back.saturating_add(1);
            self.ahead = ahead;
        }
        self.ahead = self.ahead.min(ahead);
    }
}

fn unix(wall: SystemTime) -> Duration {
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small times of a test")]
#[expect(clippy::unchecked_time_subtraction, reason = "times of a test are in order")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Two clocks that a test sets.
    struct Clocks {
        state: State,
        at: Instant,
        wall: Duration,
    }

    impl Clocks {
        fn new() -> Self {
            let timeline =
                Timeline::starting(system_clock::monotonic, || SystemTime::UNIX_EPOCH + 1_000 * SECOND);
            let state = timeline.state.into_inner().expect("sound");
            Self { at: state.start, wall: state.base, state }
        }

        /// Time passes on the two clocks; returns the new time.
        fn pass(&mut self, monotonic: Duration, wall: Duration) -> Duration {
            self.at += monotonic;
            self.wall += wall;
            self.state.check(self.at, self.wall);
            self.state.time(self.at)
        }
    }

    #[test]
    fn o5_a_suspended_machine_continues_at_the_wall_clock() {
        let mut clocks = Clocks::new();
        assert_eq!(clocks.pass(SECOND, SECOND), 1_001 * SECOND);
        assert_eq!(clocks.pass(SECOND, 3_600 * SECOND), 4_601 * SECOND);
        assert_eq!((clocks.state.paused, clocks.state.steps_back), (3_599 * SECOND, 0));
    }

    #[test]
    fn o5_a_stopped_process_is_one_that_did_not_look_at_the_clock() {
        for (is_watched, paused) in [(true, 60 * SECOND), (false, Duration::ZERO)] {
            let mut clocks = Clocks::new();
            clocks.state.is_watched = is_watched;
            assert_eq!(clocks.pass(60 * SECOND, 60 * SECOND), 1_060 * SECOND);
            assert_eq!(clocks.pass(2 * SECOND, 2 * SECOND), 1_062 * SECOND);
            assert_eq!(clocks.state.paused, paused);
        }
    }

    #[test]
    fn o5_a_step_back_slows_the_time_until_the_wall_clock_has_caught_up() {
        let mut clocks = Clocks::new();
        clocks.pass(SECOND, SECOND);
        clocks.wall -= 10 * SECOND;
        assert_eq!(clocks.pass(SECOND, SECOND), 1_002 * SECOND, "it does not step back");
        let mut before = 1_002 * SECOND;
        for _ in 0..20 {
            let time = clocks.pass(SECOND, SECOND);
            assert_eq!(time - before, SECOND / 2);
            before = time;
        }
        assert_eq!(before, clocks.wall);
        assert_eq!(clocks.pass(SECOND, SECOND), before + SECOND);
        assert_eq!((clocks.state.paused, clocks.state.steps_back), (Duration::ZERO, 1));
    }

    #[test]
    fn o5_a_pause_after_a_step_back_is_as_long_as_the_time_advanced() {
        let mut clocks = Clocks::new();
        clocks.state.is_watched = true;
        clocks.pass(SECOND, SECOND);
        clocks.wall -= 101 * SECOND;
        let before = clocks.pass(SECOND, SECOND);
        assert_eq!(clocks.pass(60 * SECOND, 60 * SECOND) - before, 30 * SECOND);
        assert_eq!(clocks.state.paused, 30 * SECOND);
    }

    #[test]
    fn small_differences_between_the_clocks_are_not_pauses() {
        let mut clocks = Clocks::new();
        clocks.state.is_watched = true;
        for _ in 0..10 {
            clocks.pass(SECOND, SECOND + SECOND / 2);
        }
        assert_eq!(clocks.state.time(clocks.at), clocks.wall, "the wall clock is followed");
        assert_eq!(clocks.state.paused, Duration::ZERO);
    }

    #[test]
    fn a_timestamp_converts_to_its_instant() {
        let timeline = Timeline::start();
        let (start, base) = {
            let state = timeline.lock();
            (state.start, state.base)
        };
        let at = Timestamp::ZERO + base + 3 * SECOND;
        let exact = timeline.instant(at).expect("near");
        assert!(exact - start <= 3 * SECOND && exact - start > 2 * SECOND);
        assert!(timeline.instant(Timestamp::ZERO).expect("past") <= (timeline.now)());
        timeline.lock().ahead = 2 * SECOND;
        assert_eq!(timeline.instant(at).expect("near"), exact + 2 * SECOND, "2 of 5 s are lost");
        let half = timeline.instant(Timestamp::ZERO + base + SECOND).expect("near");
        assert_eq!(half - start, 2 * (exact - start - 2 * SECOND), "half speed");
    }
}

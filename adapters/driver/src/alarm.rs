//! A timer that is reset as rarely as possible.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::runtime::Timer;

/// An alarm for a deadline that moves often.
///
/// Deadlines mostly move away (a heartbeat's, at each byte received). An alarm that is set to an earlier time rings then
/// and is set again, which costs less than moving it each time.
#[derive(Debug)]
pub(crate) struct Alarm<T> {
    timer: T,
    set_to: Option<Instant>,
}

impl<T: Timer> Alarm<T> {
    pub(crate) const fn new(timer: T) -> Self {
        Self { timer, set_to: None }
    }

    /// Ready once `deadline` has passed; never ready without one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        loop {
            let at = self.set_to.map_or(deadline, |set_to| set_to.min(deadline));
            self.set_to = Some(at);
            ready!(self.timer.poll_until(cx, at));
            self.set_to = None;
            if at == deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Records its deadlines; those up to `now` have passed.
    struct Fake {
        now: Instant,
        set: Vec<Instant>,
    }

    impl Timer for Fake {
        fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
            if self.set.last() != Some(&deadline) {
                self.set.push(deadline);
            }
            if deadline <= self.now { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[test]
    fn a_deadline_that_moves_away_sets_the_timer_once() {
        let start = crate::clock::Clock::start().instant(zaichik_engine::Timestamp::ZERO).expect("near");
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut alarm = Alarm::new(Fake { now: start, set: Vec::new() });
        assert_eq!(alarm.poll(&mut cx, None), Poll::Pending);
        for seconds in 10..15 {
            assert_eq!(alarm.poll(&mut cx, Some(after(seconds))), Poll::Pending);
        }
        assert_eq!(alarm.timer.set, [after(10)]);
        alarm.timer.now = after(10);
        assert_eq!(alarm.poll(&mut cx, Some(after(14))), Poll::Pending);
        assert_eq!(alarm.timer.set, [after(10), after(14)]);
        assert_eq!(alarm.poll(&mut cx, Some(after(9))), Poll::Ready(()));
    }
}

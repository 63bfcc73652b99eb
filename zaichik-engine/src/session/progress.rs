//! Whether bytes that are due in one direction arrive fast enough (rule S16).

use zaichik_proto::Timestamp;

/// Bytes that must move within a timeout if that many are due; otherwise all that are due.
pub(super) const STEP: u64 = 16 << 10;

/// The progress of one direction.
#[derive(Debug)]
pub(super) struct Progress {
    /// When nothing was due, or the goal was reached.
    since: Timestamp,
    /// Bytes ever moved by which the next goal is reached; `None` if nothing was due.
    goal: Option<u64>,
}

impl Progress {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { since: now, goal: None }
    }

    /// Observes the bytes ever moved, and those that are due now.
    pub(super) fn observe(&mut self, now: Timestamp, moved: u64, due: u64) {
        let next = moved.saturating_add(due.min(STEP));
        if due == 0 {
            (self.since, self.goal) = (now, None);
        } else if self.goal.is_none_or(|goal| moved >= goal) {
            if self.goal.is_some() {
                self.since = now;
            }
            self.goal = Some(next);
        }
    }

    /// The broker did not run for `pause` microseconds, which do not count.
    pub(super) const fn resumed(&mut self, pause: u64) {
        self.since = self.since.plus_micros(pause);
    }

    /// Since when too little has moved.
    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether bytes were due when it was last observed.
    pub(super) const fn is_due(&self) -> bool {
        self.goal.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Timestamp = Timestamp::from_micros;

    #[test]
    fn s16_a_trickle_is_no_progress_and_a_step_is() {
        let mut progress = Progress::new(AT(0));
        progress.observe(AT(1), 0, 100_000);
        assert_eq!((progress.since(), progress.is_due()), (AT(0), true));
        progress.observe(AT(2), STEP - 1, 100_000);
        assert_eq!(progress.since(), AT(0));
        progress.observe(AT(3), STEP, 100_000);
        assert_eq!(progress.since(), AT(3));
    }

    #[test]
    fn s16_all_that_was_due_is_progress_even_if_more_became_due() {
        let mut progress = Progress::new(AT(0));
        progress.observe(AT(1), 50, 10);
        progress.observe(AT(2), 59, 200);
        assert_eq!(progress.since(), AT(0));
        progress.observe(AT(3), 60, 200);
        assert_eq!(progress.since(), AT(3));
        progress.observe(AT(4), 260, 0);
        assert_eq!((progress.since(), progress.is_due()), (AT(4), false));
    }
}

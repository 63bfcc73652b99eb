//! What the broker missed while it was stopped.

use crate::sim::random::{Concern, Rng};

/// What the broker missed.
#[derive(Debug)]
pub(super) struct Pauses {
    pub(super) rng: Rng,
    /// When a stopped broker goes on, and its clock's time when it was stopped.
    pub(super) stopped: Option<(u64, u64)>,
    /// The latest time that the broker was passed.
    pub(super) latest: u64,
    /// The time, in total, that the broker was reported not to have run.
    pub(super) reported: u64,
}

impl Pauses {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, Concern::Pause, 0), stopped: None, latest: 0, reported: 0 }
    }

    /// Whether the broker is stopped.
    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Another broker runs, which was passed no time yet.
    pub(super) const fn restart(&mut self) {
        (self.stopped, self.latest, self.reported) = (None, 0, 0);
    }

    /// The broker is passed a time.
    pub(super) fn tick(&mut self, broker_now: u64) {
        self.latest = self.latest.max(broker_now);
    }

    /// How long the broker has run.
    pub(super) const fn running(&self) -> u64 {
        self.running_at(self.latest)
    }

    /// How long it had run at a time.
    pub(super) const fn running_at(&self, broker_now: u64) -> u64 {
        broker_now.saturating_sub(self.reported)
    }
}

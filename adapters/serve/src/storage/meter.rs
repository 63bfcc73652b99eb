//! What the store of a process does and holds, for metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use zaichik_driver::{Counter, Timestamp};
use zaichik_store_journal::Info;

/// Upper bounds of the histogram of commits, in seconds: from a fast disk to one that takes half a minute for a write.
const COMMIT_SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    30.0,
];

/// The figures of a store; its thread writes them, and others read them.
#[derive(Debug)]
pub(crate) struct Meter {
    commit_seconds: Histogram,
    figures: Mutex<Figures>,
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    commits: u64,
    rows: u64,
    no_space: u64,
    /// Whether a commit waits for space.
    is_waiting: bool,
    last_commit: Duration,
    last_error: Option<Timestamp>,
    info: Info,
}

impl Meter {
    pub(crate) fn new(info: Info) -> Self {
        let figures = Figures {
            commits: 0,
            rows: 0,
            no_space: 0,
            is_waiting: false,
            last_commit: Duration::ZERO,
            last_error: None,
            info,
        };
        Self { commit_seconds: Histogram::new(COMMIT_SECONDS), figures: Mutex::new(figures) }
    }

    /// A commit of `rows` rows was made in this time, and left this.
    pub(super) fn committed(&self, rows: usize, took: Duration, info: Info) {
        self.commit_seconds.observe(took.as_secs_f64());
        let mut figures = self.lock();
        figures.commits = figures.commits.saturating_add(1);
        figures.rows = figures.rows.saturating_add(rows as u64);
        (figures.last_commit, figures.is_waiting, figures.info) = (took, false, info);
    }

    /// A commit found no space, and will be repeated.
    pub(super) fn found_no_space(&self, now: Timestamp) {
        let mut figures = self.lock();
        figures.no_space = figures.no_space.saturating_add(1);
        (figures.last_error, figures.is_waiting) = (Some(now), true);
    }

    /// The store refused something for another reason.
    pub(super) fn failed(&self, now: Timestamp) {
        self.lock().last_error = Some(now);
    }

    /// The store holds this now.
    pub(super) fn holds(&self, info: Info) {
        self.lock().info = info;
    }

    /// How long commits take.
    pub(crate) const fn commit_seconds(&self) -> &Histogram {
        &self.commit_seconds
    }

    /// Whether a commit waits for space, and every answer of the broker for that commit.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().is_waiting
    }

    /// Whether there is no space but the reserve, or not even that, so that publishes are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    /// The counters of a broker that describe its store.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (Counter, u64)> {
        let figures = *self.lock();
        let Figures { commits, rows, no_space, last_commit, last_error, info, .. } = figures;
        let known = [
            (Counter::StorageCommits, commits),
            (Counter::StorageRowsCommitted, rows),
            (Counter::StorageBytesWritten, info.written_bytes),
            (Counter::StorageNoSpace, no_space),
            (Counter::StorageFull, u64::from(figures.is_full())),
            (Counter::StorageSegments, info.segments as u64),
            (Counter::StorageBytes, info.bytes),
            (Counter::StorageLiveBytes, info.live_bytes),
        ];
        // Nothing is shown of what has not happened.
        let last_commit = (commits > 0).then(|| (Counter::StorageLastCommit, micros(last_commit)));
        let last_error = last_error.map(|at| (Counter::StorageLastErrorTime, at.as_micros()));
        known.into_iter().chain(last_commit).chain(last_error)
    }

    /// The figures are valid even after a panic: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    const fn is_full(&self) -> bool {
        self.is_waiting || self.info.is_full
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

//! A store that syncs its commits at an interval, and what the end of the machine leaves of them (rule B7).

use zaichik_engine::store::Commit;
use zaichik_testkit::Rows;

use crate::sim::check::{Checker, Committed};
use crate::sim::random::Rng;

/// What is synced, and what is not.
pub(super) struct Syncs {
    /// The longest time until commits are synced.
    pub(super) interval: u64,
    /// The rows that are synced, and what the checker knew.
    rows: Rows,
    state: Box<Committed>,
    /// The commits since then, in order.
    commits: Vec<(Commit, Box<Committed>)>,
    /// When they are synced, if there are any.
    pub(super) due: Option<u64>,
    /// Whether commits were lost that were reported, until the next one is made.
    pub(super) lacks_commits: bool,
}

impl Syncs {
    pub(super) fn new(interval: u64, checker: &Checker) -> Self {
        let (rows, state) = (Rows::default(), Box::new(checker.committed()));
        Self { interval, rows, state, commits: Vec::new(), due: None, lacks_commits: false }
    }

    /// Whether all commits are synced.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// A commit is made.
    pub(super) fn made(&mut self, commit: Commit, state: Box<Committed>) {
        self.commits.push((commit, state));
    }

    /// All commits are synced.
    pub(super) fn synced(&mut self, rows: &Rows, state: &Committed) {
        (self.rows, *self.state) = (rows.clone(), state.clone());
        self.commits.clear();
        self.due = None;
    }

    /// The machine ends: the last commits are lost, or some of them, or none.
    pub(super) fn lose(&mut self, rng: &mut Rng) {
        self.lacks_commits |= !self.commits.is_empty();
        let left = rng.index(self.commits.len() + 1);
        self.commits.truncate(left);
        let (rows, state) = self.left();
        self.synced(&rows, &state);
    }

    /// The last commit is lost; returns whether there was one that was not synced.
    pub(super) fn lose_one(&mut self) -> bool {
        self.commits.pop().is_some()
    }

    /// The rows after the last commit, and what the checker knew.
    pub(super) fn left(&self) -> (Rows, Box<Committed>) {
        let mut rows = self.rows.clone();
        self.commits.iter().for_each(|(commit, _)| rows.apply(commit));
        let state = self.commits.last().map_or(&self.state, |(_, state)| state);
        (rows, state.clone())
    }
}

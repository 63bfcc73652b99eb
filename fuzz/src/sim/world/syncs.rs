//! A store that syncs its commits at an interval, and what the end of the machine leaves of them (rule B7).

use std::rc::Rc;

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
    state: Rc<Committed>,
    /// The commits since then, in order.
    commits: Vec<(Commit, Rc<Committed>)>,
    /// When they are synced, if there are any.
    pub(super) due: Option<u64>,
    /// Whether commits were lost that were reported, until the next one is made.
    pub(super) lacks_commits: bool,
}

impl Syncs {
    pub(super) fn new(interval: u64, checker: &Checker) -> Self {
        let (rows, state) = (Rows::default(), Rc::new(checker.committed()));
        Self { interval, rows, state, commits: Vec::new(), due: None, lacks_commits: false }
    }

    /// Whether all commits are synced.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// A commit is made.
    pub(super) fn made(&mut self, commit: Commit, state: Rc<Committed>) {
        self.commits.push((commit, state));
    }

    /// All commits are synced.
    pub(super) fn synced(&mut self) {
        for (commit, state) in self.commits.drain(..) {
            self.rows.apply(&commit);
            self.state = state;
        }
        self.due = None;
    }

    /// The store begins with what was read back of it.
    pub(super) fn read_back(&mut self, rows: &Rows, state: &Rc<Committed>) {
        (self.rows, self.state) = (rows.clone(), Rc::clone(state));
        self.commits.clear();
        self.due = None;
    }

    /// The machine ends: the last commits are lost, or some of them, or none.
    pub(super) fn lose(&mut self, rng: &mut Rng) {
        self.lacks_commits |= !self.commits.is_empty();
        let left = rng.index(self.commits.len() + 1);
        self.commits.truncate(left);
        self.synced();
    }

    /// The last commit is lost; returns whether there was one that was not synced.
    pub(super) fn lose_one(&mut self) -> bool {
        self.commits.pop().is_some()
    }

    /// The rows after the last commit, and what the checker knew.
    pub(super) fn left(&self) -> (Rows, Rc<Committed>) {
        let mut rows = self.rows.clone();
        self.commits.iter().for_each(|(commit, _)| rows.apply(commit));
        let state = self.commits.last().map_or(&self.state, |(_, state)| state);
        (rows, Rc::clone(state))
    }
}

//! A store that syncs its commits at an interval, and what the end of the machine leaves of them (rule B7).

use zaichik_engine::store::Commit;
use zaichik_testkit::Rows;

use super::{Actor, World};
use crate::sim::app::at;
use crate::sim::check::{Checker, Committed, Verdict};
use crate::sim::planted::Saboteur;
use crate::sim::random::Rng;
use crate::sim::trace::{self, Event};

/// What is synced, and what is not.
pub(super) struct Syncs {
    /// The longest time until commits are synced.
    interval: u64,
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

impl World {
    /// Syncs the commits that are made if it is time: at once if somebody waits for it.
    pub(super) fn sync_store(&mut self) -> Verdict {
        let (now, broker_now) = (self.now, self.broker_now());
        let latency = self.plan.storage.filter(|_| !self.is_healing).map_or(0, |plan| plan.latency);
        let wants_sync = self.connections.broker.wants_sync();
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.ends_after.is_none()) else {
            return Ok(());
        };
        let Some(syncs) = storing.syncs.as_mut().filter(|syncs| wants_sync || !syncs.commits.is_empty())
        else {
            return Ok(());
        };
        let interval = if wants_sync { latency } else { syncs.interval };
        let drawn =
            now + if syncs.due.is_none() || wants_sync { storing.rng.below(interval + 1) } else { interval };
        let due = syncs.due.map_or(drawn, |due| due.min(drawn));
        syncs.due = Some(due);
        if due > now {
            self.want(Actor::Store, due);
            return Ok(());
        }
        if let Some(Err(_)) = storing.journal.as_mut().map(super::journal::SimulatedJournal::sync) {
            storing.ends_after = Some(storing.rng.below(20));
            return self.fail_store();
        }
        syncs.synced(&storing.durable, &storing.state);
        trace::event(now, Event::Synced);
        self.pauses.tick(broker_now);
        self.checker.tick(broker_now + self.saboteur.as_ref().map_or(0, Saboteur::behind));
        let connections = &mut self.connections;
        let _ = connections.broker.synced(at(broker_now), &mut connections.effects);
        self.collect(false)
    }
}

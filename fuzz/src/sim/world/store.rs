//! The broker's store: what is durable, and what becomes of the commit under way when the broker ends.

use std::collections::VecDeque;
use std::rc::Rc;

use zaichik_engine::store::{Commit, Fetch};
use zaichik_store_journal::Syncing;
use zaichik_testkit::Rows;

use super::journal::{Encoded, SimulatedJournal};
use super::syncs::Syncs;
use crate::sim::check::{Broken, Checker, Committed};
use crate::sim::plan::Storage;
use crate::sim::random::{Concern, Rng};

/// The store.
pub(super) struct Storing {
    pub(super) rng: Rng,
    /// The rows once every commit that was made is durable.
    pub(super) made: Rows,
    /// What survives the end of the process.
    pub(super) durable: Rows,
    /// What survives that of the machine, if commits are not synced one by one.
    pub(super) syncs: Option<Syncs>,
    /// Keeps the durable rows as well, if there is one.
    pub(super) journal: Option<SimulatedJournal>,
    /// What the checker knew when the last durable commit was made.
    pub(super) state: Rc<Committed>,
    pub(super) in_flight: Option<InFlight>,
    /// What is being read back, and when it arrives; in this order.
    pub(super) fetches: VecDeque<(u64, Fetch)>,
    /// Set when the store has failed: events before the broker ends.
    pub(super) ends_after: Option<u64>,
    pub(super) commits: u64,
    /// When there is space again, if there is none.
    pub(super) full_until: Option<u64>,
    /// What the broker was told of that.
    pub(super) is_full: bool,
}

/// A commit under way.
pub(super) struct InFlight {
    pub(super) commit: Commit,
    pub(super) done_at: u64,
    /// Whether the store has tried it, and failed.
    pub(super) is_tried: bool,
    /// What the checker knew when it was made.
    pub(super) state: Rc<Committed>,
}

impl Storing {
    pub(super) fn new(seed: u64, plan: &Storage, checker: &Checker) -> Self {
        let syncing = if plan.interval.is_some() { Syncing::OnDemand } else { Syncing::EachCommit };
        Self {
            rng: Rng::new(seed, Concern::Store, 0),
            made: Rows::default(),
            durable: Rows::default(),
            syncs: plan.interval.map(|interval| Syncs::new(interval, checker)),
            journal: plan.is_journal.then(|| SimulatedJournal::new(seed, syncing)),
            state: Rc::new(checker.committed()),
            in_flight: None,
            fetches: VecDeque::new(),
            ends_after: None,
            commits: 0,
            full_until: None,
            is_full: false,
        }
    }
}

impl Storing {
    /// The broker ends: of the commit under way all is durable, or nothing. Returns whether commits may be lost that were
    /// reported, because the machine ended as well.
    pub(super) fn end(&mut self) -> Result<bool, Broken> {
        let in_flight = self.in_flight.take();
        let Some(journal) = &mut self.journal else {
            if let Some(syncs) = &mut self.syncs
                && self.rng.once_in(2)
            {
                syncs.lose(&mut self.rng);
                self.go_back();
                return Ok(self.lacks_commits());
            }
            if let Some(InFlight { commit, state, .. }) = in_flight
                && self.rng.once_in(2)
            {
                self.make(commit, state);
            }
            return Ok(self.lacks_commits());
        };
        let under_way = in_flight.as_ref().filter(|commit| !commit.is_tried).map(|one| &one.commit);
        let rows = journal.end(&mut self.rng, under_way);
        let rows = rows.map_err(|text| Broken { rule: "B6", text: format!("the journal: {text}") })?;
        let lacks_commits = journal.lacks_commits();
        let is_found = self.find(&rows, in_flight, lacks_commits);
        if let Some(syncs) = &mut self.syncs {
            // What was read back stays.
            syncs.read_back(&self.durable, &self.state);
            syncs.lacks_commits = lacks_commits;
        }
        if is_found {
            return Ok(lacks_commits);
        }
        let text = format!("the journal has {} rows, which are those of no commit", rows.len());
        Broken::because("B6", text).map(|()| false)
    }

    /// Finds the commit after which the rows were as they were read back: the one under way, the last one that was reported,
    /// or, if some may be lost, one since the last sync.
    fn find(&mut self, rows: &Encoded, in_flight: Option<InFlight>, lacks_commits: bool) -> bool {
        if is_same(&self.durable, rows) {
            return true;
        }
        let before = (self.durable.clone(), Rc::clone(&self.state));
        if let Some(InFlight { commit, state, .. }) = in_flight {
            self.make(commit, state);
            if is_same(&self.durable, rows) {
                return true;
            }
            (self.durable, self.state) = before;
        }
        while lacks_commits && self.syncs.as_mut().is_some_and(Syncs::lose_one) {
            self.go_back();
            if is_same(&self.durable, rows) {
                return true;
            }
        }
        false
    }

    /// A commit is made.
    pub(super) fn make(&mut self, commit: Commit, state: Rc<Committed>) {
        self.durable.apply(&commit);
        if let Some(syncs) = &mut self.syncs {
            syncs.made(commit, Rc::clone(&state));
        }
        self.state = state;
    }

    /// What is left is what is synced, and what the machine has left of the commits since then.
    fn go_back(&mut self) {
        if let Some(syncs) = &self.syncs {
            (self.durable, self.state) = syncs.left();
        }
    }

    fn lacks_commits(&self) -> bool {
        self.syncs.as_ref().is_some_and(|syncs| syncs.lacks_commits)
    }
}

fn is_same(rows: &Rows, read: &Encoded) -> bool {
    rows.len() == read.len() && rows.encoded().zip(read).all(|(row, read)| row.0 == read.0 && row.1 == read.1)
}

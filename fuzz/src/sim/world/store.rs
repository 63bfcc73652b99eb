//! The broker's store: what is durable, and what becomes of the commit under way when the broker ends.

use std::collections::VecDeque;

use zaichik_engine::store::{Commit, Fetch};
use zaichik_testkit::Rows;

use super::journal::{Encoded, SimulatedJournal};
use crate::sim::check::{Broken, Checker, Committed, Verdict};
use crate::sim::plan::Storage;
use crate::sim::random::{Concern, Rng};

/// The store.
pub(super) struct Storing {
    pub(super) rng: Rng,
    /// The rows once every commit that was made is durable.
    pub(super) made: Rows,
    pub(super) durable: Rows,
    /// Keeps the durable rows as well, if there is one.
    pub(super) journal: Option<SimulatedJournal>,
    /// What the checker knew when the last durable commit was made.
    pub(super) state: Box<Committed>,
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
    pub(super) state: Box<Committed>,
}

impl Storing {
    pub(super) fn new(seed: u64, plan: &Storage, checker: &Checker) -> Self {
        Self {
            rng: Rng::new(seed, Concern::Store, 0),
            made: Rows::default(),
            durable: Rows::default(),
            journal: plan.is_journal.then(|| SimulatedJournal::new(seed)),
            state: Box::new(checker.committed()),
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
    /// The broker ends: of the commit under way all is durable, or nothing.
    pub(super) fn end(&mut self) -> Verdict {
        let in_flight = self.in_flight.take();
        let Some(journal) = &mut self.journal else {
            if let Some(InFlight { commit, state, .. }) = in_flight
                && self.rng.once_in(2)
            {
                self.durable.apply(&commit);
                self.state = state;
            }
            return Ok(());
        };
        let under_way = in_flight.as_ref().filter(|commit| !commit.is_tried).map(|one| &one.commit);
        let rows = journal.end(&mut self.rng, under_way);
        let rows = rows.map_err(|text| Broken { rule: "B6", text: format!("the journal: {text}") })?;
        if is_same(&self.durable, &rows) {
            return Ok(());
        }
        if let Some(InFlight { commit, state, .. }) = in_flight {
            self.durable.apply(&commit);
            self.state = state;
        }
        if is_same(&self.durable, &rows) {
            return Ok(());
        }
        let text = format!("the journal has {} rows, which are those of no commit", rows.len());
        Broken::because("B6", text)
    }
}

fn is_same(rows: &Rows, read: &Encoded) -> bool {
    rows.len() == read.len() && rows.encoded().zip(read).all(|(row, read)| row.0 == read.0 && row.1 == read.1)
}

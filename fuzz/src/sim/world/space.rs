//! A store whose disk fills up, and has space again (rule B9).

use zaichik_store_journal::StoreError;

use super::store::Storing;
use super::{Actor, World};
use crate::sim::MILLI;
use crate::sim::app::at;
use crate::sim::check::Verdict;
use crate::sim::planted::Saboteur;
use crate::sim::trace::{self, Event};

/// A store without space is looked after that often.
const TEND: u64 = 1_000 * MILLI;

impl Storing {
    /// There is no space but the reserve until this time.
    pub(super) fn fill(&mut self, until: u64) {
        self.full_until = Some(until);
        if let Some(journal) = &self.journal {
            journal.fill();
        }
    }
}

impl World {
    /// No commit is under way: the store does what need not be done with one, and the broker hears whether there is space.
    pub(super) fn tend_store(&mut self) -> Verdict {
        let now = self.now;
        let Some(storing) = self.storing.as_deref_mut() else { return Ok(()) };
        if storing.full_until.is_some_and(|until| until <= now) {
            storing.full_until = None;
            if let Some(journal) = &storing.journal {
                journal.free();
            }
        }
        let is_full = match storing.journal.as_mut().map(|journal| journal.tend(now)) {
            None => storing.full_until.is_some(),
            Some(Ok(is_full)) => is_full,
            Some(Err(StoreError::Full)) => true,
            Some(Err(_)) => {
                storing.ends_after = Some(storing.rng.below(20));
                return self.fail_store();
            }
        };
        self.find_space(is_full)
    }

    /// The broker hears whether there is space, if it has heard something else.
    pub(super) fn find_space(&mut self, is_full: bool) -> Verdict {
        let now = self.now;
        let Some(storing) = self.storing.as_deref_mut() else { return Ok(()) };
        if is_full {
            // Even if nothing is to be stored.
            let next = storing.full_until.unwrap_or(now + TEND).clamp(now + 1, now + TEND);
            self.want(Actor::Store, next);
        }
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.is_full != is_full) else {
            return self.collect(false);
        };
        storing.is_full = is_full;
        // Only now: a time that the broker is not passed is none from which its deadlines count, if its clock moves back.
        let broker_now = self.tick();
        trace::event(now, Event::Full { is_full });
        self.counts.fulls += u64::from(is_full);
        let behind = self.saboteur.as_ref().map_or(0, Saboteur::behind);
        self.checker.store_full(broker_now + behind, is_full);
        if self.saboteur.as_ref().is_none_or(|saboteur| saboteur.reports_space(is_full)) {
            self.connections.broker.store_full(at(broker_now), is_full);
        }
        self.collect(false)
    }
}

//! The world syncs a store at an interval (rule B7).

use super::{Actor, World};
use crate::sim::app::at;
use crate::sim::check::Verdict;
use crate::sim::planted::Saboteur;
use crate::sim::trace::{self, Event};

impl World {
    /// Syncs the commits that are made if it is time: at once if somebody waits for it.
    pub(super) fn sync_store(&mut self) -> Verdict {
        let (now, broker_now) = (self.now, self.broker_now());
        let latency = self.plan.storage.filter(|_| !self.is_healing).map_or(0, |plan| plan.latency);
        let wants_sync = self.connections.broker.wants_sync();
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.ends_after.is_none()) else {
            return Ok(());
        };
        let Some(syncs) = storing.syncs.as_mut().filter(|syncs| wants_sync || !syncs.is_empty()) else {
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
        syncs.synced();
        trace::event(now, Event::Synced);
        self.pauses.tick(broker_now);
        self.checker.tick(broker_now + self.saboteur.as_ref().map_or(0, Saboteur::behind));
        let connections = &mut self.connections;
        let _ = connections.broker.synced(at(broker_now), &mut connections.effects);
        self.collect(false)
    }
}

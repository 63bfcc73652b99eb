//! A broker whose end is drawn is ended in order instead, and compared with one that is restored from its rows. After
//! that the run continues as if it had ended at any step.

use zaichik_engine::Broker;

use super::World;
use crate::sim::app::at;
use crate::sim::check::{Broken, Verdict};
use crate::sim::pair::{self, Side};
use crate::sim::random::{Concern, Rng};

/// Of the brokers that end, one in that many is compared.
const COMPARED: u64 = 3;

impl World {
    /// Compares the broker, which is about to be replaced, with one that is restored from its rows.
    pub(super) fn compare_pair(&mut self) -> Verdict {
        let mut rng = Rng::new(self.plan.seed, Concern::Pair, self.counts.recoveries);
        let is_left_out = self.plan.limits.may_lack_memory() || self.pauses.is_stopped();
        let is_drawn = rng.once_in(COMPARED);
        let Some(storing) = self.storing.as_deref_mut().filter(|_| is_drawn && !is_left_out) else {
            return Ok(());
        };
        if self.connections.broker.has_failed() {
            return Ok(());
        }
        let (rows, fetches) = (storing.made.clone(), std::mem::take(&mut storing.fetches));
        let ticket = storing.in_flight.as_ref().map(|one| one.commit.ticket);
        let broker_now = self.tick();
        for session in self.links.values().filter_map(|open| open.session) {
            self.connections.detach(session);
        }
        let (now, config) = (at(broker_now), self.plan.broker());
        let seed = self.plan.seed_of_broker(self.counts.recoveries);
        // The one that takes its place is replaced at once.
        let empty = Broker::new(config.clone(), seed).expect("its configuration was valid before");
        let mut broker = std::mem::replace(&mut self.connections.broker, empty);
        self.connections.restarted();
        let effects = &mut self.connections.effects;
        if let Some(ticket) = ticket {
            let _ = broker.committed(now, ticket, effects);
        }
        for (_, fetch) in fetches {
            let records = rows.fetch(&fetch);
            if let Err(error) = broker.fetched(now, fetch, records, effects) {
                return Broken::because("B8", error.to_string());
            }
        }
        broker.store_full(now, false);
        effects.clear();
        self.counts.pairs += 1;
        let other = self.plan.seed_of_broker(self.counts.recoveries + 1);
        pair::compare(Side::new(broker, rows, now), |side| Side::restored(side, config, other), rng)
    }
}

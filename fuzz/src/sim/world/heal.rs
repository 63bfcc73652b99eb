//! The second phase: without faults, every request is answered and every record is delivered.

use super::{Actor, Peer, World};
use crate::sim::app::at;
use crate::sim::check::{Broken, Verdict};
use crate::sim::trace::{self, Event};
use crate::sim::{MILLI, SECOND};

/// How often the time for the second phase is extended.
const MORE_TIME: usize = 5;

impl World {
    /// The second phase: without faults, every request is answered and every record is delivered.
    pub(crate) fn heal(&mut self) -> Verdict {
        trace::event(self.now, Event::Healing);
        self.is_healing = true;
        self.resume_all();
        self.plan.faults.latency = self.plan.faults.latency.min(10 * MILLI);
        self.plan.faults.capacity = self.plan.faults.capacity.max(1_024);
        for index in 0..self.clients.len() {
            let link = self.clients[index].link;
            match &mut self.clients[index].peer {
                Peer::App(app) => app.is_finishing = true,
                Peer::Raw(_) => {
                    self.drop_link(index, false);
                    self.clients[index].peer = Peer::Gone;
                }
                Peer::Gone => {}
            }
            // Every connection breaks once more, so that none stays frozen or silent.
            if let Some(open) = link.and_then(|link| self.links.get_mut(&link)) {
                open.reset_at = Some(self.now);
                open.frozen_until = 0;
            }
            self.want(Actor::Client(index), self.now);
        }
        for open in self.links.values_mut() {
            open.frozen_until = 0;
            open.reset_at.get_or_insert(self.now);
        }
        if self.plan.faults.restart > 0 && self.clock.once_in(2) {
            self.replace_broker();
        }
        self.heal_store()?;
        self.wake_everything();
        let begun = self.now;
        self.run_until(begun + 120 * SECOND)?;
        // Consuming thousands of messages one by one takes longer.
        for _ in 0..MORE_TIME {
            if self.check_settled(begun + 30 * SECOND).is_ok() {
                break;
            }
            self.run_until(self.now + 120 * SECOND)?;
        }
        if self.is_short_of_memory() {
            return Ok(());
        }
        self.check_settled(begun + 30 * SECOND)?;
        self.check_fresh()?;
        self.audit()?;
        Ok(())
    }

    /// All clients close, and the broker keeps no state of them.
    pub(crate) fn close(&mut self) -> Verdict {
        for index in 0..self.clients.len() {
            if let Peer::App(app) = &mut self.clients[index].peer {
                app.client.close(at(self.now));
                self.want(Actor::Client(index), self.now);
            }
        }
        self.run_until(self.now + 60 * SECOND)?;
        for index in 0..self.clients.len() {
            self.drop_link(index, false);
            self.clients[index].peer = Peer::Gone;
        }
        self.run_until(self.now + 60 * SECOND)?;
        let sessions = self.connections.broker.session_count();
        if sessions > 0 {
            return Broken::because(
                "I10",
                format!("{sessions} sessions are left after all clients are gone"),
            );
        }
        // Long enough for the broker to forget everything but topics.
        self.run_until(self.now + 25 * 3_600 * SECOND)?;
        if let Err(error) = self.connections.broker.verify() {
            return Broken::because("I10", format!("the broker contradicts itself at the end: {error}"));
        }
        let ledger = self.connections.broker.ledger();
        // A mutated frame may request a cursor that is kept for much longer.
        let subscriptions = if self.checker.keeps_over_a_day() { 0 } else { ledger.subscriptions };
        let left = ledger.retired + subscriptions + ledger.sessions;
        if left > 0 {
            return Broken::because("I10", format!("{ledger:?} is left at the end"));
        }
        Ok(())
    }

    /// At nine tenths of the budget connections without a subscription are not read, so nothing can be expected.
    pub(super) fn is_short_of_memory(&self) -> bool {
        let budget = self.plan.limits.memory_budget;
        self.connections.broker.ledger().total() + (16 << 10) >= budget - budget / 10
    }

    /// Rules I5, I16: every request was answered, and every record was delivered.
    pub(super) fn check_settled(&self, since: u64) -> Verdict {
        for (index, client) in self.clients.iter().enumerate() {
            let Peer::App(app) = &client.peer else { continue };
            let unfinished = app.unfinished(since);
            if !unfinished.is_empty() {
                return Broken::because("I16", format!("client {index} still waits: {unfinished:?}"));
            }
            let behind = client.link.map(|link| self.checker.behind(link)).unwrap_or_default();
            if !behind.is_empty() {
                return Broken::because("I5", format!("client {index} did not get everything: {behind:?}"));
            }
        }
        Ok(())
    }

    /// A new publish is answered, and its record is delivered.
    pub(super) fn check_fresh(&mut self) -> Verdict {
        let now = self.now;
        let topic = self.plan.topics[0].name.clone();
        for index in 0..self.clients.len() {
            if let Peer::App(app) = &mut self.clients[index].peer {
                app.publish_one(now, &topic, &mut self.checker);
                self.want(Actor::Client(index), now);
            }
        }
        self.run_until(now + 40 * SECOND)?;
        if self.is_short_of_memory() {
            return Ok(());
        }
        self.check_settled(now + 1)
    }
}

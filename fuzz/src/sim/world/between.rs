//! What must hold between any two events: bounds of the memory (rules I10, S15), and no connection left asleep (rule I16).

use zaichik_engine::{Session, Turn};

use super::{Actor, World};
use crate::sim::check::{Broken, Verdict};

impl World {
    /// Checks the conditions that must hold between any two events.
    pub(super) fn check(&mut self, is_thorough: bool) -> Verdict {
        let ledger = self.connections.broker.ledger();
        // The exchange of one connection may have put a last answer or record into the output.
        let room = u64::from(self.plan.limits.max_message) * 3 + (128 << 10);
        if ledger.total() > self.plan.limits.memory_budget + room {
            return Broken::because(
                "I10",
                format!("{ledger:?} is above the budget of {}", self.plan.limits.memory_budget),
            );
        }
        let config = self.connections.broker.config();
        let for_connections = (config.memory / 4).max(config.min_memory() / 2);
        if ledger.sessions > for_connections + room {
            let of = format!("{ledger:?}: the share of connections is {for_connections}");
            return Broken::because("S15", of);
        }
        if !is_thorough {
            return Ok(());
        }
        if let Err(error) = self.connections.broker.verify() {
            return Broken::because("I10", format!("the broker contradicts itself: {error}"));
        }
        let live = self.checker.live_bytes();
        if ledger.topics + self.connections.broker.cold_bytes() < live {
            return Broken::because(
                "I10",
                format!("{} bytes are charged for topics, {live} are live", ledger.topics),
            );
        }
        self.check_stranded()
    }

    /// Rule I16: an exchange of an idle connection changes nothing; otherwise the connection should have been woken.
    pub(super) fn check_stranded(&mut self) -> Verdict {
        if self.pauses.is_stopped() || self.armed().is_some_and(|armed| armed <= self.broker_now()) {
            return Ok(());
        }
        // A request may no longer need the records that it waits for.
        if self.connections.broker.is_fetching() {
            return Ok(());
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            let turn = self.turns.get(&Actor::Link(link));
            if turn.and_then(|turn| turn.wanted).is_some_and(|at| at <= self.now) {
                continue;
            }
            let state = |session: &mut Session| {
                (session.outbound().stream_len(), session.outbound().control_len(), session.status())
            };
            let Some(before) = self.session(link).map(state) else { continue };
            // It waits in line until there is room for all that it lacks (rule S15). Out of turn it may find room for a part.
            let is_in_line = self.session(link).is_some_and(|session| session.lacks_memory());
            let turn = self.exchange(link)?;
            self.collect(turn == Turn::More)?;
            let Some(after) = self.session(link).map(state) else { continue };
            if !is_in_line && (before != after || turn == Turn::More) {
                return Broken::because(
                    "I16",
                    format!("connection {link:#x} was not woken: {before:?}, {after:?}, {turn:?}"),
                );
            }
        }
        Ok(())
    }
}

//! Faults, and when they happen.

use super::{Actor, Peer, World};
use crate::sim::app::App;
use crate::sim::check::Verdict;
use crate::sim::plan::Role;
use crate::sim::trace::{self, Event};
use crate::sim::{MILLI, SECOND};

impl World {
    pub(super) fn want_fault(&mut self, index: usize) {
        let faults = self.plan.faults;
        let means = [faults.freeze, faults.reset, faults.half_open, faults.crash];
        let least = means.into_iter().filter(|mean| *mean > 0).min();
        if let Some(mean) = least {
            let after = self.clients[index].faults.between(1, mean * 2);
            self.want(Actor::Fault(index), self.now + after);
        }
    }

    /// A fault of a client or its connection.
    pub(super) fn fault(&mut self, index: usize) {
        if self.is_healing {
            return;
        }
        let (now, faults) = (self.now, self.plan.faults);
        let rng = &mut self.clients[index].faults;
        let kinds = [
            ("freeze", faults.freeze),
            ("reset", faults.reset),
            ("half-open", faults.half_open),
            ("crash", faults.crash),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|(_, mean)| *mean > 0).collect();
        let (what, mean) = kinds[rng.index(kinds.len())];
        let least = kinds.iter().map(|(_, mean)| *mean).min().unwrap_or(mean);
        // Faults are drawn at the rate of the most frequent kind; rarer kinds are skipped in proportion.
        let happens = rng.below(mean) < least;
        let (long, bytes) = (rng.pick(&[10 * MILLI, SECOND, 15 * SECOND]), rng.pick(&[0, 1, 10, 100, 1_000]));
        let (direction, is_orderly) = (rng.index(2), rng.once_in(2));
        self.want_fault(index);
        let link = self.clients[index].link;
        if !happens || (link.is_none() && what != "crash") {
            return;
        }
        trace::event(now, Event::Fault { client: index, what });
        if what == "crash" {
            self.crash(index, is_orderly);
            return;
        }
        let Some(open) = link.and_then(|link| self.links.get_mut(&link)) else { return };
        match what {
            "freeze" => {
                self.counts.freezes += 1;
                open.frozen_until = now + long;
            }
            "reset" => {
                self.counts.resets += 1;
                if bytes == 0 && direction == 1 {
                    // The client's end is gone; what is on its way reaches the broker late (rule P4).
                    (open.is_cut, open.frozen_until) = (true, now + long);
                } else if bytes == 0 {
                    open.reset_at = Some(now);
                } else {
                    // An earlier break stays in force.
                    open.breaks_after[direction].get_or_insert_with(|| usize::try_from(bytes).unwrap_or(1));
                }
            }
            _ => {
                self.counts.half_opens += 1;
                (open.to_broker.is_silent, open.to_client.is_silent) = (true, true);
            }
        }
        if let Some(link) = link {
            self.want(Actor::Link(link), now);
        }
        self.want(Actor::Client(index), now);
    }

    /// A client crashes; another one takes its place.
    pub(super) fn crash(&mut self, index: usize, is_orderly: bool) {
        let Peer::App(app) = &self.clients[index].peer else { return };
        let Role::Honest(work) = self.plan.roles[index].clone() else { return };
        if !work.crashes {
            return;
        }
        let life = app.life + 1;
        self.counts.crashes += 1;
        self.drop_link(index, is_orderly);
        self.clients[index].peer = Peer::App(Box::new(App::new(&self.plan, index, &work, life)));
        let after = self.clients[index].faults.below(2 * SECOND);
        self.want(Actor::Client(index), self.now + after);
    }

    pub(super) fn want_clock(&mut self) {
        let faults = self.plan.faults;
        let mean = [faults.clock_back, faults.clock_jump].into_iter().filter(|mean| *mean > 0).min();
        if let Some(mean) = mean {
            let after = self.clock.between(1, mean * 2);
            self.want(Actor::Clock, self.now + after);
        }
    }

    pub(super) fn step_clock(&mut self) {
        let faults = self.plan.faults;
        let kinds: Vec<_> = [(-1, faults.clock_back), (1, faults.clock_jump)]
            .into_iter()
            .filter(|(_, mean)| *mean > 0)
            .collect();
        let (sign, _) = kinds[self.clock.index(kinds.len())];
        let by = self.clock.pick(&[1, MILLI, 100 * MILLI, 3 * SECOND]);
        let shift = self.shift + sign * by.cast_signed();
        self.want_clock();
        // All jumps together stay below what clients tolerate.
        if self.is_healing || shift.unsigned_abs() > 20 * SECOND {
            return;
        }
        let before = self.broker_now();
        self.shift = shift;
        self.counts.clock_steps += 1;
        trace::event(self.now, Event::Clock { shift });
        self.report_jump(before);
        self.wake_everything();
    }

    /// The broker's clock was changed, so its deadlines move to other times.
    pub(super) fn wake_everything(&mut self) {
        if let Some(armed) = self.armed() {
            self.want(Actor::House, self.world_time(armed));
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.want(Actor::Link(link), self.now);
        }
    }

    pub(super) fn restart(&mut self) -> Verdict {
        if self.is_healing {
            return Ok(());
        }
        self.want_restart();
        if self.storing.is_some() {
            return self.end();
        }
        self.replace_broker();
        Ok(())
    }

    pub(super) fn want_restart(&mut self) {
        let mean = self.plan.storage.map_or(self.plan.faults.restart, |storage| storage.crash);
        if mean > 0 {
            let after = self.clock.between(1, mean * 2);
            self.want(Actor::Restart, self.now + after);
        }
    }

    /// Another broker replaces the old one, without its state.
    pub(super) fn replace_broker(&mut self) {
        self.instance += 1;
        self.counts.restarts += 1;
        trace::event(self.now, Event::Restart);
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.restart();
        }
        let (config, seed) = (self.plan.broker(), self.plan.seed_of_broker(self.instance));
        self.checker.restart(&config, seed.instance);
        self.connections.restart(config, seed);
        self.pauses.restart();
        self.end_connections();
    }

    /// The broker is gone, and with it its ends of all connections.
    pub(super) fn end_connections(&mut self) {
        for open in self.links.values_mut() {
            open.session = None;
            open.reset_at = Some(self.now);
        }
        for index in 0..self.clients.len() {
            self.want(Actor::Client(index), self.now);
        }
    }
}

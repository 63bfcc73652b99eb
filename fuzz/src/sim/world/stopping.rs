//! Pauses (rule O5): the broker, a client, or the machine on which all of them run is stopped for a time and goes on.

use std::time::Duration;

use super::{Actor, World};
use crate::sim::planted::Saboteur;
use crate::sim::trace::{self, Event, Paused};
use crate::sim::{MILLI, SECOND};

/// The shortest pause of a machine, or step of its clock, that adapters report.
const REPORTED: u64 = SECOND;

/// The longest pause of a process that adapters don't notice.
const UNNOTICED: u64 = 2 * SECOND;

/// A pause that is longer may outlast the broker's memory of producers.
const LONG: u64 = 60 * SECOND;

impl World {
    pub(super) fn want_pause(&mut self) {
        let mean = self.plan.faults.pause;
        if mean > 0 {
            let after = self.pauses.rng.between(1, mean * 2);
            self.want(Actor::Pause, self.now + after);
        }
    }

    /// Something is stopped.
    pub(super) fn pause(&mut self) {
        if self.is_healing {
            return;
        }
        let rng = &mut self.pauses.rng;
        let short = rng.pick(&[300 * MILLI, 1_500 * MILLI, 3 * SECOND, 20 * SECOND, LONG]);
        let long =
            rng.pick(&[500 * MILLI, 5 * SECOND, 600 * SECOND, 6 * 3_600 * SECOND, 72 * 3_600 * SECOND]);
        let who = match rng.index(3) {
            0 => Paused::Broker,
            1 => Paused::Client(rng.index(self.clients.len())),
            _ => Paused::Machine,
        };
        let micros = if matches!(who, Paused::Machine) { long } else { short };
        trace::event(self.now, Event::Paused { who, micros });
        self.counts.pauses += 1;
        let before = self.broker_now();
        match who {
            Paused::Broker => {
                self.pauses.stopped.get_or_insert((self.now + micros, before));
            }
            Paused::Client(client) => self.clients[client].stopped_until = self.now + micros,
            Paused::Machine => {
                if micros > LONG {
                    self.break_busy_links();
                }
                self.now += micros;
                self.report_jump(before);
            }
        }
        self.want_pause();
    }

    /// Connections break that carry requests, or of which the broker has not applied some: it may no longer remember their
    /// producers when it does, and then it can't recognise what was sent before (rule P4, the last clause).
    fn break_busy_links(&mut self) {
        for open in self.links.values_mut() {
            let session = open.session.and_then(|session| self.connections.session(session));
            let waits = session.is_some_and(|session| !session.inbound().is_empty());
            if waits || open.to_broker.next_arrival().is_some() {
                open.reset_at.get_or_insert(self.now);
            }
        }
    }

    /// Until when an actor does not run, if it is stopped.
    pub(super) fn stopped_until(&self, actor: Actor) -> Option<u64> {
        match actor {
            Actor::House | Actor::Link(_) | Actor::Store => self.pauses.stopped.map(|(until, _)| until),
            Actor::Client(client) => {
                Some(self.clients[client].stopped_until).filter(|until| *until > self.now)
            }
            Actor::Fault(_) | Actor::Clock | Actor::Restart | Actor::Pause => None,
        }
    }

    /// A stopped broker goes on, if it is time.
    pub(super) fn resume_broker(&mut self) {
        if let Some((_, before)) = self.pauses.stopped.take_if(|(until, _)| *until <= self.now) {
            self.report(before, UNNOTICED + 1);
        }
    }

    /// The broker's clock, which showed `before`, moved forward faster than the broker ran.
    pub(super) fn report_jump(&mut self, before: u64) {
        if !self.pauses.is_stopped() {
            self.report(before, REPORTED);
        }
    }

    /// Everything that is stopped goes on.
    pub(super) fn resume_all(&mut self) {
        for client in &mut self.clients {
            client.stopped_until = 0;
        }
        if let Some((until, _)) = &mut self.pauses.stopped {
            *until = self.now;
        }
        self.resume_broker();
    }

    /// The broker did not run since its clock showed `before`; that is reported if it is `least` or longer.
    fn report(&mut self, before: u64, least: u64) {
        let pause = self.broker_now().saturating_sub(before.max(self.pauses.latest));
        if pause < least {
            return;
        }
        trace::event(self.now, Event::Resumed { micros: pause });
        self.checker.resumed(pause);
        if self.saboteur.as_mut().is_none_or(|saboteur| Saboteur::reports(saboteur, pause)) {
            self.connections.resumed(Duration::from_micros(pause));
        }
        self.pauses.reported += pause;
    }
}

//! A broker with a store: its commits, what it reads back, and its end, after which another one is restored (chapter B).
//!
//! The store finishes a commit after a time. A broker that ends leaves what is durable, and of the commit under way all or
//! nothing. The checker then continues from what it knew when that commit was made.

use std::rc::Rc;

use zaichik_engine::{Broker, Restore};
use zaichik_store_journal::StoreError;

use super::store::{InFlight, Storing};
use super::{Actor, World};
use crate::restored::same_rows;
use crate::sim::app::at;
use crate::sim::check::{Broken, Committed, Verdict};
use crate::sim::planted::Saboteur;
use crate::sim::random::{Concern, Rng};
use crate::sim::trace::{self, Event};
use crate::sim::{MILLI, SECOND};
use zaichik_engine::store::{Commit, Row, RowError};

/// Of the commits of a broker with much state, one in that many is compared with it.
const COMPARED: u64 = 16;

/// After this time a commit that found no space is tried again.
const RETRY: u64 = 500 * MILLI;

/// Rows of a broker with much state.
const MUCH: usize = 200;

impl World {
    /// The store finishes its commit if it is time, and takes the next one; and it reads records back.
    pub(super) fn store(&mut self) -> Verdict {
        self.fetch()?;
        self.commit()?;
        self.sync_store()
    }

    /// The store reads back what the broker asked for, whether or not a commit is under way.
    fn fetch(&mut self) -> Verdict {
        let (now, broker_now) = (self.now, self.broker_now());
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.ends_after.is_none()) else {
            return Ok(());
        };
        let connections = &mut self.connections;
        while let Some((_, fetch)) = storing.fetches.pop_front_if(|(at, _)| *at <= now) {
            self.pauses.tick(broker_now);
            self.checker.tick(broker_now + self.saboteur.as_ref().map_or(0, Saboteur::behind));
            trace::event(now, Event::Fetched { from: fetch.from, to: fetch.to });
            self.counts.fetches += 1;
            let records = storing.durable.fetch(&fetch);
            let fetched =
                connections.broker.fetched(at(broker_now), fetch, records, &mut connections.effects);
            if let Err(error) = fetched {
                return Broken::because("B8", error.to_string());
            }
        }
        let latency = self.plan.storage.filter(|_| !self.is_healing).map_or(0, |plan| plan.latency);
        while let Some(fetch) = connections.broker.poll_fetch() {
            let last = storing.fetches.back().map_or(now, |(at, _)| *at);
            storing.fetches.push_back((last.max(now + storing.rng.below(latency + 1)), fetch));
        }
        let next = storing.fetches.front().map(|(at, _)| *at);
        if let Some(next) = next {
            self.want(Actor::Store, next.max(now));
        }
        self.collect(false)
    }

    fn commit(&mut self) -> Verdict {
        self.finish_commit()?;
        let is_idle = |storing: &Storing| storing.in_flight.is_none() && storing.ends_after.is_none();
        if self.storing.as_deref().is_some_and(is_idle) {
            self.tend_store()?;
            self.take_commit()?;
        }
        self.collect(false)
    }

    /// The commit under way is made if it is time, unless there is no space.
    fn finish_commit(&mut self) -> Verdict {
        let (now, broker_now) = (self.now, self.broker_now());
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.ends_after.is_none()) else {
            return Ok(());
        };
        if let Some(done_at) = storing.in_flight.as_ref().map(|commit| commit.done_at).filter(|at| *at > now)
        {
            self.want(Actor::Store, done_at);
            return Ok(());
        }
        let connections = &mut self.connections;
        let is_lost = |commit: &Commit| {
            self.saboteur.as_ref().is_some_and(|saboteur| saboteur.loses_commit(commit.ticket.number()))
        };
        if let Some(in_flight) = storing.in_flight.as_mut().filter(|one| !is_lost(&one.commit))
            && let Some(journal) = &mut storing.journal
        {
            match journal.commit(&in_flight.commit) {
                Ok(()) => {}
                Err(StoreError::Full) => {
                    in_flight.done_at = now + RETRY;
                    self.want(Actor::Store, now + RETRY);
                    return self.find_space(true);
                }
                Err(_) => {
                    in_flight.is_tried = true;
                    storing.ends_after = Some(storing.rng.below(20));
                    return self.fail_store();
                }
            }
        }
        self.pauses.tick(broker_now);
        self.checker.tick(broker_now + self.saboteur.as_ref().map_or(0, Saboteur::behind));
        if let Some(InFlight { commit, state, .. }) = storing.in_flight.take() {
            trace::event(now, Event::Durable { ticket: commit.ticket.number() });
            let ticket = commit.ticket;
            storing.make(commit, state);
            let effects = &mut connections.effects;
            if let Some(syncs) = storing.syncs.as_mut().filter(|syncs| !syncs.lacks_commits) {
                syncs.due = syncs.due.filter(|due| *due > now);
                let _ = connections.broker.written(at(broker_now), ticket, effects);
                return Ok(());
            }
            // The first commit of another instance is synced at once.
            if let Some(syncs) = &mut storing.syncs {
                syncs.synced();
                syncs.lacks_commits = false;
            }
            let _ = connections.broker.committed(at(broker_now), ticket, effects);
        }
        Ok(())
    }

    /// The store takes the next commit, if one is due.
    fn take_commit(&mut self) -> Verdict {
        let broker_now = self.tick();
        let now = self.now;
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.ends_after.is_none()) else {
            return Ok(());
        };
        let connections = &mut self.connections;
        let due = connections.broker.poll_commit(at(broker_now), &mut connections.effects);
        if let Some(commit) = due {
            trace::event(now, Event::Commit { ticket: commit.ticket.number(), ops: commit.ops.len() });
            self.counts.commits += 1;
            storing.commits += 1;
            storing.made.apply(&commit);
            let is_compared = storing.made.len() <= MUCH || storing.commits.is_multiple_of(COMPARED);
            if is_compared && let Err(text) = same_rows(storing.made.iter(), &connections.broker) {
                return Broken::because("B6", text);
            }
            let slow = storing.rng.below(10 * SECOND);
            let plan = self.plan.storage.filter(|_| !self.is_healing);
            let latency = plan.map_or(0, |plan| {
                let is_slow = storing.rng.once_in(plan.slow);
                let latency = storing.rng.below(plan.latency + 1);
                if is_slow && (storing.journal.is_some() || slow.is_multiple_of(2)) {
                    storing.fill(now + latency + slow);
                    return latency;
                }
                latency + if is_slow { slow } else { 0 }
            });
            let done_at = now + latency;
            let state = Rc::new(self.checker.committed());
            storing.in_flight = Some(InFlight { commit, done_at, is_tried: false, state });
            self.want(Actor::Store, done_at);
        } else if let Some(due) = connections.broker.next_commit() {
            self.want(Actor::Store, self.world_time(due.as_micros()).max(now + 1));
        }
        Ok(())
    }

    /// The store finishes everything that somebody waits for, at once.
    pub(super) fn flush_store(&mut self) -> Verdict {
        for _ in 0..8 {
            let now = self.now;
            if let Some(storing) = self.storing.as_deref_mut()
                && let Some(commit) = &mut storing.in_flight
            {
                commit.done_at = now;
            }
            for (at, _) in self.storing.iter_mut().flat_map(|storing| &mut storing.fetches) {
                *at = now;
            }
            for syncs in self.storing.iter_mut().filter_map(|storing| storing.syncs.as_mut()) {
                syncs.due = syncs.due.map(|_| now);
            }
            self.store()?;
            let wants_sync = self.connections.broker.wants_sync();
            let is_idle =
                |storing: &Storing| storing.in_flight.is_none() && storing.fetches.is_empty() && !wants_sync;
            if self.storing.as_deref().is_none_or(is_idle) {
                break;
            }
        }
        Ok(())
    }

    /// The broker ends, or its store fails and it ends soon.
    pub(super) fn end(&mut self) -> Verdict {
        let fail = self.plan.storage.map_or(0, |plan| plan.fail);
        let Some(storing) = self.storing.as_deref_mut().filter(|storing| storing.ends_after.is_none()) else {
            return Ok(());
        };
        if storing.rng.once_in(fail) {
            if let Some(journal) = &storing.journal {
                journal.fail(&mut storing.rng);
                return Ok(());
            }
            storing.ends_after = Some(storing.rng.below(20));
            return self.fail_store();
        }
        self.recover()
    }

    /// A broker whose store has failed ends after some events.
    pub(super) fn end_if_failed(&mut self) -> Verdict {
        let Some(events) = self.storing.as_deref_mut().and_then(|storing| storing.ends_after.as_mut()) else {
            return Ok(());
        };
        if *events > 0 {
            *events -= 1;
            return Ok(());
        }
        self.recover()
    }

    /// No fault happens any more: a broker whose store has failed is restored, and another one may be.
    pub(super) fn heal_store(&mut self) -> Verdict {
        let Some(storing) = self.storing.as_deref_mut() else { return Ok(()) };
        if storing.rng.once_in(2) || storing.ends_after.is_some() {
            return self.recover();
        }
        if let Some(journal) = &storing.journal {
            journal.heal();
        }
        storing.full_until = None;
        // No commit takes long any more.
        self.flush_store()
    }

    pub(super) fn fail_store(&mut self) -> Verdict {
        let broker_now = self.tick();
        trace::event(self.now, Event::StoreFailed);
        let connections = &mut self.connections;
        connections.broker.store_failed(at(broker_now), &mut connections.effects);
        self.collect(false)
    }

    /// The broker ends, and another one is restored from what its store has.
    fn recover(&mut self) -> Verdict {
        self.compare_pair()?;
        let broker_now = self.broker_now();
        let Some(storing) = self.storing.as_deref_mut() else { return Ok(()) };
        let lacks_commits = storing.end()?;
        storing.made.clone_from(&storing.durable);
        storing.fetches.clear();
        storing.ends_after = None;
        (storing.full_until, storing.is_full) = (None, false);
        let committed = Committed::clone(&storing.state);
        self.counts.recoveries += 1;
        self.counts.losses += u64::from(lacks_commits);
        trace::event(self.now, if lacks_commits { Event::Lost } else { Event::Recovered });
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.restart();
        }
        let keeps = self.saboteur.as_ref().is_some_and(Saboteur::keeps_instance);
        let broker = match self.restored(broker_now, lacks_commits && !keeps) {
            Ok(broker) => broker,
            Err(error) => return Broken::because("B1", format!("it can't be restored: {error}")),
        };
        if lacks_commits {
            let instance = self.plan.seed_of_broker(self.counts.recoveries).instance;
            self.checker.lost(committed, broker_now, instance)?;
        } else {
            self.checker.recovered(committed, broker_now)?;
        }
        self.connections.replace(broker);
        self.connections.broker.begin_storing();
        self.pauses.restart();
        self.end_connections();
        self.want(Actor::Store, self.now);
        self.wake_everything();
        Ok(())
    }

    /// A broker from the rows that are durable: the same instance, or another one. All records stay in the store, or none, or
    /// some.
    fn restored(&self, broker_now: u64, is_another: bool) -> Result<Broker, RowError> {
        let (config, seed) = (self.plan.broker(), self.plan.seed_of_broker(self.counts.recoveries));
        let restore = if is_another { Restore::as_another } else { Restore::new };
        let mut restore = restore(config, seed)?;
        let Some(storing) = self.storing.as_deref() else { return restore.finish(at(broker_now)) };
        let mut rng = Rng::new(self.plan.seed, Concern::Heads, self.counts.recoveries);
        let shown = rng.below(3);
        for ((key, value), row) in storing.durable.encoded().zip(storing.durable.iter()) {
            if let Row::Records(records) = row
                && let Some(known) = records.head()
                && (shown == 2 || shown == 1 && rng.once_in(2))
            {
                let mut head = Vec::new();
                known.encode(&mut head);
                if restore.head(key, &head)? {
                    continue;
                }
            }
            restore.row(key, &value)?;
        }
        restore.finish(at(broker_now))
    }
}

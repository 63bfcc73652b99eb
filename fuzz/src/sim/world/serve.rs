//! The broker's ends of connections, and its housekeeping, driven the way adapters drive them.

use bytes::Buf;
use zaichik_engine::{Broker, CloseReason, Status, Turn};
use zaichik_proto::RECORD_OVERHEAD;

use super::left::left_uncommitted;
use super::link::{Link, has_held_pong, new_frames, send};
use super::silence::Deadlines;
use super::{Actor, READ_AT_ONCE, World};
use crate::sim::app::at;
use crate::sim::check::{Broken, Step, Verdict};
use crate::sim::pipe::Pipe;
use crate::sim::planted::Saboteur;
use crate::sim::random::{Concern, Rng};
use crate::sim::trace::{self, Event};

impl World {
    pub(super) fn housekeep(&mut self) -> Verdict {
        let Some(armed) = self.armed() else { return Ok(()) };
        if armed > self.broker_now() {
            self.want(Actor::House, self.world_time(armed));
            return Ok(());
        }
        let broker_now = self.tick();
        trace::event(self.now, Event::House);
        let may_lack = self.plan.limits.may_lack_memory();
        let may_be_left = may_lack || self.plan.storage.is_some();
        let may_bury = may_be_left && self.checker.may_bury_late(broker_now + self.behind());
        let before = self.connections.broker.steps();
        let turn = self.connections.housekeep();
        check_work(self.connections.broker.steps() - before, 0)?;
        let left = if may_bury {
            left_uncommitted(&self.connections.broker, may_lack, [false, true])
        } else {
            Vec::new()
        };
        self.checker.housekept(broker_now + self.behind(), &left);
        if let Some(armed) = self.armed() {
            let late = if self.is_healing { 0 } else { self.plan.faults.late };
            let late = if turn == Turn::More { 0 } else { self.lateness.below(late + 1) };
            self.want(Actor::House, self.world_time(armed).max(self.now) + late);
        }
        self.collect(false)
    }

    /// Applies the broker's effects, and checks that it announces its deadline.
    pub(super) fn collect(&mut self, more: bool) -> Verdict {
        while let Some(connection) = self.connections.pop_wake() {
            if self.saboteur.as_mut().is_some_and(Saboteur::loses_wake) {
                continue;
            }
            self.want(Actor::Link(self.link_of[&connection]), self.now);
        }
        if self.connections.rearm()
            && let Some(next) = self.armed()
        {
            self.want(Actor::House, self.world_time(next));
        }
        if self.connections.effects.take_store() | self.connections.effects.take_fetch() {
            self.want(Actor::Store, self.now);
        }
        if !self.connections.is_armed() && !more {
            let (next, armed) = (self.connections.broker.next_timeout(), self.armed());
            return Broken::because(
                "I16",
                format!("the deadline moved to {next:?} without notice: {armed:?}"),
            );
        }
        Ok(())
    }

    /// The broker accepts a connection, for which it may evict another one.
    pub(super) fn open(&mut self, link: u64, client: usize) -> Verdict {
        let broker_now = self.tick();
        self.checker.tick(broker_now + self.behind());
        let session = self.connections.accept();
        self.link_of.insert(session, link);
        trace::event(self.now, Event::Accepted { link });
        self.counts.connections += 1;
        self.checker.accepted(link);
        let open = Link {
            session: Some(session),
            client,
            to_broker: Pipe::default(),
            to_client: Pipe::default(),
            rng: Rng::new(self.plan.seed, Concern::Net, link),
            frozen_until: 0,
            reset_at: None,
            is_cut: false,
            breaks_after: [None; 2],
            is_eof_reported: false,
            is_abandoned: false,
            deadlines: Deadlines::new(self.pauses.running()),
        };
        self.links.insert(link, open);
        self.want(Actor::Link(link), self.now);
        self.collect(false)
    }

    /// Serves the broker's end of a connection: read, exchange, write, and handle what is due only
    /// if there is nothing else to do, as the driver does.
    pub(super) fn serve(&mut self, link: u64) -> Verdict {
        let Some(connection) = self.links.get(&link).and_then(|open| open.session) else { return Ok(()) };
        let (now, broker_now) = (self.now, self.tick());
        let Some(open) = self.links.get_mut(&link) else { return Ok(()) };
        let mut gone = false;
        let mut read = 0;
        let running = self.pauses.running();
        let Some(mut session) = self.connections.session(connection) else { return Ok(()) };
        open.deadlines.observe(running, session);
        open.deadlines.tick(self.pauses.running_at(broker_now));
        if open.reset_at.is_some_and(|time| time <= now) {
            session.close(at(broker_now), CloseReason::PeerGone);
            gone = true;
        }
        while !gone && open.frozen_until <= now && session.wants_read() && read < READ_AT_ONCE {
            let limit = session.read_limit().min(READ_AT_ONCE - read);
            if let Some(mut bytes) = open.to_broker.read(now, limit) {
                self.checker.received(link, &bytes);
                open.deadlines.heard();
                let before = session.inbound().len() + bytes.len();
                read += self.connections.read(connection, &mut bytes, limit);
                session = self.connections.session(connection).expect("it is open");
                let taken = before - session.inbound().len();
                if session.close_reason().is_none() {
                    self.checker.handshake_read(link, taken);
                }
            } else if open.to_broker.is_over() && !open.is_eof_reported {
                open.is_eof_reported = true;
                session.handle_eof(at(broker_now));
            } else {
                break;
            }
        }
        let turn = self.exchange(link)?;
        let wrote = if gone { 0 } else { self.write(link) };
        let is_idle = turn == Turn::Done && read < READ_AT_ONCE && wrote == 0;
        let timed_out = is_idle && !gone && self.time_out(link)?;
        if is_idle {
            self.check_handshake(link)?;
        }
        self.after_turn(link, Served { turn, gone, read, wrote, timed_out })
    }

    pub(super) fn after_turn(
        &mut self,
        link: u64,
        Served { turn, gone, read, wrote, timed_out }: Served,
    ) -> Verdict {
        let Some(open) = self.links.get_mut(&link) else { return Ok(()) };
        let Some(connection) = open.session else { return Ok(()) };
        let Some(session) = self.connections.session(connection) else { return Ok(()) };
        let status = session.status();
        let is_over =
            matches!(status, Status::Closed) && !timed_out || (gone && matches!(status, Status::Closing));
        let client = open.client;
        if is_over {
            open.session = None;
            open.to_client.finish();
            trace::event(self.now, Event::Ended { link, client });
            let broker_now = self.tick();
            self.checker.tick(broker_now + self.behind());
            self.connections.detach(connection);
            self.collect(false)?;
            let arrival =
                self.links.get(&link).and_then(|open| open.to_client.next_arrival()).unwrap_or(self.now);
            self.wake_client(client, arrival);
            return Ok(());
        }
        if timed_out {
            // Only after the next turn is it known whether the connection is over.
            if read > 0 {
                self.wake_client(client, self.now);
            }
            self.want(Actor::Link(link), self.now);
            return self.collect(false);
        }
        let due = session.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        let can_read = session.wants_read() && open.frozen_until <= self.now;
        let arrival = open.to_broker.next_arrival().filter(|_| can_read);
        let thaws = (open.frozen_until > self.now).then_some(open.frozen_until);
        let is_busy = turn == Turn::More || wrote > 0 || read >= READ_AT_ONCE;
        let is_ended = can_read && open.to_broker.is_over() && !open.is_eof_reported;
        if read > 0 {
            // There is room for more now.
            self.wake_client(client, self.now);
        }
        if is_busy || is_ended {
            self.want(Actor::Link(link), self.now);
        }
        for time in
            due.map(|due| self.world_time(due).max(self.now + 1)).into_iter().chain(arrival).chain(thaws)
        {
            self.want(Actor::Link(link), time);
        }
        self.collect(turn == Turn::More)
    }

    /// A session exchanges with the broker, and the checker checks the outcome.
    pub(super) fn exchange(&mut self, link: u64) -> Result<Turn, Broken> {
        let Some(connection) = self.links.get(&link).and_then(|open| open.session) else {
            return Ok(Turn::Done);
        };
        let broker_now = self.tick();
        let (before_stats, steps) = (*self.connections.broker.stats(), self.connections.broker.steps());
        let Some(session) = self.connections.session(connection) else { return Ok(Turn::Done) };
        if let Some(saboteur) = self.saboteur.as_mut().filter(|_| session.status() == Status::Open) {
            saboteur.alter_requests(link, session.inbound());
        }
        let (waiting, was_over) = (session.inbound().len(), session.close_reason().is_some());
        let before = session.outbound().unsent_lengths();
        let running = self.pauses.running();
        if let Some(open) = self.links.get_mut(&link) {
            open.deadlines.tick(running);
        }
        let turn = self.connections.exchange(connection);
        let steps = self.connections.broker.steps() - steps;
        let stats = *self.connections.broker.stats();
        let is_fetching = self.connections.broker.is_fetching();
        let Some(session) = self.connections.session(connection) else { return Ok(Turn::Done) };
        let taken = waiting - session.inbound().len();
        let applied = match session.close_reason() {
            None => taken,
            // Requests were applied until one of them, or the end of the stream, ended the connection.
            Some(CloseReason::Protocol(_) | CloseReason::Requested | CloseReason::PeerGone) if !was_over => {
                waiting
            }
            Some(_) => 0,
        };
        check_work(steps, applied)?;
        let is_over = session.close_reason().is_some();
        let is_orderly = matches!(
            session.close_reason(),
            Some(CloseReason::Requested | CloseReason::Stopped | CloseReason::Internal)
        );
        let has_room = session.outbound().stream_len() < self.plan.limits.output_buffer;
        let may_lack = self.plan.limits.may_lack_memory();
        // At its own limit it goes on when its peer has read (rule S15).
        let waits = session.outbound().unsent_lengths() != [0; 3];
        let is_short = may_lack && (session.lacks_memory() || waits);
        let is_open = session.status() == Status::Open;
        let is_drained = has_room && !is_short && turn == Turn::Done && is_open && !is_fetching;
        let refused = may_lack.then_some(stats.refused - before_stats.refused);
        let dead_letters = may_lack.then_some(stats.dead_letters - before_stats.dead_letters);
        // The end of a connection waits neither for memory nor for records that are only in the store (rule B8).
        let may_be_left = may_lack || self.plan.storage.is_some();
        let of_exclusive = is_over && may_be_left && self.checker.may_bury(link);
        let of_shared = (is_over || applied > 0) && may_be_left && self.checker.may_bury_shared(link);
        let left = if of_exclusive || of_shared {
            left_uncommitted(&self.connections.broker, may_lack, [of_exclusive, of_shared])
        } else {
            Vec::new()
        };
        let Some(session) = self.connections.session(connection) else { return Ok(Turn::Done) };
        // What waited for a store that failed was dropped: there is nothing new but the reason.
        let has_failed = session.close_reason() == Some(CloseReason::Internal);
        if self.storing.is_some() && !has_failed && has_held_pong(before, session.outbound()) {
            return Broken::because("B6", "a Pong waits for the store".to_owned()).map(|()| turn);
        }
        let new = (!has_failed).then(|| new_frames(before, session.outbound()));
        let (mut control, mut stream) = new.unwrap_or_default();
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.alter_answers(link, taken, is_over, [&mut control, &mut stream]);
            saboteur.intrude(&mut self.connections);
        }
        trace::bytes(&control);
        trace::bytes(&stream);
        let requests = applied;
        if requests + control.len() + stream.len() > 0 || is_over {
            let (control, stream) = (control.len(), stream.len());
            trace::event(self.now, Event::Served { link, requests, control, stream });
        }
        let (taken, control, stream) = (applied, &control[..], &stream[..]);
        self.checker.step(Step {
            link,
            taken,
            is_over,
            is_orderly,
            is_drained,
            control,
            stream,
            now: broker_now + self.behind(),
            refused,
            dead_letters,
            left: &left,
        })?;
        Ok(turn)
    }

    /// Writes what the network accepts; returns how many bytes.
    pub(super) fn write(&mut self, link: u64) -> usize {
        let (now, faults) = (self.now, self.plan.faults);
        let is_healing = self.is_healing;
        let Some(open) = self.links.get_mut(&link) else { return 0 };
        let mut wrote = 0;
        let mut arrives = None;
        while open.frozen_until <= now {
            let Some(connection) = open.session else { break };
            let Some(session) = self.connections.session(connection) else { break };
            if !session.outbound().has_remaining() {
                break;
            }
            let room = open.to_client.room(&faults).min(session.outbound().remaining());
            let room = if faults.partial > 0 && !is_healing {
                room.min(usize::try_from(open.rng.between(1, faults.partial)).unwrap_or(1))
            } else {
                room
            };
            if room == 0 {
                break;
            }
            let bytes = self.connections.write(connection, room);
            wrote += bytes.len();
            if open.is_abandoned {
                // The other end is gone, and the network resets the connection.
                open.reset_at.get_or_insert(now + faults.latency);
            }
            let bytes = match &mut self.saboteur {
                Some(saboteur) => saboteur.alter_output(link, &bytes),
                None => bytes,
            };
            arrives = Some(send(open, 1, now, bytes, &faults));
            if wrote >= READ_AT_ONCE || (faults.partial > 0 && open.rng.once_in(2)) {
                break;
            }
        }
        let client = open.client;
        if let Some(last) = arrives {
            let first = open.to_client.next_arrival().unwrap_or(last);
            self.wake_client(client, first);
        }
        if let Some(time) = self.links.get(&link).and_then(|open| open.reset_at) {
            self.want(Actor::Link(link), time);
            self.wake_client(client, time);
        }
        wrote
    }
}

/// What happened in a turn of the broker's end of a connection.
pub(super) struct Served {
    pub(super) turn: Turn,
    /// Whether the connection is reset.
    pub(super) gone: bool,
    pub(super) read: usize,
    pub(super) wrote: usize,
    /// Whether a deadline was handled.
    pub(super) timed_out: bool,
}

/// Rule S14: the work of a call that applied some bytes of requests is bounded.
fn check_work(steps: u64, applied: usize) -> Verdict {
    let of_records = 4 * (applied / RECORD_OVERHEAD) as u64;
    if steps > Broker::MAX_STEPS + of_records {
        return Broken::because("S14", format!("{steps} steps in one call, which applied {applied} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::BEGINNING;
    use super::*;
    use crate::sim::plan::{FAULT_CLASSES, Plan};
    use crate::sim::{SECOND, Setup};

    #[test]
    fn i16_a_connection_that_is_evicted_for_another_one_is_woken_at_once() {
        let without = FAULT_CLASSES.iter().map(|class| (*class).to_owned()).collect();
        let mut plan = Plan::draw(&Setup { without, ..Setup::new(1) });
        (plan.limits.max_handshakes, plan.faults.capacity) = (1, 1 << 10);
        plan.absent = (0..plan.roles.len()).collect();
        let mut world = World::new(plan);
        world.open(0, usize::MAX).expect("there is room");
        world.run_until(BEGINNING + SECOND).expect("it is served");
        world.open(1, usize::MAX).expect("the first one is evicted");
        world.check_stranded().expect("it was woken");
        world.run_until(BEGINNING + 2 * SECOND).expect("it is served");
        let links = world.links.iter().filter(|(_, open)| open.session.is_some());
        assert!(links.map(|(link, _)| *link).eq([1]), "the second one is in its handshake");
    }
}

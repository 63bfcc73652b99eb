//! The broker's ends of connections, and its housekeeping, driven the way adapters drive them.

use std::collections::VecDeque;

use bytes::Buf;
use zaichik_engine::{CloseReason, Status, Turn};

use super::link::{Link, send};
use super::{Actor, READ_AT_ONCE, World};
use crate::sim::app::at;
use crate::sim::check::{Broken, Step, Verdict};
use crate::sim::pipe::Pipe;
use crate::sim::random::{Concern, Rng};
use crate::sim::trace::{self, Event};

impl World {
    pub(super) fn housekeep(&mut self) -> Verdict {
        let broker_now = self.broker_now();
        let Some(armed) = self.armed else { return Ok(()) };
        if armed > broker_now {
            self.want(Actor::House, self.world_time(armed));
            return Ok(());
        }
        trace::event(self.now, Event::House);
        let turn = self.broker.handle_timeout(at(broker_now), &mut self.effects);
        self.checker.housekept(broker_now);
        self.armed = self.broker.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        if let Some(armed) = self.armed {
            let late = if self.is_healing { 0 } else { self.plan.faults.late };
            let late = if turn == Turn::More { 0 } else { self.lateness.below(late + 1) };
            self.want(Actor::House, self.world_time(armed).max(self.now) + late);
        }
        self.collect(false)
    }

    /// Applies the broker's effects, and checks that it announces its deadline.
    pub(super) fn collect(&mut self, more: bool) -> Verdict {
        while let Some(id) = self.effects.pop_wake() {
            if let Some(link) = self.by_session.get(&id) {
                self.want(Actor::Link(*link), self.now);
            }
        }
        let next = self.broker.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        if self.effects.take_rearm() {
            self.armed = next;
            if let Some(next) = next {
                self.want(Actor::House, self.world_time(next));
            }
        }
        let is_told = next.is_none_or(|next| self.armed.is_some_and(|armed| armed <= next));
        if !is_told && !more {
            return Broken::because(
                "I16",
                format!("the deadline moved to {next:?} without notice: {:?}", self.armed),
            );
        }
        Ok(())
    }

    pub(super) fn open(&mut self, link: u64, client: usize) {
        let broker_now = self.broker_now();
        self.checker.tick(broker_now);
        let session = self.broker.accept(at(broker_now), &mut self.effects);
        trace::event(self.now, Event::Accepted { link });
        self.counts.connections += 1;
        self.checker.accepted(link);
        self.by_session.insert(session.id(), link);
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
            stream: VecDeque::new(),
            is_partly_sent: false,
        };
        self.links.insert(link, open);
        self.want(Actor::Link(link), self.now);
    }

    /// Serves the broker's end of a connection: read, exchange, write, sleep, as the driver does.
    pub(super) fn serve(&mut self, link: u64) -> Verdict {
        let (now, broker_now) = (self.now, self.broker_now());
        let Some(open) = self.links.get_mut(&link) else { return Ok(()) };
        let Some(session) = open.session.as_mut() else { return Ok(()) };
        let mut gone = false;
        let mut read = 0;
        let before_timeout = session.next_timeout().is_some_and(|due| due.as_micros() <= broker_now);
        if before_timeout {
            session.handle_timeout(at(broker_now));
        }
        if open.reset_at.is_some_and(|time| time <= now) {
            session.close(at(broker_now), CloseReason::PeerGone);
            gone = true;
        }
        while !gone && open.frozen_until <= now && session.wants_read() && read < READ_AT_ONCE {
            let limit = session.read_limit().min(READ_AT_ONCE - read);
            if let Some(bytes) = open.to_broker.read(now, limit) {
                read += bytes.len();
                session.inbound().extend_from_slice(&bytes);
                self.checker.received(link, &bytes);
                let before = session.inbound().len();
                session.handle_read(at(broker_now));
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
        self.after_turn(link, turn, gone, read, wrote)
    }

    pub(super) fn after_turn(
        &mut self,
        link: u64,
        turn: Turn,
        gone: bool,
        read: usize,
        wrote: usize,
    ) -> Verdict {
        let Some(open) = self.links.get_mut(&link) else { return Ok(()) };
        let Some(session) = open.session.as_mut() else { return Ok(()) };
        let status = session.status();
        let is_over = matches!(status, Status::Closed) || (gone && matches!(status, Status::Closing));
        let client = open.client;
        if is_over {
            let id = session.id();
            open.session = None;
            open.to_client.finish();
            self.by_session.remove(&id);
            trace::event(self.now, Event::Ended { link, client });
            let broker_now = self.broker_now();
            self.checker.tick(broker_now);
            self.broker.detach(at(broker_now), id, &mut self.effects);
            self.collect(false)?;
            let arrival =
                self.links.get(&link).and_then(|open| open.to_client.next_arrival()).unwrap_or(self.now);
            self.wake_client(client, arrival);
            return Ok(());
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
        let broker_now = self.broker_now();
        let Some(open) = self.links.get_mut(&link) else { return Ok(Turn::Done) };
        let Some(session) = open.session.as_mut() else { return Ok(Turn::Done) };
        let (waiting, was_over) = (session.inbound().len(), session.close_reason().is_some());
        let before_stats = *self.broker.stats();
        let out = session.outbound();
        let before = (out.control_len(), out.stream_len());
        let turn = session.exchange(at(broker_now), &mut self.broker, &mut self.effects);
        let applied = match session.close_reason() {
            None => waiting - session.inbound().len(),
            // Requests were applied until one of them, or the end of the stream, ended the connection.
            Some(CloseReason::Protocol(_) | CloseReason::Requested | CloseReason::PeerGone) if !was_over => {
                waiting
            }
            Some(_) => 0,
        };
        let is_over = session.close_reason().is_some();
        let has_room = session.outbound().stream_len() < self.plan.limits.output_buffer;
        let is_drained = has_room && turn == Turn::Done && session.status() == Status::Open;
        let (may_lack, stats) = (self.plan.limits.may_lack_memory(), *self.broker.stats());
        let refused = may_lack.then_some(stats.refused - before_stats.refused);
        let dead_letters = may_lack.then_some(stats.dead_letters - before_stats.dead_letters);
        let (control, stream) = open.new_frames(before);
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
            is_drained,
            control,
            stream,
            now: broker_now,
            refused,
            dead_letters,
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
            let Some(session) = open.session.as_mut() else { break };
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
            let before = session.outbound().stream_len();
            let bytes = session.outbound().copy_to_bytes(room);
            let of_stream = before - session.outbound().stream_len();
            open.stream_sent(of_stream);
            wrote += bytes.len();
            if open.is_abandoned {
                // The other end is gone, and the network resets the connection.
                open.reset_at.get_or_insert(now + faults.latency);
            }
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

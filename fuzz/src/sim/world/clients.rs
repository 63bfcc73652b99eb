//! The clients' ends of connections.

use bytes::Buf;
use zaichik_client::Link as ClientLink;

use super::link::send;
use super::{Actor, Peer, READ_AT_ONCE, World};
use crate::sim::SECOND;
use crate::sim::app::at;
use crate::sim::check::{Broken, Verdict};
use crate::sim::trace::{self, Event};

impl World {
    pub(super) fn wake_client(&mut self, client: usize, time: u64) {
        if client < self.clients.len() {
            self.want(Actor::Client(client), time);
        }
    }

    /// A client's turn: its connection, its time, its application.
    pub(super) fn client(&mut self, index: usize) -> Verdict {
        match &self.clients[index].peer {
            Peer::App(_) => self.app(index),
            Peer::Raw(_) => self.raw(index),
            Peer::Gone => Ok(()),
        }
    }

    pub(super) fn app(&mut self, index: usize) -> Verdict {
        let now = self.now;
        // After a pause, what has arrived is read before the client looks at its deadlines (rule S4).
        let was_stopped = std::mem::take(&mut self.clients[index].stopped_until) > 0;
        let (early, soon) = if was_stopped { self.pump(index) } else { (0, 0) };
        self.time_out_client(index)?;
        let Peer::App(app) = &mut self.clients[index].peer else { return Ok(()) };
        match app.client.link() {
            ClientLink::Closed(reason) => {
                return self.client_closed(index, reason.map(|reason| reason.to_string()));
            }
            ClientLink::Connect { at: time } if time.as_micros() <= now => self.connect(index)?,
            ClientLink::Connect { .. } => self.drop_link(index, true),
            ClientLink::Handshake | ClientLink::Open | ClientLink::Closing => {}
        }
        let (read, wrote) = self.pump(index);
        let (read, wrote) = (early + read, soon + wrote);
        let client = &mut self.clients[index];
        let Peer::App(app) = &mut client.peer else { return Ok(()) };
        app.step(now, &self.plan, &mut self.checker)?;
        let (answers, messages) = (app.answers, app.messages);
        let (again, sent) = self.pump(index);
        trace::event(
            now,
            Event::Client { client: index, read: read + again, wrote: wrote + sent, answers, messages },
        );
        let client = &self.clients[index];
        let Peer::App(app) = &client.peer else { return Ok(()) };
        let wish = match app.client.link() {
            ClientLink::Connect { at } => Some(at.as_micros()),
            ClientLink::Closed(_) => Some(now),
            _ => None,
        };
        let due = app.client.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        let own = app.next_time();
        let wants_read = app.client.wants_read();
        let arrival = client.link.and_then(|link| self.links.get(&link)).and_then(|open| {
            let thawed = open.frozen_until.max(now);
            let bytes = open.to_client.next_arrival().filter(|_| wants_read).map(|time| time.max(thawed));
            bytes.into_iter().chain(open.reset_at).chain(open.to_client.is_over().then_some(now)).min()
        });
        let is_busy = read + again + wrote + sent + answers + messages > 0;
        for time in wish.into_iter().chain(due).chain(arrival).chain([own]).chain(is_busy.then_some(now)) {
            self.want(Actor::Client(index), time.max(now + u64::from(!is_busy)));
        }
        Ok(())
    }

    /// A real client closes only on request.
    pub(super) fn client_closed(&mut self, index: usize, reason: Option<String>) -> Verdict {
        self.drop_link(index, true);
        self.clients[index].peer = Peer::Gone;
        match reason {
            None if self.is_healing => Ok(()),
            // A broker without memory may not have answered its last requests.
            Some(_) if self.is_healing && self.is_short_of_memory() => Ok(()),
            reason => Broken::because("P4", format!("client {index} closed: {reason:?}")),
        }
    }

    pub(super) fn connect(&mut self, index: usize) -> Verdict {
        let now = self.now;
        self.drop_link(index, true);
        let refuse = if self.is_healing { 0 } else { self.plan.faults.refuse };
        let client = &mut self.clients[index];
        let works = !client.faults.once_in(refuse) && !self.pauses.is_stopped();
        trace::event(now, Event::Connecting { client: index, works });
        let link = (index as u64) << 32 | client.connections;
        client.connections += 1;
        match &mut client.peer {
            Peer::App(app) if works => {
                app.client.handle_connected(at(now));
                client.silence.heard(now);
            }
            Peer::App(app) => app.client.handle_disconnected(at(now)),
            Peer::Raw(raw) if works => raw.connected(),
            Peer::Raw(_) | Peer::Gone => {}
        }
        if works {
            client.link = Some(link);
            return self.open(link, index);
        }
        Ok(())
    }

    /// A client drops its connection: it ends the stream in order, or not.
    pub(super) fn drop_link(&mut self, index: usize, is_orderly: bool) {
        let now = self.now;
        let Some(link) = self.clients[index].link.take() else { return };
        let Some(open) = self.links.get_mut(&link) else { return };
        if is_orderly {
            open.to_broker.finish();
        } else {
            open.reset_at = Some(now);
        }
        // Nothing is read any more.
        open.to_client.is_silent = true;
        open.is_abandoned = !open.to_broker.is_silent;
        if open.session.is_none() {
            self.links.remove(&link);
            return;
        }
        let arrival = open.to_broker.next_arrival().unwrap_or(now);
        if !open.to_broker.is_silent {
            self.want(Actor::Link(link), arrival);
        }
    }

    /// Reads and writes; returns how many bytes of each.
    pub(super) fn pump(&mut self, index: usize) -> (usize, usize) {
        let (now, faults, is_healing) = (self.now, self.plan.faults, self.is_healing);
        let client = &mut self.clients[index];
        let Peer::App(app) = &mut client.peer else { return (0, 0) };
        let Some(link) = client.link else { return (0, 0) };
        let Some(open) = self.links.get_mut(&link) else {
            client.link = None;
            app.client.handle_disconnected(at(now));
            return (0, 0);
        };
        let (mut read, mut wrote) = (0, 0);
        let mut is_broken = open.is_cut || open.reset_at.is_some_and(|time| time <= now);
        while !is_broken && open.frozen_until <= now && app.client.wants_read() && read < READ_AT_ONCE {
            let limit = usize::try_from(open.rng.between(1, 4_096)).unwrap_or(1);
            if let Some(bytes) = open.to_client.read(now, limit) {
                read += bytes.len();
                client.received.add(now, &bytes);
                app.client.inbound().extend_from_slice(&bytes);
                app.client.handle_read(at(now));
                client.silence.heard(now);
            } else {
                is_broken = open.to_client.is_over();
                break;
            }
        }
        while !is_broken && open.frozen_until <= now && app.client.outbound().has_remaining() {
            let room = open.to_broker.room(&faults).min(app.client.outbound().remaining());
            let room = if faults.partial > 0 && !is_healing {
                room.min(usize::try_from(open.rng.between(1, faults.partial)).unwrap_or(1))
            } else {
                room
            };
            if room == 0 || wrote >= READ_AT_ONCE {
                break;
            }
            let bytes = app.client.outbound().copy_to_bytes(room);
            wrote += bytes.len();
            send(open, 0, now, bytes, &faults);
        }
        let arrival = open.to_broker.next_arrival();
        let is_reset = open.reset_at.is_some();
        if is_broken {
            client.link = None;
            app.client.handle_disconnected(at(now));
            if open.session.is_none() {
                self.links.remove(&link);
            } else {
                open.to_client.is_silent = true;
                open.to_broker.finish();
            }
        }
        if read > 0 || is_reset || is_broken {
            self.want(Actor::Link(link), now);
        }
        if let Some(arrival) = arrival {
            self.want(Actor::Link(link), arrival);
        }
        (read, wrote)
    }

    pub(super) fn raw(&mut self, index: usize) -> Verdict {
        let now = self.now;
        if self.clients[index].link.is_none_or(|link| !self.links.contains_key(&link)) {
            if self.clients[index].again_at > now {
                let again_at = self.clients[index].again_at;
                self.want(Actor::Client(index), again_at);
                return Ok(());
            }
            let pause = self.clients[index].faults.between(1, 4 * SECOND);
            self.clients[index].again_at = now + pause;
            self.connect(index)?;
        }
        let faults = self.plan.faults;
        let client = &mut self.clients[index];
        let Peer::Raw(raw) = &mut client.peer else { return Ok(()) };
        raw.step(now, &self.plan);
        let mut wrote = 0;
        let (mut is_over, mut has_moved) = (true, false);
        if let Some(open) = client.link.and_then(|link| self.links.get_mut(&link)) {
            while raw.is_reading && open.to_client.read(now, READ_AT_ONCE).is_some() {
                has_moved = true;
            }
            is_over = open.session.is_none() || open.reset_at.is_some_and(|time| time <= now);
            let room = open.to_broker.room(&faults).min(raw.outbound.len()).min(raw.pace());
            if room > 0 && !is_over {
                let bytes = raw.outbound.split_to(room).freeze();
                wrote = bytes.len();
                send(open, 0, now, bytes, &faults);
            }
        }
        let next = raw.next.max(now + 1);
        if let Some(link) = client.link.filter(|_| has_moved || wrote > 0) {
            self.want(Actor::Link(link), now);
            if let Some(arrival) = self.links.get(&link).and_then(|open| open.to_broker.next_arrival()) {
                self.want(Actor::Link(link), arrival);
            }
        }
        if is_over {
            self.drop_link(index, false);
        }
        trace::event(now, Event::Raw { client: index, wrote });
        self.want(Actor::Client(index), next);
        Ok(())
    }
}

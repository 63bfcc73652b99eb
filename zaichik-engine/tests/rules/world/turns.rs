//! Turns of the broker and of its ends of connections, until nothing is left to do.

use std::rc::Rc;

use bytes::Bytes;
use zaichik_engine::{Broker, Session, Turn};
use zaichik_proto::RECORD_OVERHEAD;

use super::World;
use super::pipe::Flow;

/// Steps after which a world that should settle counts as never settling.
pub(super) const MAX_STEPS: usize = 200_000;

impl World {
    pub(super) fn run(&mut self) {
        for _ in 0..MAX_STEPS {
            if !self.step() {
                return;
            }
        }
        panic!("the world never settles");
    }

    pub(super) fn keep_house(&mut self) -> bool {
        let is_due = self.keeps_house && self.armed().is_some_and(|at| at <= self.now);
        if is_due {
            let before = self.connections.broker.steps();
            let turn = self.housekeep();
            count_steps(&self.connections.broker, before, 0, &mut self.most_steps);
            let is_due = self.armed().is_some_and(|at| at <= self.now);
            assert_eq!(turn == Turn::More, is_due, "housekeeping reports whether work remains");
            self.collect(false);
        }
        is_due | self.keep_store()
    }

    pub(super) fn step_end(&mut self, index: usize) -> bool {
        let (now, end) = (self.now, &mut self.ends[index]);
        let Some(session) = self.connections.session(index) else {
            return false;
        };
        let pipe = Rc::clone(&end.pipe);
        let mut pipe = pipe.borrow_mut();
        pipe.fill();
        if pipe.flow == Flow::Cut {
            pipe.is_closed = true;
            self.connections.detach(index);
            self.collect(false);
            return true;
        }
        let is_over = pipe.flow == Flow::Finished && pipe.to_broker.is_empty() && session.wants_read();
        let mut moved = false;
        if is_over && !end.knows_eof {
            end.knows_eof = true;
            session.handle_eof(now);
            moved = true;
        }
        let limit = pipe.read_at_once;
        moved |= self.connections.read(index, &mut pipe.to_broker, limit) > 0;
        moved |= self.connections.time_out(index);
        end.is_due |= moved;
        let mut more = false;
        if end.is_due {
            let before = self.connections.broker.steps();
            let waiting = self.connections.session(index).map_or(0, |session| session.inbound().len());
            more = self.connections.exchange(index) == Turn::More;
            (end.is_due, moved) = (more, true);
            let rest = self.connections.session(index).map_or(0, |session| session.inbound().len());
            count_steps(&self.connections.broker, before, waiting.saturating_sub(rest), &mut self.most_steps);
        }
        let written =
            if pipe.is_reading { self.connections.write(index, pipe.write_at_once) } else { Bytes::new() };
        if !written.is_empty() {
            pipe.from_broker.extend_from_slice(&written);
            (end.is_due, moved) = (true, true);
        }
        if let Some(session) = self.connections.session(index)
            && session.status().is_closed()
        {
            (end.reason, pipe.is_closed, moved) = (session.close_reason(), true, true);
            self.connections.detach(index);
        }
        if moved {
            self.collect(more);
        }
        moved
    }

    /// Takes everything out of the effects.
    pub(super) fn collect(&mut self, more: bool) {
        while let Some(index) = self.connections.pop_wake() {
            self.ends[index].is_due = true;
        }
        self.rearm();
        let next = self.broker.next_timeout();
        assert!(
            self.is_armed() || more,
            "the deadline moved to {next:?} without a rearm: {:?}",
            self.armed()
        );
    }

    /// Once settled, another exchange changes nothing; otherwise a session was not woken.
    pub(super) fn assert_no_session_is_stranded(&mut self) {
        for index in 0..self.ends.len() {
            let state = |session: &mut Session| {
                let status = session.status();
                (session.outbound().stream_len(), session.outbound().control_len(), status)
            };
            let before = self.connections.session(index).map(state);
            let turn = self.exchange(index);
            assert_eq!(before, self.connections.session(index).map(state), "session {index} was stranded");
            assert_eq!(turn, Turn::Done, "session {index} was stranded");
        }
        assert_eq!(self.pop_wake(), None, "a session was stranded");
        self.collect(false);
    }
}

/// Checks that a call was bounded (rule S14); it applied `taken` bytes of requests.
fn count_steps(broker: &Broker, before: u64, taken: usize, most: &mut u64) {
    let steps = broker.steps() - before;
    *most = steps.max(*most);
    let of_records = 4 * (taken / RECORD_OVERHEAD) as u64;
    assert!(steps <= Broker::MAX_STEPS + of_records, "{steps} steps in one call, for {taken} bytes");
}

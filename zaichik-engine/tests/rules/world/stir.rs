//! Steps in random order, and repeated steps.

use zaichik_engine::{Session, Timestamp, Turn};

use super::{Dice, World};

impl World {
    /// Does one of the steps of one of the connections, whether it is due or not.
    pub(crate) fn stir(&mut self, dice: &mut Dice) {
        let now = self.now;
        let index = dice.below(self.ends.len());
        let end = &mut self.ends[index];
        let Some(session) = self.connections.session(index) else {
            return;
        };
        let mut pipe = end.pipe.borrow_mut();
        pipe.fill();
        match dice.below(7) {
            0 | 1 => {
                self.connections.read(index, &mut pipe.to_broker, dice.below(200) + 1);
                end.is_due = true;
            }
            2 => session.handle_read(now),
            3 => end.is_due = self.connections.exchange(index) == Turn::More,
            4 => {
                pipe.from_broker.extend_from_slice(&self.connections.write(index, dice.below(200) + 1));
                end.is_due = true;
            }
            5 => {
                session.handle_timeout(now);
                session.shrink();
            }
            _ => {
                drop(pipe);
                self.keep_house_at(now);
                return;
            }
        }
        drop(pipe);
        self.collect(true);
    }

    /// Runs housekeeping at a moment, due or not, until it is done.
    pub(crate) fn keep_house_at(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while self.housekeep() == Turn::More {}
        self.collect(false);
    }

    /// Repeats each step of each connection without new input: nothing changes.
    pub(crate) fn assert_steps_are_idempotent(&mut self) {
        let now = self.now;
        for index in 0..self.ends.len() {
            let Some(session) = self.connections.session(index) else {
                continue;
            };
            let twice = |session: &mut Session, step: &mut dyn FnMut(&mut Session)| {
                step(session);
                let before = format!("{session:?}");
                step(session);
                assert_eq!(before, format!("{session:?}"));
            };
            twice(session, &mut |session| session.handle_read(now));
            twice(session, &mut |session| session.handle_timeout(now));
            while self.exchange(index) == Turn::More {}
            let before = format!("{:?}", self.connections);
            assert_eq!(self.exchange(index), Turn::Done);
            assert_eq!(before, format!("{:?}", self.connections));
        }
        self.collect(false);
        self.keep_house_at(now);
        let before = format!("{:?}", self.broker);
        self.keep_house_at(now);
        assert_eq!(before, format!("{:?}", self.broker));
    }
}

//! The effect of nacks and seeks on a subscription (rules A4, D6).

use std::collections::BTreeMap;

use zaichik_proto::Start;

use super::position::Position;
use super::{Subscription, SubscriptionState};

impl Subscription {
    /// A Nack is in flight.
    pub(crate) fn nack_sent(&mut self, offset: u64) {
        self.rewinds.start_nack(self.position);
        self.position.go_back(offset);
    }

    /// Rewinds to `offset` without a Nack: the broker will redeliver from there anyway.
    pub(crate) fn go_back(&mut self, offset: u64) {
        if self.state != SubscriptionState::Active {
            self.buffer.drop_stale(false);
        }
        self.position.go_back(offset);
    }

    /// A Seek is in flight.
    pub(crate) fn seek_sent(&mut self, to: Start) {
        self.rewinds.start_seek(self.position);
        if self.options.window == 0 {
            self.buffer.drop_stale(true);
        }
        self.move_to(to);
    }

    /// Moves to the position that the next Subscribe will ask for.
    pub(crate) fn seek_locally(&mut self, to: Start) {
        self.buffer.drop_stale(true);
        self.move_to(to);
    }

    /// A Seek was answered before the Subscribed arrived; returns whether that is its first answer.
    pub(crate) fn seek_answered(&mut self, wire: u32, number: u64) -> bool {
        self.answered_seeks.insert(wire, number).is_none()
    }

    /// The answers that arrived before the Subscribed, which has arrived.
    pub(crate) fn take_answered_seeks(&mut self) -> BTreeMap<u32, u64> {
        core::mem::take(&mut self.answered_seeks)
    }

    /// A Nack from `offset` on, or a Seek, was answered: the rewind number is `number` now.
    pub(crate) fn rewound(&mut self, number: u32, nack: Option<u64>) {
        if number > self.rewinds.number() {
            self.advance_rewind(number, nack.is_none());
            // The next delivery is not before the offset of a nack, whether or not it had an effect.
            self.next = nack.unwrap_or(0);
            if nack.is_none() {
                self.position = Position::new(self.position.start());
            }
        }
        self.rewind_finished(nack.is_none());
    }

    /// A Nack or Seek was answered, refused, or not sent: releases the messages that were held back, if they are not
    /// stale.
    pub(crate) fn rewind_finished(&mut self, is_seek: bool) {
        if let Some(saved) = self.rewinds.finish(is_seek) {
            // Commits made meanwhile remain valid.
            self.position = saved.with_commits_of(&self.position);
        }
    }

    pub(crate) const fn rewind_number(&self) -> u32 {
        self.rewinds.number()
    }

    /// Processes the rewind number of a frame about offsets from `first` on; returns whether it is new, which makes
    /// the messages received before it stale.
    pub(super) fn admit_rewind(&mut self, number: u32, first: u64) -> bool {
        if number <= self.rewinds.number() {
            return false;
        }
        // If no nack of this client raised it, a seek did: its own, or another client's by the durable name.
        let is_moved = !self.rewinds.is_pending() || self.rewinds.has_seeks();
        self.advance_rewind(number, is_moved);
        if is_moved {
            self.generation = self.generation.wrapping_add(1);
            if !self.rewinds.awaits_seek() {
                self.position.begin_at(first);
            }
        }
        true
    }

    /// A frame about offsets from `first` on was admitted. A position that is being sought begins with those that follow the
    /// last Seek.
    pub(super) fn begin_once(&mut self, first: u64) {
        if let Some(saved) = self.rewinds.saved_mut() {
            saved.begin_once(first);
        } else if !self.rewinds.awaits_seek() {
            self.position.begin_once(first);
        }
    }

    /// Whether received messages may be stale, because a nack or a seek is in flight.
    ///
    /// With `window = 0` there are only seeks, each of which raises the number by one: the first delivery after the
    /// last seek tells as much as its answer.
    pub(super) const fn is_withheld(&self) -> bool {
        self.rewinds.is_pending() && (self.options.window > 0 || self.rewinds.awaits_seek())
    }

    /// Nacks and seeks will no longer be answered.
    pub(super) fn stop_rewinding(&mut self) {
        if self.rewinds.is_pending() {
            self.buffer.drop_stale(self.rewinds.has_seeks());
        }
        self.rewinds.abandon();
    }

    /// The position that applies unless a nack or a seek in flight has an effect.
    pub(super) const fn settled_position(&mut self) -> &mut Position {
        match self.rewinds.saved_mut() {
            Some(saved) => saved,
            None => &mut self.position,
        }
    }

    fn advance_rewind(&mut self, number: u32, is_moved: bool) {
        self.rewinds.advance(number);
        self.buffer.drop_stale(is_moved);
    }

    fn move_to(&mut self, to: Start) {
        self.position = Position::new(to);
        self.generation = self.generation.wrapping_add(1);
    }
}

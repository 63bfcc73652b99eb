//! A member of a shared subscription (chapter G): its messages come in any order and are settled one by one, so nothing
//! is to be resumed. What a connection held comes back to the members with its end.

use std::sync::Arc;

use bytes::Bytes;
use zaichik_proto::{Delivery, Gap, Refusal, RefusalCode, Start};

use super::buffer::ReceivedRecords;
use super::{Interruption, Subscription, SubscriptionState};
use crate::answer::Hold;
use crate::error::{RequestError, Violation};
use crate::event::Event;

impl Subscription {
    pub(crate) const fn is_shared(&self) -> bool {
        self.options.shared.is_some()
    }

    /// What the messages that are taken now have in common.
    pub(crate) const fn hold(&self) -> Hold {
        Hold { subscription: self.id, connection: self.lost_connections, rewind: self.rewinds.number() }
    }

    /// Whether messages of this hold may be settled.
    pub(crate) fn check_hold(&self, hold: Hold) -> Result<(), RequestError> {
        let topic = || Arc::clone(&self.topic);
        if !self.is_shared() {
            let refusal = Refusal::new(RefusalCode::ModeDiffers);
            return Err(RequestError::Refused { topic: topic(), refusal });
        }
        if self.options.window == 0 {
            let refusal = Refusal::new(RefusalCode::CommitsOff);
            return Err(RequestError::Refused { topic: topic(), refusal });
        }
        if !self.is_active() || hold.connection != self.lost_connections {
            return Err(RequestError::Returned { topic: topic() });
        }
        Ok(())
    }

    /// The connection is gone: what it held and was not taken is redelivered. With `window = 0` it is acknowledged.
    pub(super) fn give_back(&mut self) {
        self.lost_connections = self.lost_connections.wrapping_add(1);
        if self.is_shared() && self.options.window > 0 {
            self.buffer.drop_stale(true);
        }
    }

    /// A new connection is open; returns where the subscription begins if it does not exist any more.
    pub(super) fn rejoin(&mut self, same_instance: bool) -> Start {
        let is_restarted = !same_instance || self.buffer.holds_restarted();
        if self.options.window > 0 {
            self.buffer.clear();
        } else {
            self.buffer.drop_events();
        }
        if !same_instance {
            self.last_delivered = None;
        }
        if is_restarted {
            self.interruption = Some(Interruption::Restarted);
        } else {
            self.interruption.get_or_insert(Interruption::Reconnected);
        }
        self.options.start
    }

    /// A Subscribed arrived.
    pub(super) fn joined(&mut self, rewind: u32, start: u64) {
        self.rewinds.subscribed(rewind, 0);
        self.state = SubscriptionState::Active;
        self.settled_position().begin_at(start);
        match self.interruption.take() {
            None => {}
            Some(Interruption::Restarted) => self.buffer.push_event(Event::Restarted { start }),
            Some(Interruption::Reconnected) => {
                self.buffer.push_event(Event::Reconnected { from: start, start });
            }
        }
    }

    /// Processes the records of a delivery, which borrows from `frame`; stale ones are dropped. The broker's window in
    /// bytes is at most `max_window_bytes`.
    pub(super) fn handed_out(
        &mut self,
        frame: &Bytes,
        delivery: &Delivery<'_>,
        max_window_bytes: u32,
    ) -> Result<(), Violation> {
        let (first, count) = (delivery.first_offset, delivery.records.len());
        if !self.admit_shared(delivery.rewind)? {
            return Ok(());
        }
        let window = self.options.window;
        if window > 0 && count > window {
            return Err(Violation::Window { subscription: self.id.0, window });
        }
        let end = first.saturating_add(u64::from(count));
        self.last_delivered = self.last_delivered.max(Some(end.saturating_sub(1)));
        if window == 0 && self.is_withheld() {
            return Ok(());
        }
        if delivery.attempt > 1 {
            // Their deadline has passed before they were taken.
            self.buffer.drop_offsets(first..end, &self.topic);
        }
        let records = frame.slice_ref(delivery.records.as_bytes());
        let attempt = delivery.attempt;
        self.buffer.push_records(count, ReceivedRecords { records, first_offset: first, attempt });
        if window > 0 {
            // The broker keeps to the window, so this member does not hold the oldest ones any more.
            let bytes = match self.options.window_bytes {
                0 => max_window_bytes,
                bytes => bytes.min(max_window_bytes),
            };
            self.buffer.keep_newest(window, bytes as usize, &self.topic);
        }
        Ok(())
    }

    /// Processes a gap; a stale one is dropped.
    pub(super) fn skip_shared(&mut self, gap: &Gap) -> Result<(), Violation> {
        if self.admit_shared(gap.rewind)? {
            self.buffer.push_gap(gap.from, gap.to, gap.reason);
        }
        Ok(())
    }

    /// Whether to process a frame with this rewind number.
    fn admit_shared(&mut self, rewind: u32) -> Result<bool, Violation> {
        if !self.is_active() {
            return Err(Violation::Subscription { subscription: self.id.0 });
        }
        if rewind < self.rewinds.number() {
            return Ok(false);
        }
        self.admit_rewind(rewind, 0);
        Ok(true)
    }
}

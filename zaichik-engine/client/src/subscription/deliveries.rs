//! Received records and gaps, and which of them are stale.

use bytes::Bytes;
use zaichik_proto::{Delivery, Gap};

use super::Subscription;
use super::buffer::ReceivedRecords;
use crate::error::Violation;
use crate::event::Event;

impl Subscription {
    /// Processes the records of a delivery, which borrows from `frame`; stale ones are dropped.
    ///
    /// Returns the offset to commit at once, for records that the application committed before they were redelivered.
    /// The broker's windows in bytes are at most `max_window_bytes`.
    pub(crate) fn deliver(
        &mut self,
        frame: &Bytes,
        delivery: &Delivery<'_>,
        max_window_bytes: u32,
    ) -> Result<Option<u64>, Violation> {
        if self.is_shared() {
            return self.handed_out(frame, delivery, max_window_bytes).map(|()| None);
        }
        let (first, count) = (delivery.first_offset, delivery.records.len());
        if !self.admit(delivery.rewind, first)? {
            return Ok(None);
        }
        let window = self.options.window;
        if window > 0 && self.buffer.messages().saturating_add(count) > window {
            return Err(Violation::Window { subscription: self.number(), window });
        }
        // The decoder has checked that first + count does not overflow.
        self.next = first.saturating_add(u64::from(count));
        self.last_delivered = Some(self.next.saturating_sub(1));
        if window == 0 && self.is_withheld() {
            // Nothing bounds the deliveries before the answer, and buffering them would prevent the answer from being
            // read.
            return Ok(None);
        }
        let records = frame.slice_ref(delivery.records.as_bytes());
        let attempt = delivery.attempt;
        self.buffer.push_records(count, ReceivedRecords { records, first_offset: first, attempt });
        let done = self.done_to();
        if done <= first {
            return Ok(None);
        }
        self.buffer.drop_before(done, &self.topic);
        Ok((window > 0).then(|| done.min(self.next).saturating_sub(1)))
    }

    /// Processes a gap; a stale one is dropped.
    pub(crate) fn skip(&mut self, gap: &Gap) -> Result<(), Violation> {
        if self.is_shared() {
            return self.skip_shared(gap);
        }
        if self.admit(gap.rewind, gap.from)? {
            self.next = gap.to;
            // A durable cursor may be behind commits made without a connection.
            let from = gap.from.max(self.done_to());
            if from < gap.to {
                self.buffer.push_event(Event::Gap { from, to: gap.to, reason: gap.reason });
            }
        }
        Ok(())
    }

    /// Whether to process a frame with this rewind number, about offsets from `first` on.
    fn admit(&mut self, rewind: u32, first: u64) -> Result<bool, Violation> {
        let subscription = self.number();
        if !self.is_active() {
            return Err(Violation::Subscription { subscription });
        }
        if rewind < self.rewinds.number() {
            return Ok(false);
        }
        if !self.admit_rewind(rewind, first) && first < self.next {
            return Err(Violation::OffsetBack { subscription, after: self.next, got: first });
        }
        if self.interruption.is_some() {
            self.continues_at(first);
        }
        self.begin_once(first);
        Ok(true)
    }
}

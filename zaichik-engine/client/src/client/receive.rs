//! Received frames: each is passed to the part that it concerns.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use zaichik_proto::{Acked, ClientFrame, Delivery, Refusal, RefusalCode, ServerFrame};

use super::Client;
use crate::error::{LinkError, Violation};
use crate::event::Event;
use crate::inbound;
use crate::requests::NO_ANSWER;

impl Client {
    /// Processes every complete frame, until the connection ends.
    pub(super) fn read_frames(&mut self) {
        // Frames borrow from the buffer while they change the client.
        let mut bytes = self.inbound.take();
        while self.connection.has_stream() {
            let read = self.read_frame(&mut bytes);
            let is_open = self.connection.is_open();
            self.outcomes().resume_settled(is_open);
            match read {
                Ok(true) => {}
                Ok(false) => {
                    self.inbound.put_back(bytes);
                    return;
                }
                Err(cause) => self.connection_lost(self.now, cause),
            }
        }
    }

    /// Processes one frame, if it is complete.
    fn read_frame(&mut self, bytes: &mut BytesMut) -> Result<bool, LinkError> {
        if let Some(frame) = inbound::split_delivery(bytes) {
            if let Some((ServerFrame::Delivery(delivery), _)) = self.inbound.decode(&frame)? {
                self.delivered(&frame, &delivery)?;
            }
            return Ok(true);
        }
        let Some((frame, len)) = self.inbound.decode(bytes)? else {
            return Ok(false);
        };
        self.received(&frame)?;
        bytes.advance(len);
        Ok(true)
    }

    fn received(&mut self, frame: &ServerFrame<'_>) -> Result<(), LinkError> {
        let mut outcomes = self.outcomes();
        match frame {
            ServerFrame::Welcome(welcome) => self.welcomed(welcome)?,
            ServerFrame::TopicReady(ready) => outcomes.topic_ready(*ready)?,
            ServerFrame::Acks(acks) => {
                for run in acks.runs.iter() {
                    outcomes.acknowledged(run)?;
                }
            }
            ServerFrame::Published(published) => outcomes.published(published)?,
            ServerFrame::Refused(refused) if matches!(refused.request, 0 | NO_ANSWER) => {
                self.requests.count_refused(refused.count, refused.refusal);
            }
            ServerFrame::Refused(refused) => outcomes.refused(refused.request, refused.refusal)?,
            ServerFrame::Batched(batched) => outcomes.batched(batched)?,
            ServerFrame::Done(done) => outcomes.done(done.request, done.value)?,
            ServerFrame::Trimmed(trimmed) => outcomes.trimmed(*trimmed)?,
            ServerFrame::Subscribed(subscribed) => outcomes.subscribed(subscribed)?,
            ServerFrame::Unsubscribed(unsubscribed) => outcomes.unsubscribed(unsubscribed)?,
            ServerFrame::Counters(counters) => outcomes.counters(counters)?,
            ServerFrame::Topics(page) => outcomes.topics(page)?,
            ServerFrame::Subscriptions(page) => outcomes.subscriptions(page)?,
            ServerFrame::Acked(acked) if acked.request == NO_ANSWER => {
                let (count, refusal) = not_held(acked)?;
                self.requests.count_refused(count, refusal);
            }
            ServerFrame::Acked(acked) => outcomes.acked(acked)?,
            ServerFrame::Members(members) => outcomes.members(members)?,
            ServerFrame::Gap(gap) => self.subscriptions.skip(gap)?,
            ServerFrame::Fenced(fenced) => self.subscriptions.ended(fenced.subscription, Event::Fenced)?,
            ServerFrame::PatternSubscribed(subscribed) => outcomes.pattern_subscribed(*subscribed)?,
            ServerFrame::Matched(matched) => outcomes.matched(matched)?,
            ServerFrame::NotMatched(not_matched) => outcomes.not_matched(not_matched)?,
            ServerFrame::Ping { nonce } => self.ping_received(*nonce),
            ServerFrame::Pong { nonce } => outcomes.pong(*nonce),
            ServerFrame::Goodbye(_) if self.connection.is_closing() => self.closed(None),
            // The broker is draining: it still answers, and the end of the stream shows when it is gone.
            ServerFrame::Goodbye(_) | ServerFrame::Extension { .. } => {}
            ServerFrame::Fatal(fatal) => {
                return Err(LinkError::Fatal { code: fatal.code, text: Arc::from(fatal.text) });
            }
            // A Delivery is split off its buffer before it gets here.
            ServerFrame::Delivery(_) => {
                return Err(Violation::Unexpected { kind: frame.kind() }.into());
            }
        }
        Ok(())
    }

    fn delivered(&mut self, frame: &Bytes, delivery: &Delivery<'_>) -> Result<(), Violation> {
        let Some(id) = self.subscriptions.id_of(delivery.subscription)? else {
            // The application has left the topic.
            return Ok(());
        };
        let is_unwindowed = self.subscriptions.get(id).is_some_and(|state| state.options().window == 0);
        if self.connection.is_closing() || (self.connection.is_draining() && is_unwindowed) {
            // Messages that the application no longer takes must not prevent answers from being read.
            return Ok(());
        }
        let max_window_bytes = self.limits().max_window_size;
        if let Some(committed) = self.subscriptions.deliver(frame, delivery, max_window_bytes)? {
            self.send_quiet_commit((id, delivery.subscription), committed);
        }
        Ok(())
    }

    fn ping_received(&mut self, nonce: u64) {
        // If the broker does not read, more Pongs are pointless: the queued output already shows that the client is
        // alive.
        if self.has_room_to_write() {
            let pong = ClientFrame::Pong { nonce };
            self.outbound.frame(|out| pong.encode(out));
        }
    }
}

/// What a quiet ack named and this member does not hold, as refusals: their number, and the last one.
fn not_held(acked: &Acked<'_>) -> Result<(u32, Refusal), Violation> {
    let Acked { request, not_held, .. } = acked;
    let last = not_held.iter().last().ok_or(Violation::Answer { request: *request })?;
    let count = not_held.iter().fold(0, |count: u32, range| count.saturating_add(range.count));
    Ok((count, Refusal::with_value(RefusalCode::NotHeld, last.end().saturating_sub(1))))
}

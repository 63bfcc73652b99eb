//! Delivering due records to a session, while its stream lane has room (rules A7, R9).

use bytes::Bytes;
use zaichik_proto::{DeliveryHead, Fenced, Gap, RecordHead, ServerFrame, Timestamp};

use super::counters::{Counters, bump};
use super::memory::Memory;
use super::readiness::Readiness;
use super::sessions::{SessionEntry, Sessions};
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use crate::id::{SessionId, SubKey};
use crate::outbound::{LaneKind, Outbound};
use crate::ring::Node;
use crate::subscription::MAX_DELIVERY;
use crate::topic::Pull;

/// Maximum bytes that one exchange delivers; the last frame may exceed it.
const BYTES_PER_EXCHANGE: usize = 256 << 10;

/// The parts of the broker that a delivery needs.
#[derive(Debug)]
pub(super) struct Delivery<'b> {
    pub(super) now: Timestamp,
    /// Bytes of the stream lane above which nothing is added to it.
    pub(super) output_buffer: usize,
    pub(super) sessions: &'b mut Sessions,
    pub(super) topics: &'b mut Topics,
    pub(super) subscriptions: &'b mut Subscriptions,
    pub(super) memory: &'b mut Memory,
    pub(super) readiness: &'b mut Readiness,
    pub(super) counters: &'b mut Counters,
}

impl Delivery<'_> {
    /// Moves due records into the stream lane; returns whether more are due that would fit.
    pub(super) fn deliver(&mut self, session: SessionId, out: &mut Outbound) -> bool {
        let Some(ready) = self.sessions.get(session).map(|entry| entry.ready) else {
            return false;
        };
        let before = out.stream_len();
        while out.stream_len() < self.output_buffer {
            if let Some((subscription, epoch)) =
                self.sessions.get_mut(session).and_then(SessionEntry::next_fence)
            {
                let fenced = Fenced { subscription, epoch };
                out.frame(LaneKind::Stream, |out| ServerFrame::Fenced(fenced).encode(out));
                continue;
            }
            if out.stream_len().saturating_sub(before) >= BYTES_PER_EXCHANGE {
                return self.readiness.has_ready(ready);
            }
            let Some(key) = self.readiness.pop_ready(ready) else {
                return false;
            };
            self.serve(key, ready, out);
        }
        false
    }

    /// Delivers one subscription's share; afterwards the subscription waits, is ready again, or has a full window and
    /// is in no ring.
    fn serve(&mut self, key: SubKey, ready: Node, out: &mut Outbound) {
        let running = self.subscriptions.running(self.now);
        let subscription = &mut self.subscriptions[key];
        let (number, topic_id, rewind) =
            (subscription.terms.number, subscription.topic, subscription.rewind());
        let topic = &mut self.topics[topic_id];
        let stats = &mut self.counters.stats;
        let mut share = MAX_DELIVERY;
        let ring = loop {
            let Some(want) = subscription.wants(running) else {
                break None;
            };
            let from = subscription.next();
            match topic.pull(self.now, from, want) {
                Pull::End => break Some(topic.waiting),
                Pull::NoRoom => break None,
                Pull::Gap { to } => {
                    let reason = topic.gap_reason(from.offset);
                    let gap = Gap { subscription: number, rewind, reason, from: from.offset, to };
                    out.frame(LaneKind::Stream, |out| ServerFrame::Gap(gap).encode(out));
                    subscription.passed(to);
                    bump(&mut stats.gaps, 1);
                }
                Pull::Skip { to } => bump(&mut stats.superseded, subscription.passed(to)),
                Pull::Records { data, count, next } => {
                    let (attempt, first_offset) = (subscription.attempt(), from.offset);
                    let head = DeliveryHead { subscription: number, rewind, attempt, count, first_offset };
                    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    out.stream_frame_with(&data, |out| head.encode(len, out));
                    subscription.delivered(sizes(&data), next);
                    bump(&mut stats.records_delivered, u64::from(count));
                    bump(&mut stats.bytes_delivered, data.len() as u64);
                    share = share.saturating_sub(data.len());
                }
            }
            topic.cursors.set(subscription.cursor_id, subscription.cursor());
            if share == 0 || out.stream_len() >= self.output_buffer {
                break Some(ready);
            }
        };
        if let Some(ring) = ring {
            self.readiness.push(ring, subscription.node);
        }
        self.subscriptions.settle(key, self.memory);
        self.topics.release_committed(self.now, topic_id, self.memory);
        self.topics.reclaim_if_pressed(self.now, topic_id, self.memory);
    }
}

/// The sizes of encoded records, in bytes.
fn sizes(data: &Bytes) -> impl Iterator<Item = usize> {
    let mut rest = &data[..];
    core::iter::from_fn(move || {
        let head = RecordHead::peek(rest)?;
        rest = rest.get(head.len..).unwrap_or_default();
        Some(head.len)
    })
}

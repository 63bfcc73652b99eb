//! Delivering due records to a session, while its stream lane has room (rules A7, R9).

mod handing_out;

use bytes::Bytes;
use zaichik_proto::{DeliveryHead, Fenced, Gap, RecordHead, ServerFrame, Timestamp};

use super::counters::{Counters, bump};
use super::memory::Memory;
use super::readiness::Readiness;
use super::sessions::Sessions;
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use crate::effects::Effects;
use crate::id::{SessionId, SubKey};
use crate::outbound::{LaneKind, Outbound};
use crate::ring::Node;
use crate::steps::STEPS_PER_EXCHANGE;
use crate::subscription::MAX_DELIVERY;
use crate::topic::Pull;

/// Steps of looking for the next frame of a subscription, besides the walk through its topic's log.
const STEPS_PER_FRAME: u64 = 4;

/// Steps for which deaths are settled even if the share is nearly used.
const LEAST_STEPS: u64 = 64;

/// Maximum frames of one subscription before the next one is served.
const MAX_FRAMES: u64 = 64;

/// Maximum bytes that one exchange delivers; the last frame may exceed it.
const BYTES_PER_EXCHANGE: usize = 256 << 10;

/// The outcome of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// More is due that fits the lane.
    pub(crate) more: bool,
    /// More is due, but there is no memory for it.
    pub(crate) lacks_memory: bool,
}

impl Delivered {
    /// Nothing more is due.
    pub(super) const ALL: Self = Self { more: false, lacks_memory: false };
}

/// The parts of the broker that a delivery needs.
#[derive(Debug)]
pub(super) struct Delivery<'b> {
    pub(super) now: Timestamp,
    /// Bytes of the stream lane above which nothing is added to it.
    pub(super) output_buffer: usize,
    /// Bytes that the lanes may allocate.
    pub(super) room: usize,
    pub(super) sessions: &'b mut Sessions,
    pub(super) topics: &'b mut Topics,
    pub(super) subscriptions: &'b mut Subscriptions,
    pub(super) memory: &'b mut Memory,
    pub(super) readiness: &'b mut Readiness,
    pub(super) counters: &'b mut Counters,
}

impl Delivery<'_> {
    /// Moves due records into the stream lane.
    pub(super) fn deliver(
        &mut self,
        session: SessionId,
        out: &mut Outbound,
        effects: &mut Effects,
    ) -> Delivered {
        let mut delivered = Delivered::ALL;
        let Some(entry) = self.sessions.get_mut(session) else {
            return delivered;
        };
        entry.committed_below = 0;
        let (ready, mut has_fence) = (entry.ready, entry.has_unsent_fence());
        let busy = entry.patterns.as_ref().map(|patterns| patterns.busy);
        if entry.shared.is_some() {
            delivered = self.deliver_to_members(session, out, effects);
        }
        let before = out.stream_len();
        let last_step = self.topics.steps().saturating_add(STEPS_PER_EXCHANGE);
        while out.stream_len() < self.output_buffer {
            if out.allocated() > self.room {
                delivered.lacks_memory |= has_fence || self.has_any(ready, busy);
                return delivered;
            }
            if has_fence {
                has_fence = self.send_fence(session, out);
                continue;
            }
            let is_share_used = out.stream_len().saturating_sub(before) >= BYTES_PER_EXCHANGE;
            if is_share_used || self.topics.steps() >= last_step {
                delivered.more |= self.has_any(ready, busy);
                return delivered;
            }
            let has_introduced = busy.is_some() && self.introduce_next(session, last_step, out, effects);
            if let Some(key) = self.readiness.pop_ready(ready) {
                self.serve(key, ready, last_step, out);
            } else if !has_introduced {
                return delivered;
            }
        }
        delivered
    }

    /// Whether a subscription or a pattern of a session has something in hand.
    fn has_any(&self, ready: Node, busy: Option<Node>) -> bool {
        self.readiness.has_ready(ready) || busy.is_some_and(|busy| self.readiness.has_ready(busy))
    }

    /// Sends a Fenced; returns whether there are more.
    fn send_fence(&mut self, session: SessionId, out: &mut Outbound) -> bool {
        let Some(entry) = self.sessions.get_mut(session) else {
            return false;
        };
        if let Some((subscription, epoch)) = entry.next_fence() {
            let fenced = Fenced { subscription, epoch };
            out.frame(LaneKind::Stream, |out| ServerFrame::Fenced(fenced).encode(out));
        }
        entry.has_unsent_fence()
    }

    /// Delivers one subscription's share; afterwards the subscription waits, is ready again, or has a full window and
    /// is in no ring.
    fn serve(&mut self, key: SubKey, ready: Node, last_step: u64, out: &mut Outbound) {
        let running = self.subscriptions.running(self.now);
        self.announce(key, out);
        let pattern = self.subscriptions.share_of(key);
        let subscription = &mut self.subscriptions[key];
        let (number, topic_id, rewind) =
            (subscription.terms.number, subscription.topic, subscription.rewind());
        let steps = self.topics.steps();
        let topic = &mut self.topics[topic_id];
        let left = last_step.saturating_sub(steps).max(LEAST_STEPS);
        if !topic.settle(self.now, left) {
            // What it receives next depends on deaths that are left for the next exchange.
            self.readiness.push(ready, subscription.node);
            return self.topics.settle(topic_id, self.memory);
        }
        let stats = &mut self.counters.stats;
        let (mut share, mut frames, mut spent) = (MAX_DELIVERY, 0u64, 0u64);
        let mut wanted = None;
        let ring = loop {
            let Some(mut want) = subscription.wants(running) else {
                break None;
            };
            if let Some(pattern) = &pattern {
                match pattern.admits(subscription.held(), want) {
                    Some(admitted) => want = admitted,
                    None => break Some(pattern.full),
                }
            }
            let from = subscription.next();
            frames = frames.saturating_add(1);
            spent = spent.saturating_add(subscription.steps()).saturating_add(STEPS_PER_FRAME);
            match topic.pull(self.now, from, want) {
                Pull::End => break Some(topic.waiting),
                Pull::NoRoom => break pattern.map(|pattern| pattern.full),
                Pull::Cold { from, to } => {
                    wanted = Some((from, to));
                    break Some(topic.waiting);
                }
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
            // What the walk to this frame took.
            spent = spent.saturating_add(topic.take_steps());
            let is_full = out.stream_len() >= self.output_buffer || out.allocated() > self.room;
            if share == 0 || frames >= MAX_FRAMES || spent >= left || is_full {
                break Some(ready);
            }
        };
        if let Some(ring) = ring {
            self.readiness.push(ring, subscription.node);
        }
        if let Some(pattern) = pattern {
            self.subscriptions.recount(key, ring != Some(pattern.full), self.readiness);
        }
        if let Some(chunk) = wanted {
            self.topics.want(topic_id, chunk);
        }
        self.topics.spend(spent);
        self.subscriptions.settle(key, self.memory);
        self.topics.release_committed(topic_id, self.memory);
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

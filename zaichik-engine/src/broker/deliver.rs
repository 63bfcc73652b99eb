//! Handing due records to a session, while its stream lane has room (semantics A7, R9).

use zaichik_proto::{DeliveryHead, Fenced, Gap, GapReason, RecordHead, ServerFrame};

use super::Broker;
use super::attachment::Attachment;
use crate::id::{SessionId, SubKey};
use crate::outbound::{LaneKind, Outbound};
use crate::planted::{Defect, is_planted};
use crate::subscription::MAX_DELIVERY;
use crate::topic::Pull;
use zaichik_proto::Timestamp;

/// Bytes that one exchange delivers at most, and one frame more.
const BYTES_PER_EXCHANGE: usize = 256 << 10;

impl Broker {
    /// Moves what is due into the stream lane; says whether more is due that would fit.
    pub(crate) fn deliver(&mut self, now: Timestamp, session: SessionId, out: &mut Outbound) -> bool {
        let lane = self.config.lane_bytes;
        let Some(ready) = self.attachment(session).map(|attachment| attachment.ready) else {
            return false;
        };
        let before = out.stream_len();
        while out.stream_len() < lane {
            if let Some((subscription, epoch)) = self.attachment(session).and_then(Attachment::next_fence) {
                let fenced = Fenced { subscription, epoch };
                out.frame(LaneKind::Stream, |out| ServerFrame::Fenced(fenced).encode(out));
                continue;
            }
            if out.stream_len().saturating_sub(before) >= BYTES_PER_EXCHANGE {
                return !self.rings.is_empty(ready);
            }
            let Some(key) = self.rings.pop(ready) else {
                return false;
            };
            self.serve(now, SubKey(key), out);
        }
        false
    }

    /// Serves one subscription its share; it ends up waiting, ready again, or alone with a full window.
    fn serve(&mut self, now: Timestamp, key: SubKey, out: &mut Outbound) {
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return;
        };
        let Some(topic) = self.topics.get_mut(subscription.topic.index()) else {
            return;
        };
        let Some(session) = subscription.session else {
            return;
        };
        let (number, node, topic_id) = (subscription.terms.number, subscription.node, subscription.topic);
        let (rewind, mut share) = (subscription.rewind(), MAX_DELIVERY);
        let ring = loop {
            let Some(want) = subscription.wants(now) else {
                break None;
            };
            let from = subscription.next();
            match topic.pull(now, from, want) {
                Pull::End => break Some(topic.waiting),
                Pull::NoRoom => break None,
                Pull::Gap { to } => {
                    let reason = topic.gap_reason(from.offset);
                    let gap = Gap { subscription: number, rewind, reason, from: from.offset, to };
                    if !(is_planted(Defect::SilentLimit) && reason == GapReason::Limit) {
                        out.frame(LaneKind::Stream, |out| ServerFrame::Gap(gap).encode(out));
                    }
                    subscription.passed(to);
                    self.stats.gaps = self.stats.gaps.saturating_add(1);
                }
                Pull::Skip { to } => {
                    let skipped = subscription.passed(to);
                    self.stats.superseded = self.stats.superseded.saturating_add(skipped);
                }
                Pull::Records { data, count, next } => {
                    let first_offset = from.offset;
                    let attempt = subscription.attempt();
                    let head = DeliveryHead { subscription: number, rewind, attempt, count, first_offset };
                    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    out.stream_frame_with(&data, |out| head.encode(len, out));
                    let mut rest = &data[..];
                    let sizes = core::iter::from_fn(|| {
                        let head = RecordHead::peek(rest)?;
                        rest = rest.get(head.len..).unwrap_or_default();
                        Some(head.len)
                    });
                    subscription.delivered(sizes, next);
                    self.stats.records_delivered =
                        self.stats.records_delivered.saturating_add(u64::from(count));
                    self.stats.bytes_delivered = self.stats.bytes_delivered.saturating_add(data.len() as u64);
                    share = share.saturating_sub(data.len());
                }
            }
            topic.cursors.set(subscription.cursor_id, subscription.cursor());
            if share == 0 || out.stream_len() >= self.config.lane_bytes {
                let attachment = self.sessions.get(session.slot());
                break attachment.map(|attachment| attachment.ready);
            }
        };
        if let Some(ring) = ring {
            self.rings.push(ring, node);
        }
        topic.release_committed(now, &mut self.retired);
        self.settle_subscription(key);
        self.settle_topic(topic_id);
        self.reclaim_if_pressed(now, topic_id);
    }
}

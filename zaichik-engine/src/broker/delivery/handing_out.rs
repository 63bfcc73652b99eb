//! Handing out records of a shared subscription to a member that has a turn (rules G2, G7, G8).

use bytes::Bytes;
use core::hash::Hasher;

use siphasher::sip::SipHasher13;
use zaichik_proto::{DeliveryHead, Gap, RecordRef, ServerFrame, Timestamp};

use super::{BYTES_PER_EXCHANGE, Delivered, Delivery, LEAST_STEPS, MAX_FRAMES, STEPS_PER_FRAME};
use crate::broker::counters::bump;
use crate::broker::members::Member;
use crate::broker::turns::Turns;
use crate::effects::Effects;
use crate::group::{Group, MAX_BLOCKED, Offer, Run, Times};
use crate::id::{MemberKey, SessionId};
use crate::outbound::{LaneKind, Outbound};
use crate::ring::Node;
use crate::steps::STEPS_PER_EXCHANGE;
use crate::subscription::MAX_DELIVERY;
use crate::topic::{Position, Pull, Want};

/// Maximum members of a session whose turns others get at once.
const PASSED_ON: usize = 64;

/// The part of some records that a member gets.
#[derive(Debug, Default)]
struct Portion {
    /// Records in front of it that wait for their keys.
    blocked: u64,
    /// Where it begins and ends, in bytes.
    from: usize,
    to: usize,
    /// The sizes of its records.
    sizes: Vec<u32>,
    /// Their keys, if keys matter.
    keys: Vec<u64>,
}

impl Delivery<'_> {
    /// Hands out to the members that a session is, while its stream lane has room. Every other time its other subscriptions
    /// go first if they have something.
    #[inline(never)]
    pub(super) fn deliver_to_members(
        &mut self,
        session: SessionId,
        out: &mut Outbound,
        effects: &mut Effects,
    ) -> Delivered {
        let mut delivered = Delivered::ALL;
        let Some(entry) = self.sessions.get_mut(session) else { return delivered };
        let others = entry.ready;
        let Some(memberships) = &mut entry.shared else { return delivered };
        memberships.gives_way = !memberships.gives_way;
        let (ready, gives_way) = (memberships.ready, memberships.gives_way);
        let has_room = out.stream_len() < self.output_buffer;
        if gives_way && has_room && self.readiness.has_ready(others) {
            delivered.more = self.readiness.has_ready(ready);
            return delivered;
        }
        let before = out.stream_len();
        let last_step = self.topics.steps().saturating_add(STEPS_PER_EXCHANGE);
        while out.stream_len() < self.output_buffer {
            let Some(key) = self.readiness.first(ready).map(MemberKey) else { return delivered };
            if out.allocated() > self.room {
                delivered.lacks_memory = true;
                break;
            }
            let is_share_used = out.stream_len().saturating_sub(before) >= BYTES_PER_EXCHANGE;
            if is_share_used || self.topics.steps() >= last_step {
                delivered.more = true;
                return delivered;
            }
            self.serve_member((session, ready), key, last_step, out, effects);
        }
        self.pass_turns(session, ready, effects);
        delivered
    }

    /// Hands records to the member whose turn it is: one run, or more if no other member has room. Then the member waits in line,
    /// or its window is full.
    #[inline(never)]
    fn serve_member(
        &mut self,
        (session, ready): (SessionId, Node),
        key: MemberKey,
        last_step: u64,
        out: &mut Outbound,
        effects: &mut Effects,
    ) {
        let running = self.subscriptions.running(self.now);
        let Some(group_key) = self.subscriptions.members.get(key).map(|member| member.group) else { return };
        let left = last_step.saturating_sub(self.topics.steps()).max(LEAST_STEPS);
        let hash_key = self.topics.hash_key();
        let (subscription, members) = self.subscriptions.with_members(group_key);
        let (topic_id, cursor_id) = (subscription.topic, subscription.cursor_id);
        let (Some(shared), Some(member)) = (&mut subscription.shared, members.get_mut(key)) else { return };
        member.follow(&shared.group);
        let topic = &mut self.topics[topic_id];
        if !topic.settle(self.now, left) {
            // What it receives next depends on deaths that are left for the next exchange.
            self.readiness.push(ready, member.node);
            return self.topics.settle(topic_id, self.memory);
        }
        let stats = &mut self.counters.stats;
        let (mut share, mut frames, mut spent) = (MAX_DELIVERY, 0u64, 0u64);
        let (mut is_full, mut has_settled, mut wanted) = (false, member.window == 0, None);
        loop {
            let Some(room) = member.room() else {
                is_full = true;
                break;
            };
            let quantum = shared.quantum(shared.group.available(topic.end())).min(u64::from(room.records));
            let most = usize::try_from(quantum).unwrap_or(usize::MAX);
            let Some(offer) = shared.group.offer(topic.end(), most) else { break };
            let (from, rewind) = (offer.from.offset, shared.group.rewind());
            (frames, spent) = (frames.saturating_add(1), spent.saturating_add(STEPS_PER_FRAME));
            let mut has_got = false;
            match topic.pull(self.now, offer.from, Want { records: offer.records, ..room }) {
                Pull::End => break,
                Pull::NoRoom => {
                    is_full = true;
                    break;
                }
                Pull::Cold { from, to } => {
                    wanted = Some((from, to));
                    shared.is_fetching = true;
                    break;
                }
                Pull::Gap { to } => {
                    let reason = topic.gap_reason(from);
                    let to = shared.group.pass(&offer, to);
                    let gap = Gap { subscription: member.number, rewind, reason, from, to };
                    out.frame(LaneKind::Stream, |out| ServerFrame::Gap(gap).encode(out));
                    bump(&mut stats.gaps, 1);
                    has_settled = true;
                }
                Pull::Skip { to } => {
                    let to = shared.group.pass(&offer, to);
                    bump(&mut stats.superseded, to.saturating_sub(from));
                    has_settled = true;
                }
                Pull::Records { data, count, next } => {
                    let found = Found { data, count, next };
                    let given = give((&mut shared.group, member), &offer, found, (hash_key, running), out);
                    bump(&mut stats.records_delivered, given.records);
                    bump(&mut stats.bytes_delivered, given.bytes as u64);
                    spent = spent.saturating_add(given.blocked);
                    share = share.saturating_sub(given.bytes);
                    has_got = given.records > 0;
                    if has_got {
                        member.round = shared.round;
                    }
                }
            }
            spent = spent.saturating_add(topic.take_steps());
            let is_out_full = out.stream_len() >= self.output_buffer || out.allocated() > self.room;
            if share == 0
                || frames >= MAX_FRAMES
                || spent >= left
                || is_out_full
                || (has_got && shared.roomy > 1)
            {
                is_full = member.room().is_none();
                break;
            }
        }
        member.find_place(is_full, shared, self.readiness);
        subscription.follow_group();
        topic.cursors.set(cursor_id, subscription.cursor());
        if let Some(chunk) = wanted {
            self.topics.want(topic_id, chunk);
        }
        self.topics.spend(spent);
        if has_settled {
            self.subscriptions.settle(group_key, self.memory);
        } else {
            self.subscriptions.settle_charge(group_key, self.memory);
        }
        self.topics.release_committed(topic_id, self.memory);
        self.topics.reclaim_if_pressed(self.now, topic_id, self.memory);
        self.turns(session).offer(group_key, effects);
    }

    /// A session has turns for its members that it can't use now, because its lane or the memory is full.
    #[inline(never)]
    fn pass_turns(&mut self, session: SessionId, ready: Node, effects: &mut Effects) {
        let keys: Vec<_> = self.readiness.members(ready).take(PASSED_ON).map(MemberKey).collect();
        if !keys.is_empty() {
            self.turns(session).pass_on(&keys, effects);
        }
    }

    fn turns(&mut self, asking: SessionId) -> Turns<'_> {
        let Self { topics, subscriptions, sessions, readiness, .. } = self;
        Turns { topics, subscriptions, sessions, readiness, asking }
    }
}

/// Records that were found in the log, and where it goes on.
#[derive(Debug)]
struct Found {
    data: Bytes,
    count: u32,
    next: Position,
}

/// What a member got.
#[derive(Debug)]
struct Given {
    records: u64,
    bytes: usize,
    /// Records that wait for their keys.
    blocked: u64,
}

/// Puts the part of some records that a member gets into the output.
fn give(
    (group, member): (&mut Group, &mut Member),
    offer: &Offer,
    found: Found,
    (hash_key, running): (u128, Timestamp),
    out: &mut Outbound,
) -> Given {
    let Found { data, count, next } = found;
    let portion = Portion::of(group, offer, &data, hash_key);
    let first = offer.from.offset.saturating_add(portion.blocked);
    let records = u32::try_from(portion.sizes.len()).unwrap_or(u32::MAX);
    if records == 0 {
        return Given { records: 0, bytes: 0, blocked: portion.blocked };
    }
    let end = first.saturating_add(u64::from(records));
    let is_all = portion.blocked.saturating_add(u64::from(records)) >= u64::from(count);
    let next = if is_all { next } else { offer.from.moved_to(end) };
    let offer = Offer { from: offer.from.moved_to(first), ..*offer };
    group.hand_out(member.id, &offer, (&portion.sizes, &portion.keys), Times { now: running, next });
    let data = data.slice(portion.from..portion.to);
    let head = DeliveryHead {
        subscription: member.number,
        rewind: group.rewind(),
        attempt: offer.attempt,
        count: records,
        first_offset: first,
    };
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.stream_frame_with(&data, |out| head.encode(len, out));
    member.last_offset = member.last_offset.max(end.checked_sub(1));
    if member.window == 0 {
        let _ = group.ack(member.id, (first, end));
    } else {
        member.got(records, data.len() as u64, running);
    }
    Given { records: u64::from(records), bytes: data.len(), blocked: portion.blocked }
}

impl Portion {
    /// What of these records, with which an offer begins, a member gets at once. With keys, a new record whose key is busy
    /// waits for it.
    fn of(group: &mut Group, offer: &Offer, data: &Bytes, hash_key: u128) -> Self {
        let by_key = group.options.by_key;
        let records = usize::try_from(offer.records).unwrap_or(usize::MAX).min(Run::MAX_RUN);
        let keys = Vec::with_capacity(if by_key { records } else { 0 });
        let mut portion = Self { sizes: Vec::with_capacity(records), keys, ..Self::default() };
        let mut rest = &data[..];
        while let Ok((record, tail)) = RecordRef::split_first(rest) {
            let size = rest.len().saturating_sub(tail.len());
            if by_key {
                let key = record.key().map_or(0, |key| hash_of(hash_key, key));
                if offer.is_new && !group.begin(key) {
                    // A later record of this run would overtake it.
                    if !portion.sizes.is_empty() || group.blocked() >= MAX_BLOCKED as u64 {
                        break;
                    }
                    group.block(key);
                    portion.blocked = portion.blocked.saturating_add(1);
                    (portion.from, portion.to) =
                        (portion.from.saturating_add(size), portion.to.saturating_add(size));
                    rest = tail;
                    continue;
                }
                portion.keys.push(key);
            }
            portion.sizes.push(u32::try_from(size).unwrap_or(u32::MAX));
            portion.to = portion.to.saturating_add(size);
            rest = tail;
        }
        portion
    }
}

/// Stands for a key. Two keys with the same number are treated as one, which only makes a record wait; nobody who does not know
/// the secret can choose such keys.
fn hash_of(hash_key: u128, key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&hash_key.to_le_bytes());
    hasher.write(key);
    hasher.finish().max(1)
}

//! The sessions of a broker: which of them are in their handshake and may be evicted, and which have been woken.

mod entry;
mod patterns;

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use zaichik_proto::Timestamp;

pub(super) use self::entry::{Ended, Memberships, SessionEntry};
pub(super) use self::patterns::SessionPatterns;
use super::memory::{Account, LITTLE, Memory};
use super::readiness::{Readiness, Waits};
use crate::arena::Arena;
use crate::config::BrokerConfig;
use crate::effects::Effects;
use crate::error::CloseReason;
use crate::id::{MemberKey, SessionId};
use crate::planted::{Defect, is_planted};
use crate::session::IDLE_ROOM;
use crate::steps::Steps;

/// Age from which a session in its handshake may be evicted for a newer one.
const EVICT_AFTER: Duration = Duration::from_millis(200);

/// How long a peer that holds memory may make no progress before the memory may be taken for others (rule S15).
const EVICT_STALLED_AFTER: Duration = Duration::from_secs(1);

/// Maximum slots examined for such peers per call, and maximum sessions in their handshake of which one is evicted.
const EXAMINED_PER_CALL: u32 = 1_024;

/// The table of sessions. Ids may outlive their session, so looking one up may find nothing.
#[derive(Debug)]
pub(super) struct Sessions {
    entries: Arena<SessionEntry>,
    next_serial: u64,
    /// Sessions in their handshake, oldest first.
    handshakes: BTreeSet<SessionId>,
    /// Sessions whose connections are gone, and whose subscriptions are ended in steps.
    leaving: VecDeque<SessionId>,
    /// Maximum number of sessions.
    limit: usize,
    /// Maximum number of sessions in their handshake.
    handshake_limit: usize,
    /// The next slot to examine for sessions without progress.
    hand: u32,
    /// Sessions examined to evict one.
    steps: Steps,
}

/// What a session reports after an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeReport {
    /// Bytes that its buffers hold, or that are reserved for them.
    pub(crate) held: usize,
    /// Bytes that they would have to hold for it to go on, or 0.
    pub(crate) lacks: usize,
    /// Since when its peer has made no progress while it makes the broker hold memory.
    pub(crate) stalled_since: Option<Timestamp>,
    /// Whether it keeps memory of topics that waits to be sent.
    pub(crate) pins: bool,
    /// Bytes received before its handshake was done.
    pub(crate) received: usize,
    /// Whether it has published.
    pub(crate) publishes: bool,
}

impl Sessions {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        Self {
            entries: Arena::new(),
            next_serial: 0,
            handshakes: BTreeSet::new(),
            leaving: VecDeque::new(),
            limit: config.max_connections as usize,
            handshake_limit: config.max_handshakes as usize,
            hand: 0,
            steps: Steps::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of free places.
    pub(super) const fn spare(&self) -> usize {
        self.entries.spare().saturating_mul(size_of::<SessionEntry>())
    }

    /// The steps of work since the last call (rule S14).
    pub(super) fn take_steps(&self) -> u64 {
        self.steps.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SessionEntry> {
        self.entries.iter()
    }

    /// A number above those of all occupied slots.
    pub(super) fn slots(&self) -> u32 {
        self.entries.end()
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&SessionEntry> {
        self.entries.get(id.slot).filter(|entry| entry.id.serial() == id.serial())
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut SessionEntry> {
        self.entries.get_mut(id.slot).filter(|entry| entry.id.serial() == id.serial())
    }

    /// The id of a new connection, and whether there is room for it. Without room it gets no entry.
    ///
    /// When too many sessions are in their handshake, the one that sent the fewest bytes is evicted; of several, the
    /// oldest.
    pub(super) fn insert(
        &mut self,
        now: Timestamp,
        accepts: bool,
        (memory, readiness): (&mut Memory, &mut Readiness),
        effects: &mut Effects,
    ) -> (SessionId, Result<(), CloseReason>) {
        let full = self.entries.len() >= self.limit
            || !memory.admits(SessionEntry::IDLE, self.entries.len())
            || (self.handshakes.len() >= self.handshake_limit && !self.evict_handshake(now, effects));
        let serial = self.next_serial;
        self.next_serial = serial.saturating_add(1);
        let id = SessionId::new(serial, self.entries.next_number());
        if full {
            return (id, Err(CloseReason::ServerFull));
        }
        if !accepts {
            return (id, Err(CloseReason::Stopped));
        }
        let (ready, throttle) = (readiness.insert_ring(), readiness.insert_session(id.slot));
        let mut entry = SessionEntry::new(id, ready, throttle, now);
        let footprint = entry.footprint();
        memory.recharge(Account::Sessions, &mut entry.charged, footprint);
        let slot = self.entries.insert(entry);
        debug_assert_eq!(slot, id.slot, "the slot that it was to get");
        self.handshakes.insert(id);
        (id, Ok(()))
    }

    /// Removes a session; an unknown or outdated id finds none.
    pub(super) fn remove(
        &mut self,
        id: SessionId,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> Option<SessionEntry> {
        self.get(id)?;
        let mut entry = self.entries.remove(id.slot)?;
        self.handshakes.remove(&id);
        self.leaving.pop_front_if(|first| *first == id);
        readiness.set_waiting(entry.throttle, Waits::No);
        readiness.remove(entry.ready);
        if let Some(shared) = &entry.shared {
            readiness.remove(shared.ready);
        }
        if let Some(patterns) = &entry.patterns {
            readiness.remove(patterns.busy);
            readiness.remove(patterns.awaiting);
        }
        readiness.remove(entry.throttle);
        memory.recharge(Account::Sessions, &mut entry.charged, 0);
        Some(entry)
    }

    /// The handshake is done.
    pub(super) fn opened(&mut self, id: SessionId, name: &str) {
        if let Some(entry) = self.get_mut(id) {
            entry.open = true;
            entry.set_name(name);
        }
        self.handshakes.remove(&id);
    }

    /// An exchange is over: charges the session's memory, and returns whether the session must wait for memory.
    pub(super) fn exchanged(
        &mut self,
        now: Timestamp,
        id: SessionId,
        report: ExchangeReport,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> bool {
        let Some(entry) = self.get_mut(id) else {
            return false;
        };
        // A session with a subscription is always read: the commits that free memory come through it.
        let throttled =
            report.publishes && entry.open && entry.subscriptions.is_empty() && memory.is_pressed();
        let throttled = throttled && entry.shared.is_none() && entry.patterns.is_none();
        entry.buffers = report.held;
        (entry.lacks, entry.reserved) = (report.lacks, 0);
        entry.waits_since = (report.lacks > 0).then(|| entry.waits_since.unwrap_or(now));
        (entry.stalled_since, entry.pins) = (report.stalled_since, report.pins);
        entry.received = report.received;
        let footprint = entry.footprint();
        memory.recharge(Account::Sessions, &mut entry.charged, footprint);
        let waits = match report.lacks {
            0 if throttled => Waits::ForRecords,
            0 => Waits::No,
            lacks if lacks <= LITTLE => Waits::ForLittle,
            _ => Waits::ForMuch,
        };
        readiness.set_waiting(entry.throttle, waits);
        throttled
    }

    /// Wakes the first session that waits for this if there is memory for it, and reserves the memory; returns whether
    /// there was one.
    pub(super) fn release(
        &mut self,
        waits: Waits,
        memory: &mut Memory,
        readiness: &mut Readiness,
        effects: &mut Effects,
    ) -> bool {
        let first = readiness.first_waiting(waits).filter(|_| !is_planted(Defect::WaitsForEver));
        let Some(entry) = first.and_then(|slot| self.entries.get_mut(slot)) else {
            return false;
        };
        if waits == Waits::ForRecords {
            if memory.is_pressed() {
                return false;
            }
        } else {
            let before = core::mem::replace(&mut entry.reserved, entry.lacks);
            let footprint = entry.footprint();
            if memory.allowance(entry.charged, entry.fixed()) < footprint {
                entry.reserved = before;
                return false;
            }
            memory.recharge(Account::Sessions, &mut entry.charged, footprint);
        }
        readiness.set_waiting(entry.throttle, Waits::No);
        entry.wake(effects);
        true
    }

    /// Frees memory for sessions that wait: closes those whose peers hold memory without making progress, and wakes
    /// others that hold more than an idle one, so that they give back what they keep for later. Examines a bounded
    /// number, which it returns.
    pub(super) fn make_room(
        &mut self,
        now: Timestamp,
        memory: &Memory,
        readiness: &Readiness,
        effects: &mut Effects,
    ) -> u32 {
        let waiting = [Waits::ForLittle, Waits::ForMuch].map(|waits| readiness.first_waiting(waits));
        let lacks = waiting.into_iter().flatten().filter_map(|slot| self.entries.get(slot));
        let needed = lacks.fold(0usize, |sum, entry| sum.saturating_add(entry.lacks));
        let is_crowded = memory.is_crowded();
        let needed = if is_crowded { needed.max(LITTLE) } else { needed };
        let is_pinned = memory.is_pinned();
        let (slots, mut freed) = (self.entries.end(), 0usize);
        let most = EXAMINED_PER_CALL.min(slots);
        for examined in 0..most {
            if freed >= needed && !is_pinned {
                return examined;
            }
            let slot = self.hand;
            self.hand = if slot.saturating_add(1) < slots { slot.saturating_add(1) } else { 0 };
            let Some(entry) = self.entries.get_mut(slot) else { continue };
            let waits_since = entry.waits_since.filter(|_| is_crowded);
            let since = entry.stalled_since.into_iter().chain(waits_since).min();
            let is_stalled = since.is_some_and(|since| now.since(since) >= EVICT_STALLED_AFTER);
            if is_stalled && entry.evicted.is_none() && (freed < needed || entry.pins) {
                entry.evicted = Some(CloseReason::MemoryNeeded);
                entry.wake(effects);
                freed = freed.saturating_add(entry.buffers);
            } else if entry.buffers > IDLE_ROOM && entry.lacks == 0 {
                entry.wake(effects);
            }
        }
        most
    }

    /// A session is over, but its last bytes wait to be sent: it is charged for `held` bytes.
    pub(super) fn close(
        &mut self,
        id: SessionId,
        held: usize,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) {
        let Some(entry) = self.get_mut(id) else { return };
        (entry.buffers, entry.reserved, entry.lacks) = (held, 0, 0);
        (entry.stalled_since, entry.waits_since) = (None, None);
        entry.open = false;
        let footprint = entry.footprint();
        memory.recharge(Account::Sessions, &mut entry.charged, footprint);
        readiness.set_waiting(entry.throttle, Waits::No);
        self.handshakes.remove(&id);
    }

    /// Takes a part of a session that is over; `None` when no more are left.
    pub(super) fn end_one(&mut self, id: SessionId) -> Option<Ended> {
        self.get_mut(id)?.end_one()
    }

    /// A membership of a session that is over has ended in part.
    pub(super) fn keep_member(&mut self, id: SessionId, number: u32, key: MemberKey) {
        if let Some(shared) = self.get_mut(id).and_then(|entry| entry.shared.as_mut()) {
            shared.numbers.insert(number, key);
        }
    }

    /// The connection of a session that is over is gone before all of its subscriptions were ended: it stays until they
    /// are, and is not woken any more.
    pub(super) fn leave(&mut self, id: SessionId) {
        if let Some(entry) = self.get_mut(id)
            && !entry.detached
        {
            (entry.detached, entry.woken) = (true, true);
            self.leaving.push_back(id);
        }
    }

    /// The first session that is [leaving](Self::leave).
    pub(super) fn first_leaving(&self) -> Option<SessionId> {
        self.leaving.front().copied()
    }

    /// Charges the memory that a session holds.
    pub(super) fn settle(&mut self, id: SessionId, memory: &mut Memory) {
        if let Some(entry) = self.get_mut(id) {
            let footprint = entry.footprint();
            memory.recharge(Account::Sessions, &mut entry.charged, footprint);
        }
    }

    /// A session has something to exchange: wakes it, unless it is the calling one.
    pub(super) fn wake(&mut self, id: SessionId, asking: SessionId, effects: &mut Effects) {
        if id != asking {
            self.wake_any(id, effects);
        }
    }

    /// A session has something to exchange.
    pub(super) fn wake_any(&mut self, id: SessionId, effects: &mut Effects) {
        if let Some(entry) = self.get_mut(id) {
            entry.wake(effects);
        }
    }

    /// Every session has something to exchange.
    pub(super) fn wake_all(&mut self, effects: &mut Effects) {
        for slot in 0..self.slots() {
            self.wake_slot(slot, effects);
        }
    }

    /// The same, for the session in this slot.
    pub(super) fn wake_slot(&mut self, slot: u32, effects: &mut Effects) {
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.wake(effects);
        }
    }

    /// Makes room for a session in its handshake, by evicting one of the oldest; returns whether it succeeded.
    fn evict_handshake(&mut self, now: Timestamp, effects: &mut Effects) -> bool {
        let oldest = self.handshakes.iter().take(EXAMINED_PER_CALL as usize);
        let oldest = oldest.inspect(|_| self.steps.add(1)).filter_map(|id| self.entries.get(id.slot));
        let old_enough = oldest.take_while(|entry| now.since(entry.since) >= EVICT_AFTER);
        let Some(id) = old_enough.min_by_key(|entry| entry.received).map(|entry| entry.id) else {
            return false;
        };
        if let Some(entry) = self.get_mut(id) {
            entry.evicted = Some(CloseReason::ServerFull);
            entry.wake(effects);
        }
        self.handshakes.remove(&id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_that_sent_the_fewest_bytes_is_evicted_once_it_is_old_enough() {
        let config = BrokerConfig { max_handshakes: 2, ..BrokerConfig::default() };
        let (mut memory, mut readiness) = (Memory::new(&BrokerConfig::default()), Readiness::new());
        let (mut sessions, mut effects) = (Sessions::new(&config), Effects::new());
        let mut accept = |sessions: &mut Sessions, millis: u64| {
            let now = Timestamp::from_micros(millis * 1_000);
            sessions.insert(now, true, (&mut memory, &mut readiness), &mut effects)
        };
        let (first, second) = (accept(&mut sessions, 0).0, accept(&mut sessions, 0).0);
        sessions.get_mut(first).expect("it exists").received = 10;
        assert_eq!(accept(&mut sessions, 199).1, Err(CloseReason::ServerFull));
        assert_eq!(accept(&mut sessions, 200).1, Ok(()));
        assert_eq!(sessions.get(second).and_then(|entry| entry.evicted), Some(CloseReason::ServerFull));
        assert_eq!(sessions.get(first).and_then(|entry| entry.evicted), None);
        assert_eq!(effects.pop_wake(), Some(second));
    }

    #[test]
    fn a_session_is_woken_once_between_exchanges_and_does_not_wake_itself() {
        let (mut memory, mut readiness) = (Memory::new(&BrokerConfig::default()), Readiness::new());
        let (mut sessions, mut effects) = (Sessions::new(&BrokerConfig::default()), Effects::new());
        let (id, _) = sessions.insert(Timestamp::ZERO, true, (&mut memory, &mut readiness), &mut effects);
        let other = SessionId::new(9, 9);
        sessions.wake(id, id, &mut effects);
        sessions.wake(other, id, &mut effects);
        assert_eq!(effects.pop_wake(), None);
        sessions.wake(id, other, &mut effects);
        sessions.wake(id, other, &mut effects);
        assert_eq!((effects.pop_wake(), effects.pop_wake()), (Some(id), None));
        assert!(sessions.remove(id, &mut memory, &mut readiness).is_some());
        assert!(sessions.remove(id, &mut memory, &mut readiness).is_none());
        assert_eq!(memory.ledger().sessions, 0);
    }
}

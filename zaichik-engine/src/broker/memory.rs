//! The memory that a broker holds, against its budget.

use zaichik_proto::{Refusal, RefusalCode};

use super::ledger::Ledger;
use crate::config::BrokerConfig;
use crate::planted::{Defect, is_planted};
use crate::topic::Retired;

/// When a publisher that found no memory should retry, in microseconds.
const BUSY_RETRY_MICROS: u64 = 10_000;

/// What an allocation is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    Topics,
    Subscriptions,
    Sessions,
}

/// The divisor of the connections' share of which the last part is kept for connections that hold little.
const KEPT: u64 = 8;

/// Bytes that a connection may hold from the kept part. Larger requests wait.
pub(super) const LITTLE: usize = 16 << 10;

/// The ledger, the budget, and allocations that no topic needs any more but some connection still sends from.
///
/// The budget has two shares, neither of which can use up the other: one for buffers of connections, one for the rest.
#[derive(Debug)]
pub(super) struct Memory {
    /// In bytes.
    budget: u64,
    /// The part of the budget for buffers of connections.
    for_connections: u64,
    /// Maximum bytes of one connection.
    per_connection: u64,
    /// From how many bytes on memory for records is short.
    pressed_from: u64,
    /// From how many bytes on records that the store has leave memory.
    filling_from: u64,
    /// From how many bytes of connections on only the kept part is left, and from how many half of that is used.
    scarce_from: u64,
    crowded_from: u64,
    ledger: Ledger,
    retired: Retired,
}

impl Memory {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        let for_connections = config.connections_memory();
        let (share, kept) = (config.memory.saturating_sub(for_connections), for_connections / KEPT);
        Self {
            budget: config.memory,
            for_connections,
            per_connection: config.connection_bytes(),
            pressed_from: share.saturating_sub(share / 10),
            filling_from: config.max_resident_bytes.unwrap_or_else(|| share.saturating_sub(share / 4)),
            scarce_from: for_connections.saturating_sub(kept),
            crowded_from: for_connections.saturating_sub(kept / 2),
            ledger: Ledger::default(),
            retired: Retired::default(),
        }
    }

    /// Refuses an allocation for records, subscriptions or producers that their share has no room for.
    pub(super) fn check(&self, more: usize) -> Result<(), Refusal> {
        if self.used().saturating_add(more as u64) > self.share() {
            return Err(Refusal::with_value(RefusalCode::Busy, BUSY_RETRY_MICROS));
        }
        Ok(())
    }

    /// Bytes left of the share for records, subscriptions and producers.
    pub(super) fn room(&self) -> u64 {
        self.share().saturating_sub(self.used())
    }

    /// Whether so much of that share is used that records leave memory that the store has.
    pub(super) fn is_filling(&self) -> bool {
        self.used() >= self.filling_from
    }

    /// Whether nine tenths of that share are used.
    pub(super) fn is_pressed(&self) -> bool {
        self.used() >= self.pressed_from
    }

    /// Bytes that a connection may hold that is charged `charged` bytes now (rule S15); at least `charged`. `fixed` of
    /// them are not for buffers.
    pub(super) fn allowance(&self, charged: usize, fixed: usize) -> usize {
        if is_planted(Defect::NoAllowance) {
            return usize::MAX;
        }
        let (charged, fixed) = (charged as u64, fixed as u64);
        let others = self.ledger.sessions.saturating_sub(charged);
        let all = self.for_connections.saturating_sub(others);
        let large = self.scarce_from.saturating_sub(others).min(self.per_connection.saturating_add(fixed));
        let little = fixed.saturating_add(LITTLE as u64);
        let allowance = large.max(all.min(little)).max(charged);
        usize::try_from(allowance).unwrap_or(usize::MAX)
    }

    /// Whether there is room for one more connection that holds `idle` bytes beside `count` others, and half of the kept
    /// part is left for requests if all of them are idle. What they hold beyond that they have to give back.
    pub(super) fn admits(&self, idle: usize, count: usize) -> bool {
        let idle_bytes = (idle as u64).saturating_mul((count as u64).saturating_add(1));
        (idle_bytes <= self.crowded_from && self.allowance(0, idle) >= idle)
            || is_planted(Defect::NoAllowance)
    }

    /// Whether only the kept part of the connections' share is left.
    pub(super) const fn is_scarce(&self) -> bool {
        self.ledger.sessions >= self.scarce_from
    }

    /// Whether half of the kept part is used.
    pub(super) const fn is_crowded(&self) -> bool {
        self.ledger.sessions >= self.crowded_from
    }

    /// Whether allocations that only connections still need use an eighth of the share for records.
    pub(super) fn is_pinned(&self) -> bool {
        self.retired.charged() as u64 >= self.share() / 8
    }

    const fn share(&self) -> u64 {
        self.budget.saturating_sub(self.for_connections)
    }

    /// Bytes used of it.
    fn used(&self) -> u64 {
        let Ledger { topics, subscriptions, producers, tables, retired: _, sessions: _ } = self.ledger;
        let fixed = topics.saturating_add(subscriptions).saturating_add(producers);
        fixed.saturating_add(tables).saturating_add(self.retired.charged() as u64)
    }

    /// Replaces an entry's previous charge `charged` with `now`, in bytes.
    pub(super) fn recharge(&mut self, account: Account, charged: &mut usize, now: usize) {
        if account == Account::Topics && is_planted(Defect::Uncharged) {
            return;
        }
        let account = match account {
            Account::Topics => &mut self.ledger.topics,
            Account::Subscriptions => &mut self.ledger.subscriptions,
            Account::Sessions => &mut self.ledger.sessions,
        };
        *account = account.saturating_sub(*charged as u64).saturating_add(now as u64);
        *charged = now;
    }

    /// All producers together hold this many bytes now.
    pub(super) const fn charge_producers(&mut self, footprint: usize) {
        self.ledger.producers = footprint as u64;
    }

    /// The free places of all tables hold this many bytes now.
    pub(super) const fn charge_tables(&mut self, spare: usize) {
        self.ledger.tables = spare as u64;
    }

    /// Takes allocations that are still being sent from.
    pub(super) const fn retired(&mut self) -> &mut Retired {
        &mut self.retired
    }

    /// Whether there are retired allocations, which must be [swept](Retired::sweep).
    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger { retired: self.retired.charged() as u64, ..self.ledger }
    }

    pub(super) const fn budget(&self) -> u64 {
        self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// 16 MiB, of which a little more than 4 are for connections.
    fn memory() -> Memory {
        Memory::new(&BrokerConfig { memory: 16 * MIB, ..BrokerConfig::default() })
    }

    #[test]
    fn a_charge_replaces_the_one_before_and_the_share_is_inclusive() {
        let mut memory = memory();
        let mut charged = 0;
        memory.recharge(Account::Topics, &mut charged, 60);
        memory.recharge(Account::Topics, &mut charged, 40);
        memory.charge_producers(10);
        assert_eq!((charged, memory.ledger().topics, memory.ledger().total()), (40, 40, 50));
        let room = usize::try_from(memory.share() - 50).expect("it fits");
        assert_eq!((memory.check(room), memory.room()), (Ok(()), room as u64));
        let refusal = memory.check(room + 1).expect_err("one byte over the share");
        assert_eq!((refusal.code, refusal.value), (RefusalCode::Busy, BUSY_RETRY_MICROS));
    }

    #[test]
    fn memory_is_short_from_nine_tenths_on() {
        let mut memory = memory();
        let tenths = usize::try_from(memory.share() - memory.share() / 10).expect("it fits");
        memory.charge_producers(tenths - 1);
        assert!(!memory.is_pressed());
        memory.charge_producers(tenths);
        assert!(memory.is_pressed());
    }

    #[test]
    fn s15_connections_and_records_cannot_use_each_others_share() {
        let mut memory = memory();
        let (mut topics, mut sessions) = (0, 0);
        let all = usize::try_from(16 * MIB).expect("it fits");
        memory.recharge(Account::Topics, &mut topics, all);
        assert!(memory.allowance(0, 0) > 3 << 20, "records do not take what connections need");
        memory.recharge(Account::Topics, &mut topics, 0);
        memory.recharge(Account::Sessions, &mut sessions, all);
        assert_eq!(memory.check(11 << 20), Ok(()), "connections do not take what records need");
    }

    #[test]
    fn s15_the_last_part_is_kept_for_connections_that_hold_little() {
        let mut memory = memory();
        let (mut large, mut small) = (0, 0);
        memory.recharge(Account::Sessions, &mut large, memory.allowance(0, 0));
        while memory.allowance(0, 0) > LITTLE {
            let more = memory.allowance(0, 0);
            memory.recharge(Account::Sessions, &mut 0, more);
        }
        assert_eq!(memory.allowance(0, 0), LITTLE, "a connection that holds little is served");
        assert_eq!(memory.allowance(large, 0), large, "one that holds much gets no more");
        let mut served = 0;
        while memory.allowance(0, 0) >= LITTLE {
            memory.recharge(Account::Sessions, &mut small, 0);
            small = 0;
            memory.recharge(Account::Sessions, &mut small, LITTLE);
            small = 0;
            served += 1;
        }
        assert!(served >= 30, "{served}");
        assert!(memory.ledger().sessions <= memory.for_connections);
    }
}

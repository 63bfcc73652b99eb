//! The memory that a broker holds, against its budget.

use zaichik_proto::{Refusal, RefusalCode};

use super::ledger::Ledger;
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

/// The ledger, the budget, and allocations that no topic needs any more but some connection still sends from.
#[derive(Debug)]
pub(super) struct Memory {
    /// In bytes.
    budget: u64,
    ledger: Ledger,
    retired: Retired,
}

impl Memory {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, ledger: Ledger::default(), retired: Retired::default() }
    }

    /// Refuses an allocation that the budget has no room for.
    pub(super) fn check(&self, more: usize) -> Result<(), Refusal> {
        if self.ledger().total().saturating_add(more as u64) > self.budget {
            return Err(Refusal::with_value(RefusalCode::Busy, BUSY_RETRY_MICROS));
        }
        Ok(())
    }

    /// Bytes left of the budget.
    pub(super) fn room(&self) -> u64 {
        self.budget.saturating_sub(self.ledger().total())
    }

    /// Whether nine tenths of the budget are used.
    pub(super) fn is_pressed(&self) -> bool {
        self.ledger().total() >= self.budget.saturating_sub(self.budget / 10)
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

    #[test]
    fn a_charge_replaces_the_one_before_and_the_budget_is_inclusive() {
        let mut memory = Memory::new(100);
        let mut charged = 0;
        memory.recharge(Account::Topics, &mut charged, 60);
        memory.recharge(Account::Topics, &mut charged, 40);
        memory.charge_producers(10);
        assert_eq!((charged, memory.ledger().topics, memory.ledger().total()), (40, 40, 50));
        assert_eq!((memory.check(50), memory.room()), (Ok(()), 50));
        let refusal = memory.check(51).expect_err("one byte over the budget");
        assert_eq!((refusal.code, refusal.value), (RefusalCode::Busy, BUSY_RETRY_MICROS));
    }

    #[test]
    fn memory_is_short_from_nine_tenths_on() {
        let mut memory = Memory::new(100);
        memory.charge_producers(89);
        assert!(!memory.is_pressed());
        memory.charge_producers(90);
        assert!(memory.is_pressed());
    }
}

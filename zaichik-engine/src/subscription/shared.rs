//! What makes a subscription a shared one: its bookkeeping, and the lines in which its members stand (rule G2).

use crate::group::{Group, Run};
use crate::ring::Node;

/// The shared part of a subscription.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its number among all shared subscriptions that the broker ever had, from 1 on.
    pub(crate) serial: u64,
    pub(crate) group: Group,
    /// Head of the ring of members that have room and wait for their turn.
    pub(crate) line: Node,
    /// Head of the ring of members whose window is full.
    pub(crate) full: Node,
    /// Members in the second ring.
    pub(crate) full_len: u32,
    /// Members with room: those in the line, and those that have a turn.
    pub(crate) roomy: u32,
    /// Members that have a turn which no other has got instead.
    pub(crate) turns: u32,
    /// How often all members that had a turn have used it. A member gets one run in each round, as long as others have a turn.
    pub(crate) round: u64,
    /// All members.
    pub(crate) members: u32,
    /// Whether what comes next is being read back from the store.
    pub(crate) is_fetching: bool,
    /// The number of the next member.
    next_member: u64,
}

impl Shared {
    pub(crate) const fn new(serial: u64, group: Group, line: Node, full: Node) -> Self {
        Self {
            serial,
            group,
            line,
            full,
            full_len: 0,
            roomy: 0,
            turns: 0,
            round: 1,
            members: 0,
            is_fetching: false,
            next_member: 0,
        }
    }

    /// A number that no member had before.
    pub(crate) const fn number(&mut self) -> u64 {
        let number = self.next_member;
        self.next_member = number.saturating_add(1);
        number
    }

    /// How many records one member gets at a time, if so many may be handed out (rule G2).
    pub(crate) fn quantum(&self, available: u64) -> u64 {
        let share = available.checked_div(u64::from(self.roomy)).unwrap_or(available);
        share.clamp(1, Run::MAX_RUN as u64)
    }
}

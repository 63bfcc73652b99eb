//! How far a store is, and how far it has to be before something may leave.

use super::Ticket;

/// How far a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// It has the commits up to this one, whatever becomes of the process.
    pub(crate) written: Ticket,
    /// It has those up to this one, whatever becomes of the machine.
    pub(crate) synced: Ticket,
}

/// A commit, and what has to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) ticket: Ticket,
    /// Whether it has to be synced, rather than only written.
    pub(crate) is_synced: bool,
}

impl Progress {
    /// Whether that is done.
    pub(crate) fn has(self, awaited: Awaited) -> bool {
        awaited.ticket <= if awaited.is_synced { self.synced } else { self.written }
    }
}

impl Awaited {
    /// Whether the other one is done when this is.
    pub(crate) fn includes(self, other: Self) -> bool {
        self.ticket >= other.ticket && (self.is_synced || !other.is_synced)
    }

    /// What is done when both are.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { ticket: self.ticket.max(other.ticket), is_synced: self.is_synced || other.is_synced }
    }
}

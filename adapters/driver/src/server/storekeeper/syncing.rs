//! When a store is to sync what it has (rule B7).

use std::time::Duration;

use zaichik_engine::Timestamp;
use zaichik_engine::store::Ticket;

use crate::server::shared::{Poisoned, Shared};

/// What is not synced.
#[derive(Debug)]
pub(super) struct Syncing {
    /// For how long; zero if each commit is synced.
    every: Duration,
    /// Since when there is something.
    since: Option<Timestamp>,
}

impl Syncing {
    pub(super) const fn new(every: Duration) -> Self {
        Self { every, since: None }
    }

    /// The store has a commit.
    pub(super) fn committed(&mut self, shared: &Shared, ticket: Ticket) -> Result<(), Poisoned> {
        if self.every.is_zero() {
            return shared.committed(ticket);
        }
        let _ = self.since.get_or_insert_with(|| shared.clock().now());
        shared.written(ticket)
    }

    /// How long the next sync may wait, unless a client asks for it.
    pub(super) fn wait(&self, shared: &Shared) -> Duration {
        let elapsed = |since| shared.clock().now().since(since);
        self.since.map_or(Duration::MAX, |since| self.every.saturating_sub(elapsed(since)))
    }

    /// Whether it is time, or a client waits for it.
    pub(super) fn is_due(&self, shared: &Shared) -> Result<bool, Poisoned> {
        Ok(self.since.is_some() && (self.wait(shared).is_zero() || shared.wants_sync()?))
    }

    /// Everything is synced.
    pub(super) fn synced(&mut self, shared: &Shared) -> Result<(), Poisoned> {
        self.since = None;
        shared.synced()
    }
}

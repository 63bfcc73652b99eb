//! What the thread of a store does with the broker.

use std::thread::Thread;
use std::time::Duration;

use zaichik_engine::Turn;
use zaichik_engine::store::{Commit, Ticket};

use super::{Poisoned, Shared};
use crate::server::store::StoreError;

/// What a store is to do.
#[derive(Debug)]
pub(in crate::server) struct StoreDue {
    /// To store it now.
    pub(in crate::server) commit: Option<Commit>,
    /// When the next commit is due, if nothing else happens.
    pub(in crate::server) wait: Duration,
    /// To end when no commit is due.
    pub(in crate::server) is_over: bool,
}

impl Shared {
    /// Housekeeping has ended, and with it the broker: its store takes a last commit.
    pub(in crate::server) fn end_store(&self) {
        let mut state = self.lock_even_if_poisoned();
        state.is_over = true;
        if let Some(keeper) = &state.storekeeper {
            keeper.unpark();
        }
    }

    /// The thread of the store is woken when a commit is due earlier than expected.
    pub(in crate::server) fn watch_store(&self, thread: Thread) -> Result<(), Poisoned> {
        self.locked(|state, _| state.storekeeper = Some(thread))
    }

    /// What the store is to do.
    pub(in crate::server) fn poll_commit(&self) -> Result<StoreDue, Poisoned> {
        self.locked(|state, now| {
            let commit = state.broker.poll_commit(now, &mut state.effects);
            let wait = state.broker.next_commit().map_or(Duration::MAX, |at| at.since(now));
            StoreDue { commit, wait, is_over: state.is_over }
        })
    }

    /// A commit is durable.
    pub(in crate::server) fn committed(&self, ticket: Ticket) -> Result<(), Poisoned> {
        self.locked(|state, now| {
            if state.broker.committed(now, ticket, &mut state.effects) == Turn::More {
                state.wake_housekeeper = true;
            }
        })
    }

    /// Whether the broker has stopped, so that its store need not wait for space.
    pub(in crate::server) fn is_store_over(&self) -> Result<bool, Poisoned> {
        self.state.lock().map(|state| state.is_over || state.is_stopping()).map_err(|_| Poisoned)
    }

    /// The store failed: ends every connection.
    pub(in crate::server) fn store_failed(&self, error: StoreError) {
        let failed = self.locked(|state, now| {
            state.store_error = Some(error);
            state.broker.store_failed(now, &mut state.effects);
        });
        if failed.is_err() {
            self.wake_all();
        }
        self.abort();
    }

    /// Why the store failed, if it did.
    pub(crate) fn store_error(&self) -> Option<StoreError> {
        self.lock_even_if_poisoned().store_error.clone()
    }
}

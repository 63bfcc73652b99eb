//! What the thread of a store does with the broker.

use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use zaichik_engine::Turn;
use zaichik_engine::store::{Commit, Fetch, FetchError, Ticket};

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
    /// To end at once, because it has failed.
    pub(in crate::server) has_failed: bool,
}

/// What is to be read back.
#[derive(Debug)]
pub(in crate::server) struct FetchDue {
    pub(in crate::server) fetch: Option<Fetch>,
    /// To end when there is nothing.
    pub(in crate::server) is_over: bool,
}

impl Shared {
    /// Housekeeping has ended, and with it the broker: its store takes a last commit.
    pub(in crate::server) fn end_store(&self) {
        let mut state = self.lock_even_if_poisoned();
        state.is_over = true;
        state.storekeeper.iter().chain(&state.store_reader).for_each(Waker::wake_by_ref);
    }

    /// `waker` is woken when a commit is due earlier than expected, and when the broker has stopped.
    pub(in crate::server) fn watch_store(&self, waker: &Waker) -> Result<(), Poisoned> {
        self.locked(|state, _| state.storekeeper = Some(waker.clone()))
    }

    /// `waker` is woken when there is something to read back, and when the broker has stopped.
    pub(in crate::server) fn watch_fetches(&self, waker: &Waker) -> Result<(), Poisoned> {
        self.locked(|state, _| state.store_reader = Some(waker.clone()))
    }

    /// What the store is to do.
    pub(in crate::server) fn poll_commit(&self) -> Result<StoreDue, Poisoned> {
        self.locked(|state, now| {
            if state.is_over {
                // A broker that was dropped was not asked to stop, but takes no more changes to wait for either.
                state.broker.drain(now, Duration::ZERO, &mut state.effects);
            }
            let commit = state.broker.poll_commit(now, &mut state.effects);
            let wait = state.broker.next_commit().map_or(Duration::MAX, |at| at.since(now));
            StoreDue { commit, wait, is_over: state.is_over, has_failed: state.store_error.is_some() }
        })
    }

    /// What the store is to read back.
    pub(in crate::server) fn poll_fetch(&self) -> Result<FetchDue, Poisoned> {
        self.locked(|state, _| FetchDue { fetch: state.broker.poll_fetch(), is_over: state.is_over })
    }

    /// The store has read records back; the error says that they are others.
    pub(in crate::server) fn fetched(
        &self,
        fetch: Fetch,
        records: Bytes,
    ) -> Result<Result<(), FetchError>, Poisoned> {
        self.locked(|state, now| state.broker.fetched(now, fetch, records, &mut state.effects))
    }

    /// A commit is durable.
    pub(in crate::server) fn committed(&self, ticket: Ticket) -> Result<(), Poisoned> {
        self.locked(|state, now| {
            if state.broker.committed(now, ticket, &mut state.effects) == Turn::More {
                state.wake_housekeeper = true;
            }
        })
    }

    /// The store has a commit that will be durable later.
    pub(in crate::server) fn written(&self, ticket: Ticket) -> Result<(), Poisoned> {
        self.locked(|state, now| {
            if state.broker.written(now, ticket, &mut state.effects) == Turn::More {
                state.wake_housekeeper = true;
            }
        })
    }

    /// All commits that the store has are durable.
    pub(in crate::server) fn synced(&self) -> Result<(), Poisoned> {
        self.locked(|state, now| {
            if state.broker.synced(now, &mut state.effects) == Turn::More {
                state.wake_housekeeper = true;
            }
        })
    }

    /// Whether a client waits until they are.
    pub(in crate::server) fn wants_sync(&self) -> Result<bool, Poisoned> {
        self.inspect(zaichik_engine::Broker::wants_sync)
    }

    /// The store has no space for what brings much, or has some again.
    pub(in crate::server) fn store_full(&self, is_full: bool) -> Result<(), Poisoned> {
        self.locked(|state, now| state.broker.store_full(now, is_full))
    }

    /// For how long a store without space is waited for at least; `None` if no longer. A broker that was asked to stop
    /// waits until its grace is over, even if its connections have ended.
    pub(in crate::server) fn store_patience(&self) -> Result<Option<Duration>, Poisoned> {
        self.locked(|state, now| match state.grace_ends {
            Some(at) if at <= now => None,
            Some(at) => Some(at.since(now)),
            None if state.is_over => None,
            None => Some(Duration::MAX),
        })
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

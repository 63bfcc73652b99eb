//! A connection's registration with its broker.

use std::sync::Arc;
use std::task::Waker;

use zaichik_engine::SessionId;

use super::shared::Shared;
use super::tasks::ConnectionEntry;

/// A connection's registration with its broker: its session, until that is over, and its task's entry, until this is
/// dropped.
///
/// The task outlives the session while the connection waits for its peer to read the last bytes.
#[derive(Debug)]
pub(super) struct Registration {
    shared: Arc<Shared>,
    session: SessionId,
    has_session: bool,
    /// Dropped after the session has ended.
    entry: ConnectionEntry,
}

impl Registration {
    /// Registers the task of a connection whose session the broker accepted.
    pub(super) fn new(shared: &Arc<Shared>, session: SessionId) -> Self {
        Self { shared: Arc::clone(shared), session, has_session: true, entry: shared.tasks().enter() }
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) const fn session(&self) -> SessionId {
        self.session
    }

    /// Sets the waker of the task; call it at each poll.
    pub(super) fn watch(&mut self, waker: &Waker) {
        self.entry.watch(waker);
    }

    /// Whether the connection must end at once.
    pub(super) fn is_aborted(&self) -> bool {
        self.entry.is_aborted()
    }

    /// The session is over: the broker forgets it.
    pub(super) fn end_session(&mut self) {
        if std::mem::take(&mut self.has_session) {
            self.shared.detach(self.session);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end_session();
    }
}

//! A connection's registration with its broker.

use std::sync::Arc;
use std::task::Waker;

use zaichik_engine::SessionId;

use super::shared::Shared;
use super::tasks::ConnectionEntry;
use super::turnstile::{Admission, Place};

/// A connection's registration with its broker: its session, until that is over, and its task's entry, until this is
/// dropped.
///
/// The task outlives the session while the connection waits for its peer to read the last bytes.
#[derive(Debug)]
pub(super) struct Registration {
    shared: Arc<Shared>,
    session: SessionId,
    has_session: bool,
    /// Its place among busy connections.
    place: Place,
    /// Dropped after the session has ended.
    entry: ConnectionEntry,
}

impl Registration {
    /// Registers the task of a connection whose session the broker accepted.
    pub(super) fn new(shared: &Arc<Shared>, session: SessionId) -> Self {
        let entry = shared.tasks().enter();
        Self { shared: Arc::clone(shared), session, has_session: true, place: Place::Outside, entry }
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

    /// Whether the connection may go on now; if it is refused, the task is woken when it may. One that must end may.
    pub(super) fn admit(&mut self, waker: &Waker) -> Admission {
        let admission = self.shared.turnstile().admits(&mut self.place, waker);
        if admission != Admission::Granted && self.is_aborted() { Admission::Granted } else { admission }
    }

    /// Whether the connection, which has much to do, waits until others had their shares before it uses its first one.
    pub(super) fn goes_behind(&self) -> bool {
        self.shared.turnstile().is_crowded_for(self.place) && !self.is_aborted()
    }

    /// Whether it goes on as one of the busy connections.
    pub(super) fn is_busy(&self) -> bool {
        self.place == Place::Inside
    }

    /// The connection used its share and has more to do: the task is woken when it may go on.
    pub(super) fn used_share(&mut self, waker: &Waker) {
        self.shared.turnstile().pass(&mut self.place, waker);
    }

    /// The connection has nothing more to do, after it did much or little.
    pub(super) fn is_idle(&mut self, did_much: bool) {
        let turnstile = self.shared.turnstile();
        if did_much { turnstile.rest(&mut self.place) } else { turnstile.leave(&mut self.place) }
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
        self.shared.turnstile().leave(&mut self.place);
    }
}

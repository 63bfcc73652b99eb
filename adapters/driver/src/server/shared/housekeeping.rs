//! What the task that handles the broker's deadlines does with the broker.

use std::task::Waker;

use zaichik_engine::{Timestamp, Turn};

use super::lock::Lock;
use super::{Poisoned, Shared};
use crate::timeline::WATCH_EVERY;

/// The result of a housekeeping round.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    /// Whether another round is due at once.
    pub(crate) turn: Turn,
    /// When the next round is due.
    pub(crate) next: Option<Timestamp>,
    /// Whether the broker is stopping.
    pub(crate) is_stopping: bool,
}

impl Shared {
    /// Runs what is due in the broker; `waker` is woken when something is due earlier than expected.
    pub(crate) fn housekeep(&self, waker: &Waker) -> Result<Housekeeping, Poisoned> {
        let (abort, round) = self.locked_in(Lock::lock_behind_others, |state, now| {
            state.housekeeper = Some(waker.clone());
            let abort = state.stop_at.is_some_and(|at| at <= now);
            if abort {
                state.stop_at = Some(Timestamp::MAX);
            }
            let turn = state.broker.handle_timeout(now, &mut state.effects);
            // Without connections nothing depends on how long the broker ran.
            let is_watched = state.broker.session_count() > 0;
            self.clock.watch(is_watched);
            let watch = is_watched.then(|| now + WATCH_EVERY);
            let next = state.broker.next_timeout().into_iter().chain(state.stop_at).chain(watch).min();
            (abort, Housekeeping { turn, next, is_stopping: state.is_stopping() })
        })?;
        if abort {
            self.tasks.abort();
        }
        Ok(round)
    }
}

//! What the threads of one attack tell each other.

use std::sync::atomic::{AtomicBool, Ordering};

/// Two moments: the attack is prepared, and the measurement is over.
#[derive(Debug, Default)]
pub(super) struct Signals {
    is_prepared: AtomicBool,
    is_over: AtomicBool,
}

impl Signals {
    pub(super) fn prepared(&self) {
        self.is_prepared.store(true, Ordering::Release);
    }

    pub(super) fn is_prepared(&self) -> bool {
        self.is_prepared.load(Ordering::Acquire)
    }

    pub(super) fn over(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

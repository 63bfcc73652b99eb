//! Allocations that the log no longer needs while slices of them are still being sent.

use std::collections::VecDeque;

use bytes::Bytes;

/// Keeps a handle to each such allocation, so that it stays charged until its last slice is gone.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    allocations: VecDeque<(Bytes, usize)>,
    charged: usize,
}

/// Allocations checked per sweep.
const SWEEP: usize = 16;

impl Retired {
    /// Takes over an allocation of `charge` bytes; frees it at once if no slice of it is in use.
    pub(crate) fn push(&mut self, handle: Bytes, charge: usize) {
        if !handle.is_unique() {
            self.charged = self.charged.saturating_add(charge);
            self.allocations.push_back((handle, charge));
        }
    }

    /// Frees allocations without slices in use; checks a bounded number of them.
    pub(crate) fn sweep(&mut self) {
        for _ in 0..SWEEP.min(self.allocations.len()) {
            let Some((handle, charge)) = self.allocations.pop_front() else {
                return;
            };
            if handle.is_unique() {
                self.charged = self.charged.saturating_sub(charge);
            } else {
                self.allocations.push_back((handle, charge));
            }
        }
    }

    /// Bytes that are still allocated.
    pub(crate) const fn charged(&self) -> usize {
        self.charged
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.allocations.is_empty()
    }
}

//! Work, counted in steps, so that it can be bounded (rule S14).

use core::cell::Cell;

/// For how many steps an exchange applies requests, and for how many it then delivers records. The last request, and the
/// last delivery, may exceed it.
pub(crate) const STEPS_PER_EXCHANGE: u64 = 4_096;

/// Steps of work: each is a visit to one record, part of a log, key or entry of a table, which takes some tens of
/// nanoseconds.
///
/// Walks count their steps here as they go, also where they only look; whoever is responsible for a budget
/// [takes](Self::take) the sum.
#[derive(Debug, Default)]
pub(crate) struct Steps(Cell<u64>);

impl Steps {
    /// Adds steps.
    #[inline]
    pub(crate) fn add(&self, steps: u64) {
        self.0.set(self.0.get().saturating_add(steps));
    }

    /// The steps since the last call.
    #[inline]
    pub(crate) fn take(&self) -> u64 {
        self.0.replace(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_steps_add_up_until_they_are_taken() {
        let steps = Steps::default();
        steps.add(2);
        steps.add(3);
        assert_eq!((steps.take(), steps.take()), (5, 0));
        steps.add(u64::MAX);
        steps.add(1);
        assert_eq!(steps.take(), u64::MAX);
    }
}

//! How much a connection did since others had their turn.

/// Bytes moved from which a connection counts as busy: it lets others go first if many are.
const BUSY: usize = 8 << 10;

/// The same for steps of work in the broker: an eighth of the share of one exchange. Few bytes can be much work.
const BUSY_STEPS: u64 = 512;

/// What a connection did since it was last idle or went behind others. Over several polls it adds up, so a connection that
/// always has a little more to do becomes busy as well.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    bytes: usize,
    steps: u64,
}

impl Work {
    pub(super) const fn add_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) const fn add_steps(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
    }

    /// Whether it moved many bytes.
    pub(super) const fn has_moved_much(&self) -> bool {
        self.bytes >= BUSY
    }

    /// Whether the connection is busy.
    pub(super) const fn is_much(&self) -> bool {
        self.has_moved_much() || self.steps >= BUSY_STEPS
    }

    /// Whether it is more than a small request and what that causes: then what is left waits behind busy connections.
    pub(super) const fn is_more_than_a_request(&self) -> bool {
        self.bytes >= BUSY / 8 || self.steps >= BUSY_STEPS / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_little_work_adds_up() {
        let mut work = Work::default();
        work.add_steps(63);
        work.add_bytes(1_023);
        assert!(!work.is_more_than_a_request());
        work.add_steps(1);
        assert!(work.is_more_than_a_request());
        work.add_steps(447);
        assert!(!work.is_much());
        work.add_steps(1);
        assert!(work.is_much());
        let mut work = Work::default();
        (0..8).for_each(|_| work.add_bytes(1_024));
        assert!(work.is_much() && work.has_moved_much());
    }
}

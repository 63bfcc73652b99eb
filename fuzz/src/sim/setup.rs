//! The inputs of a run of the simulator.

use super::planted::Defect;

/// Microseconds in a millisecond.
pub(crate) const MILLI: u64 = 1_000;
/// Microseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000;

/// A run to do.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The seed that everything else is drawn from.
    pub seed: u64,
    /// Number of events in the first phase, instead of the drawn one.
    pub events: Option<usize>,
    /// Classes of faults, from [`FAULT_CLASSES`](super::FAULT_CLASSES), and clients, as `client-3`, that are left out
    /// although the seed draws them.
    pub without: Vec<String>,
    /// The defect that the broker seems to have.
    pub defect: Option<Defect>,
    /// Whether the broker has a store although the seed draws none.
    pub has_store: bool,
    /// Whether each event is printed when it happens.
    pub prints_events: bool,
}

impl Setup {
    /// A seed without changes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }
}

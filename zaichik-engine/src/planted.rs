//! Deliberate defects, to test whether the simulator finds them.
//!
//! Only those that have to be inside the broker are here; the simulator plants all others at its edge
//! (`fuzz/src/sim/planted.rs`). They exist only with the feature `planted`, which only the simulator's own tests enable.
//! Without it `is_planted` is the constant `false`, and the compiler removes the defects.

/// A defect, with the rule that it breaks and the reason why it is inside the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "public with the feature only"))]
pub enum Defect {
    /// Rule S9: the memory of topics is not charged. The ledger is internal state, which the broker recounts itself.
    Uncharged,
    /// Rule A6: a record is copied to the dead-letter topic and delivered all the same. Only the broker knows which Nack
    /// made a dead letter, and no request undoes that the record is done without a second rewind.
    DeadLetterStays,
    /// Rule S15: a connection may hold any amount of memory. What it may hold is never sent.
    NoAllowance,
    /// Rule S15: a connection that waits for memory is not woken when there is some. The broker alone knows that it waits.
    WaitsForEver,
    /// Rule S14: requests do not wait until deaths are settled, which walks then pass one by one.
    UnsettledWalk,
    /// Rule S14: an exchange applies every request that was received.
    EndlessExchange,
    /// Rule R5: records that expired by their own time to live count against the limits.
    DeadCount,
}

#[cfg(feature = "planted")]
impl Defect {
    /// All defects that the simulator finds. A step test finds [`UnsettledWalk`](Self::UnsettledWalk), which needs more
    /// records than a simulated topic holds (tests/rules/work.rs).
    pub const ALL: &[Self] = &[
        Self::Uncharged,
        Self::DeadLetterStays,
        Self::NoAllowance,
        Self::WaitsForEver,
        Self::EndlessExchange,
        Self::DeadCount,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: core::cell::Cell<Option<Defect>> = const { core::cell::Cell::new(None) };
}

/// Plants a defect in every broker of this thread from now on, or none.
#[cfg(feature = "planted")]
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

#[cfg(feature = "planted")]
pub(crate) fn is_planted(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}

#[cfg(not(feature = "planted"))]
#[inline]
pub(crate) const fn is_planted(_: Defect) -> bool {
    false
}

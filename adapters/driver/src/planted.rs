//! Deliberate defects, to test whether runs of the driver under many seeds find them.
//!
//! They exist only with the feature `planted`, which only the tests of `zaichik-simulated` enable. Without it
//! `is_planted` is the constant `false`, and the compiler removes the defects.

/// A defect: something stays asleep although it has work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "public with the feature only"))]
pub enum Defect {
    /// A refused session overwrites the waker of the next session in its slot.
    #[cfg(feature = "server")]
    WakerOverwritten,
    /// A refused session that ends removes the waker of the next session in its slot.
    #[cfg(feature = "server")]
    WakerRemoved,
    /// Sessions above the number that one turn wakes are not woken.
    #[cfg(feature = "server")]
    WakesDropped,
    /// A write that the stream did not accept is not repeated when it would.
    #[cfg(feature = "server")]
    WriteForgotten,
    /// A session that stopped reading because its buffer was full does not read again.
    #[cfg(feature = "server")]
    ReadForgotten,
    /// A connection with more to do after its turns does not run again.
    #[cfg(feature = "server")]
    TurnsForgotten,
    /// A client that stopped reading because its program took no messages does not read again.
    #[cfg(feature = "client")]
    ClientReadForgotten,
    /// A client that made requests that waited for room does not send them.
    #[cfg(feature = "client")]
    ClientWriteForgotten,
}

#[cfg(feature = "planted")]
impl Defect {
    /// All defects.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "server")]
        Self::WakerOverwritten,
        #[cfg(feature = "server")]
        Self::WakerRemoved,
        #[cfg(feature = "server")]
        Self::WakesDropped,
        #[cfg(feature = "server")]
        Self::WriteForgotten,
        #[cfg(feature = "server")]
        Self::ReadForgotten,
        #[cfg(feature = "server")]
        Self::TurnsForgotten,
        #[cfg(feature = "client")]
        Self::ClientReadForgotten,
        #[cfg(feature = "client")]
        Self::ClientWriteForgotten,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: core::cell::Cell<Option<Defect>> = const { core::cell::Cell::new(None) };
}

/// Plants a defect in every broker and client of this thread from now on, or none.
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

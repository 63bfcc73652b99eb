//! Deliberate defects, to test whether the simulator finds them.
//!
//! They exist only with the feature `planted`, which only the simulator's own tests enable. Without it
//! `is_planted` is the constant `false`, and the compiler removes the defects.

/// A defect, with the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "public with the feature only"))]
pub enum Defect {
    /// Rule P4: a client resends unanswered requests in another order.
    ResendReversed,
    /// Rule P4: a client does not resend an unanswered request.
    ResendForgotten,
}

#[cfg(feature = "planted")]
impl Defect {
    /// All defects.
    pub const ALL: &[Self] = &[Self::ResendReversed, Self::ResendForgotten];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: core::cell::Cell<Option<Defect>> = const { core::cell::Cell::new(None) };
}

/// Plants a defect in every client of this thread from now on, or none.
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

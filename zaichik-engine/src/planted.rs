//! Deliberate defects, to test whether the simulator finds them.
//!
//! They exist only with the feature `planted`, which only the simulator's own tests enable. Without it `is_planted` is
//! the constant `false`, and the compiler removes the defects.

/// A defect, with the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "public with the feature only"))]
pub enum Defect {
    /// Rule R1: a record is delivered at the instant at which it expires.
    LateExpiry,
    /// Rule R4: records that a limit removed are skipped without a Gap.
    SilentLimit,
    /// Rule D2: records that were uncommitted when a connection ended are not redelivered.
    NoRedelivery,
    /// Rule A2: a commit moves the cursor one record too far.
    CommitTwo,
    /// Rule C1: a duplicate extends its key's window.
    WindowRefreshed,
    /// Rule A3: a commit of a record that was not delivered is accepted.
    CommitAhead,
    /// Rule A10: a commit made before a seek is accepted after it.
    CommitRewound,
    /// Rule A4: a Nack does not raise the rewind number.
    SameRewind,
    /// Rule D3: a commit under a fenced number is accepted.
    FencedCommit,
    /// Rule P3: a producer's retry is appended once more.
    RetryTwice,
    /// Rule P3: a repeated answer does not say so.
    RepeatUnsaid,
    /// Rule P3: a request behind a hole in the sequence is accepted.
    HoleAccepted,
    /// Rule X1: the operations before the refused one take effect.
    PartialBatch,
    /// One in sixteen wakes of a connection is lost.
    LostWake,
    /// The memory of records is not charged.
    Uncharged,
    /// Rule A1: one record more than the window is delivered.
    WideWindow,
    /// Rule A6: a record is copied to the dead-letter topic and delivered all the same.
    DeadLetterStays,
    /// Rule A6: a record is skipped as a dead letter, and no copy of it is made.
    DeadLetterLost,
}

#[cfg(feature = "planted")]
impl Defect {
    /// All defects.
    pub const ALL: &[Self] = &[
        Self::LateExpiry,
        Self::SilentLimit,
        Self::NoRedelivery,
        Self::CommitTwo,
        Self::WindowRefreshed,
        Self::CommitAhead,
        Self::CommitRewound,
        Self::SameRewind,
        Self::FencedCommit,
        Self::RetryTwice,
        Self::RepeatUnsaid,
        Self::HoleAccepted,
        Self::PartialBatch,
        Self::LostWake,
        Self::Uncharged,
        Self::WideWindow,
        Self::DeadLetterStays,
        Self::DeadLetterLost,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: core::cell::Cell<Option<Defect>> = const { core::cell::Cell::new(None) };
    /// Wakes of this thread since a defect was planted.
    static WAKES: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

/// Plants a defect in every broker of this thread from now on, or none.
#[cfg(feature = "planted")]
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
    WAKES.set(0);
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

/// Whether the wake that is due is lost: with [`Defect::LostWake`] one in sixteen is.
#[inline]
pub(crate) fn loses_wake() -> bool {
    is_planted(Defect::LostWake) && count_wake() % 16 == 7
}

/// The number of wakes before this one since a defect was planted.
#[cfg(feature = "planted")]
fn count_wake() -> u32 {
    WAKES.replace(WAKES.get().wrapping_add(1))
}

#[cfg(not(feature = "planted"))]
const fn count_wake() -> u32 {
    0
}

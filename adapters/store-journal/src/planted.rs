//! Deliberate defects, to test whether the properties of this crate find them.
//!
//! They exist only with the feature `planted`. Without it `is_planted` is the constant `false`, and the compiler removes
//! the defects.

/// A defect that loses a row, brings one back, or spoils a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "public with the feature only"))]
pub enum Defect {
    /// The directory is not made durable after a segment was created.
    CreationNotSynced,
    /// A frame that is damaged is taken as the end, although others follow.
    DamageIsTheEnd,
    /// Cleaning forgets the last row that lives in a segment.
    CleaningDropsRow,
    /// A segment is removed before the frame that makes it superfluous is durable.
    RemovedTooEarly,
    /// A sync that failed is tried again, and its success is believed.
    SyncErrorForgotten,
    /// What was read when the store was opened is not made durable before it is returned.
    ToldBeforeDurable,
    /// The end of the journal is not compared with what was answered.
    FloorIgnored,
    /// The floor is raised to commits that are not synced.
    FloorTooHigh,
    /// A segment is followed by another before it is synced.
    SegmentNotSynced,
    /// A segment is removed before the frame that makes it superfluous is synced.
    RemovedBeforeSync,
    /// After a loss of power, the journal does not say that commits may be missing.
    LossNotTold,
    /// Zeros are written where the frame before them begins.
    AheadOfNothing,
    /// A row that was moved while it was read back is not looked for again.
    MovedRowIsLost,
    /// Cleaning moves a row without its head.
    HeadNotMoved,
    /// The head of a row is taken for that of the next one in its segment.
    HeadOfNeighbour,
    /// A commit for which there was no space counts as made.
    NoSpaceIgnored,
    /// The reserve is not written again when there is space.
    ReserveNotRestored,
    /// The copy of a directory does not say that it is one.
    CopyNotMarked,
    /// The segments that a copy needs are not held, so their owner may remove them before they are copied.
    SegmentsNotHeld,
    /// What is copied is not made durable.
    CopyNotSynced,
}

#[cfg(feature = "planted")]
impl Defect {
    /// All defects.
    pub const ALL: &[Self] = &[
        Self::CreationNotSynced,
        Self::DamageIsTheEnd,
        Self::CleaningDropsRow,
        Self::RemovedTooEarly,
        Self::SyncErrorForgotten,
        Self::ToldBeforeDurable,
        Self::FloorIgnored,
        Self::FloorTooHigh,
        Self::SegmentNotSynced,
        Self::RemovedBeforeSync,
        Self::LossNotTold,
        Self::AheadOfNothing,
        Self::MovedRowIsLost,
        Self::HeadNotMoved,
        Self::HeadOfNeighbour,
        Self::NoSpaceIgnored,
        Self::ReserveNotRestored,
        Self::CopyNotMarked,
        Self::SegmentsNotHeld,
        Self::CopyNotSynced,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: core::cell::Cell<Option<Defect>> = const { core::cell::Cell::new(None) };
}

/// Plants a defect in every journal of this thread from now on, or none.
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

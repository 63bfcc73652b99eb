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
    /// Rule B6: records that a limit or a commit removed are not given to the store. These and the following defects concern
    /// what the broker gives its store, or makes of it; nobody else sees that.
    UnmarkedRemoval,
    /// Rule B6: a cursor that moves is not given to the store.
    UnmarkedCursor,
    /// Rule B6: the answers of a producer that the store has are not given to it.
    UnmarkedProducer,
    /// Rule B6: every other commit leaves out cursors, also those that a batch has moved.
    HalfCommit,
    /// Rule B6: what waits for a commit is sent when the commit is made.
    EarlyAnswers,
    /// Rule B6: records do not wait for a commit.
    UnheldRecords,
    /// Rule B6: a connection whose output waited is not woken when it may leave.
    SleepingOutput,
    /// Rule B6: what waits is sent when the store has failed.
    AnswersOfFailure,
    /// Rule B3: time goes back at a restart.
    ClockLost,
    /// Rule D3: an epoch is given out again after a restart.
    EpochLost,
    /// Rule A6: failures of records are forgotten at a restart.
    FailuresLost,
    /// Rule C3: keys whose record is gone are not given to the store.
    KeysLeftOut,
    /// Rule R9: after a restart, Gaps say that what a limit removed has expired.
    LimitForgotten,
    /// Rule B6: the row of the first record that is left is removed with those before it.
    WideTrim,
    /// Rule B6: a Pong waits for the commit under way if nothing else of its connection does. How long an answer waits is
    /// decided where it is put into the output.
    HeldPong,
    /// Rule B9: a record is copied to a dead-letter topic although the store has no space. Nobody asks for the copy.
    DeadLetterWithoutSpace,
    /// Rule R5: what a limit removes of records that are only in the store is decided when they are read back.
    LimitPostponed,
    /// Rule C3: after a restart, keys of records that stayed in the store are forgotten.
    HeadsForgetKeys,
    /// Rule R8: records with their own time to live stay in the store at a restart.
    HeadsForgetTimes,
    /// Rule B6: what a trim removed is not given to the store.
    UnmarkedTrim,
    /// Rule B7: answers that were asked for when they are durable are sent when they are written.
    UnsyncedAnswers,
    /// Rule G10: what a member held when its connection ended never comes back. No request and no altered answer has that
    /// effect.
    LostReturn,
    /// Rule B6: what is acknowledged above the cursor of a shared subscription is not given to the store.
    UnmarkedAck,
    /// Rule G14: what was acknowledged above the cursor is forgotten at a restart.
    RangesLost,
}

#[cfg(feature = "planted")]
impl Defect {
    /// All defects that the simulator finds. Tests of rules find two: [`UnsettledWalk`](Self::UnsettledWalk) needs more
    /// records than a simulated topic holds (tests/rules/work.rs), and [`FailuresLost`](Self::FailuresLost) a record that
    /// fails, is restored and fails again, which is rare in simulated runs (tests/rules/storage.rs).
    pub const ALL: &[Self] = &[
        Self::Uncharged,
        Self::DeadLetterStays,
        Self::NoAllowance,
        Self::WaitsForEver,
        Self::EndlessExchange,
        Self::DeadCount,
        Self::UnmarkedRemoval,
        Self::UnmarkedCursor,
        Self::UnmarkedProducer,
        Self::HalfCommit,
        Self::EarlyAnswers,
        Self::UnheldRecords,
        Self::SleepingOutput,
        Self::AnswersOfFailure,
        Self::ClockLost,
        Self::EpochLost,
        Self::KeysLeftOut,
        Self::LimitForgotten,
        Self::WideTrim,
        Self::HeldPong,
        Self::DeadLetterWithoutSpace,
        Self::LimitPostponed,
        Self::HeadsForgetKeys,
        Self::HeadsForgetTimes,
        Self::UnmarkedTrim,
        Self::UnsyncedAnswers,
        Self::LostReturn,
        Self::UnmarkedAck,
        Self::RangesLost,
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

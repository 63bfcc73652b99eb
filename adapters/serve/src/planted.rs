//! Deliberate defects of the commands, to test whether their tests find them: `.ci/planted`.
//!
//! They exist only with the feature `planted`. The commands are tested as processes, so a variable of the environment
//! plants one. Without the feature `is_planted` is the constant `false`, and the compiler removes the defects.

/// A defect of a broker command, or of a client command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// An empty variable of the environment counts as set.
    EmptyVariable,
    /// The limit of the process's own cgroup counts, but not those of the groups around it.
    OwnLimitOnly,
    /// The broker says that it is ready while it drains.
    ReadyWhileDraining,
    /// Nobody hears that other users can read the token's file.
    ExposedToken,
    /// Missing messages are reported, but the command succeeds.
    ExitCodeLost,
    /// The command ends before its commits are answered.
    CommitsNotAwaited,
    /// Another input is continued under the name of the first one.
    OtherInput,
    /// Two commands with one name have the same epoch.
    EpochReused,
}

/// Whether the variable `PLANTED_DEFECT` names this defect.
#[cfg(feature = "planted")]
#[must_use]
pub fn is_planted(defect: Defect) -> bool {
    std::env::var("PLANTED_DEFECT").is_ok_and(|name| name == format!("{defect:?}"))
}

/// No defect is planted.
#[cfg(not(feature = "planted"))]
#[inline]
#[must_use]
pub const fn is_planted(_: Defect) -> bool {
    false
}
